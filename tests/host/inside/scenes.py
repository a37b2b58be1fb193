"""What the checks share: the bundled base, images with masks, and a sampling run in either form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import torch
from comfy_extras.nodes_custom_sampler import CFGGuider, SamplerCustomAdvanced
from torch import Tensor

from .start import call, room

SEED, STEPS, CFG = 5, 4, 2.0


class Eight(NamedTuple):
    """Eight images of a batch, each with its mask, object and type; the masks differ in shape and in pieces."""

    images: Tensor
    masks: Tensor
    objects: list[str]
    types: list[str]


class Conditioning(NamedTuple):
    positive: list
    negative: list


@cache
def base() -> tuple:
    """(model, vae, resolution) of the bundled base."""
    return call("LoadAnomalyLDM", base_name="surfaces (bundled)", aware=True)


@cache
def eight() -> Eight:
    images, masks, objects, types, _, _ = call(
        "LoadDefectDataset",
        folder="procedural surfaces",
        select="to synthesize",
        index=0,
        count=8,
        as_batch=True,
        type="",
        split="",
        plan_seed=0,
    )
    masks = masks[0].clone()
    masks[2, 3, 3] = masks[2, -4, -4] = 1  # pieces too far for one window: crops and images are counted differently
    return Eight(images[0], masks, objects[0].splitlines(), types[0].splitlines())


def one(size: tuple[int, int] | None = None, pixel: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """An image of brushed metal [1, H, W, 3] and its mask: a block, or one `pixel`."""
    height, width = size or (256, 256)
    surface = room("datasets.procedural").surface("brushed_metal", max(height, width), 3)
    image = room("nodes.images").to_image(room("images.pictures").Picture(surface))[None, :height, :width]
    mask = torch.zeros(1, height, width)
    if pixel:
        mask[0, pixel[0], pixel[1]] = 1
    else:
        mask[0, height // 2 : height // 2 + 24, width // 2 : width // 2 + 40] = 1
    return image.contiguous(), mask


def condition(model=None, object: str = "brushed_metal", type: str = "scratch", crop=None) -> Conditioning:
    return Conditioning(*call("AnomalyConditioning", model=model or base()[0], object=object, type=type, crop=crop))


def ksampler(
    model,
    conditioning: Conditioning,
    latent: dict,
    *,
    seed=SEED,
    steps=STEPS,
    cfg=CFG,
    preset="recommended",
    denoise=1.0,
) -> Tensor:
    """Latents of KSampler (AIAS)."""
    (made,) = call(
        "KSamplerAIAS",
        model=model,
        seed=seed,
        steps=steps,
        cfg=cfg,
        preset=preset,
        positive=conditioning.positive,
        negative=conditioning.negative,
        latent_image=latent,
        denoise=denoise,
    )
    return made["samples"]


def advanced(
    model,
    conditioning: Conditioning,
    latent: dict,
    *,
    seed=SEED,
    steps=STEPS,
    cfg=CFG,
    preset="recommended",
    denoise=1.0,
) -> Tensor:
    """Latents of SamplerCustomAdvanced with the preset's values on AIAS Sampler and AIAS Sigmas."""
    grid, options = room("samplers.presets").preset(preset, steps)
    widgets = {
        "order": 1,
        "eta": 1.0,
        "variance": 0.0,
        "pure_start": False,
        "correct": False,
        "foreground_mode": "x0_blend",
    }
    (sampler,) = call("AIASSampler", **{name: options.get(name, value) for name, value in widgets.items()})
    (sigmas,) = call("AIASSigmas", model=model, denoise=denoise, **grid)
    (noise,) = call("PerItemNoise", seed=seed)
    (guider,) = call(CFGGuider, model=model, positive=conditioning.positive, negative=conditioning.negative, cfg=cfg)
    made, _ = call(
        SamplerCustomAdvanced, noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent
    )
    return made["samples"]


FORMS = (ksampler, advanced)


class Pairs(NamedTuple):
    """The pairs of a run, with its scores, its latent and its samples."""

    images: Tensor
    scores: list
    latent: dict
    samples: Tensor


def pairs(
    images: Tensor,
    masks: Tensor,
    form=ksampler,
    cropped: bool = True,
    objects="brushed_metal",
    types="scratch",
    mode="difference",
    **options,
) -> Pairs:
    """The whole graph: Crop to Mask (or the whole images), Defect Latent, a sampler, VAE, Compose Pair."""
    model, vae, resolution = base()
    windows, window_masks, crop = images, masks, None
    if cropped:
        windows, window_masks, crop = call("CropToMask", image=images, mask=masks, resolution=resolution, context=1.0)
    (latent,) = call("DefectLatent", image=windows, mask=window_masks, vae=vae, crop=crop)
    samples = form(model, condition(model, objects, types, crop), latent, **options)
    made, scores = call(
        "ComposePair",
        normal=images,
        mask=masks,
        made=vae.decode(samples),
        roundtrip=vae.decode(latent["samples"]),
        mode=mode,
        feather=0,
        visible_above=1.0,
        crop=crop,
    )
    return Pairs(made, scores, latent, samples)


def engine(settings, adapter=None) -> list:
    """The command line's pairs of `eight`, with the seeds that a graph uses."""
    pair, images, batch = room("synthesis.pair"), room("nodes.images"), eight()
    loaded, _ = room("modules.base_file").load_base(room("nodes.compact_base").base_path("surfaces (bundled)"))
    jobs = [
        pair.Job(images.to_picture(image), mask > 0.5, batch.objects[i], batch.types[i], SEED + i)
        for i, (image, mask) in enumerate(zip(batch.images, batch.masks, strict=True))
    ]
    return pair.make_pairs(loaded, jobs, settings, adapter)


def shown(made: list) -> Tensor:
    """The images of the engine's pairs, [B, H, W, 3]."""
    return torch.stack([room("nodes.images").to_image(p.picture) for p in made])


def plain_latent() -> tuple[dict, Tensor]:
    """The latent of a cropped image with its mask, and that mask as bool [1, C, h, w]."""
    image, mask = one((64, 64))
    (latent,) = call("DefectLatent", image=image, mask=mask, vae=base()[1], crop=None)
    return latent, (latent["noise_mask"] > 0).expand_as(latent["samples"])


@contextmanager
def refused(start: str, *words: str) -> Iterator[None]:
    """The block, or the decorated function, must raise a ValueError that begins with `start` and holds all `words`."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        assert text.startswith(start) and all(word in text for word in words), text
    else:
        raise AssertionError(f"nothing was refused; wanted: {start} ... {words}")


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference of two tensors of one shape."""
    assert a.shape == b.shape, f"{tuple(a.shape)} and {tuple(b.shape)}"
    return (a.double() - b.double()).abs().max().item()
