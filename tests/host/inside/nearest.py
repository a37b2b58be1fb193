"""Pairs beside real defects: Measure Real Defects, Nearest Real Defect, and what is shown and saved of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import comfy.clip_vision
import comfy.model_management
import comfy.sd
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from torch import Tensor

from .scenes import base, refused
from .start import INPUT, OUTPUT, SCRATCH, call, own, room

KIND = ("brushed_metal", "scratch")
# A CLIP of two layers.
CLIP = {
    "image_size": 32,
    "patch_size": 8,
    "num_channels": 3,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "quick_gelu",
    "projection_dim": 16,
    "layer_norm_eps": 1e-5,
    "model_type": "clip_vision_model",
}
# Stable Diffusion's autoencoder of factor 8, narrow.
AUTOENCODER = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 64,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


class Made(NamedTuple):
    """The command line's pairs on brushed metal, with its distances to the training part."""

    images: Tensor
    masks: Tensor
    scores: list
    nearest: list[float]
    kinds: tuple[tuple[str, str], ...] = ()


@cache
def _metal():
    """Brushed metal below the input, split: half of its 3 x 6 defects train, each image a group of its own."""
    split = room("datasets.split")
    room("datasets.procedural").write_surfaces(
        INPUT / "near-metal", materials=("brushed_metal",), normals=4, defects=6, size=160, seed=11
    )
    samples = room("datasets.mvtec").read_mvtec(INPUT / "near-metal")
    parts = split.make_split(samples, {sample.name: sample.name for sample in samples}, share=0.5)
    split.save_split(parts, INPUT / "near-metal.json")
    return call("SplitDataset", folder="near-metal", split="near-metal.json", share=0.5, types="", seed=0)[0]


def _measured(data=None, vae=None, resolution=128, context=1.0, clip_vision=None):
    return call(
        "MeasureRealDefects",
        dataset=data or _metal(),
        vae=vae or base()[1],
        resolution=resolution,
        context=context,
        clip_vision=clip_vision,
    )[0]


@cache
def real_defects():
    return _measured()


@cache
def _made() -> Made:
    pair, nearest, images = room("synthesis.pair"), room("synthesis.nearest"), room("nodes.images")
    loaded, _ = room("modules.base_file").load_base(room("nodes.compact_base").base_path("surfaces (bundled)"))
    data, settings = _metal(), pair.Settings(steps=4)
    plan = room("synthesis.plan").Plan(data.train, data.train, 3)
    jobs = [plan.item(index).job for index in range(5)]
    far = jobs[0].mask.clone()
    far[2, 2] = far[-3, -3] = True  # pieces too far for one window
    jobs[0] = replace(jobs[0], mask=far)
    real = nearest.RealDefects.measured(
        data.train, nearest.latent_features(loaded), loaded.config.resolution, settings.context, data.split.groups
    )
    pairs = pair.make_pairs(loaded, jobs, settings, real=real)
    score = room("nodes.compose").Score
    names = [name for name in room("synthesis.scores").NOT_SCORED if name != "nearest_real"]
    scores = [score(**{name: getattr(p, name) for name in names}, visible=True, windows=p.windows) for p in pairs]
    return Made(
        torch.stack([images.to_image(p.picture) for p in pairs]),
        torch.stack([job.mask.float() for job in jobs]),
        scores,
        [p.nearest_real for p in pairs],
        tuple((job.object, job.type) for job in jobs),
    )


def _nearest(real, made: Made | None = None, **changed) -> list[float | None]:
    made = made or _made()
    given = {
        "image": made.images,
        "scores": made.scores,
        "mask": made.masks,
        "crop": None,
        "object": "\n".join(object for object, _ in made.kinds),
        "type": "\n".join(type for _, type in made.kinds),
    } | changed
    (scores,) = call("NearestRealDefect", real=real, **given)
    known = [score.nearest_real for score in scores]
    assert [replace(score, nearest_real=None) for score in scores] == given["scores"], "other scores changed"
    return known


@contextmanager
def _log() -> Iterator[list[str]]:
    heard, listener = [], logging.Handler(logging.WARNING)
    listener.emit = lambda record: heard.append(record.getMessage())
    logging.getLogger().addHandler(listener)
    try:
        yield heard
    finally:
        logging.getLogger().removeHandler(listener)


def _random(module) -> None:
    generator = torch.Generator().manual_seed(4)
    for parameter in module.parameters():
        parameter.data.normal_(std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2, generator=generator)


@cache
def _clip():
    """A CLIP vision model as core builds it, with random weights."""
    file = SCRATCH / "clip.json"
    file.write_text(json.dumps(CLIP))
    with torch.inference_mode(False):
        model = comfy.clip_vision.ClipVisionModel(str(file))
        _random(model.model)
    return model


@cache
def _other_vae():
    """A VAE of Stable Diffusion's kind with random weights: factor 8, and latents of another scale than 1."""
    with torch.inference_mode(False):
        network = AutoencoderKL(ddconfig=AUTOENCODER, embed_dim=4)
        _random(network)
        config = {"params": {"ddconfig": AUTOENCODER, "embed_dim": 4}}
        return comfy.sd.VAE(sd=network.state_dict(), config=config, dtype=torch.float32)


# The number


def check_the_graph_gives_the_command_lines_number():
    made = _made()
    assert min(made.nearest) > 0 and len(set(made.nearest)) == 5
    windows = [len(score.windows) for score in made.scores]
    assert max(windows) > 1, "a mask should have several pieces"
    found = _nearest(real_defects())
    apart = max(abs(a / b - 1) for a, b in zip(found, made.nearest, strict=True))
    assert apart < 1e-4, (found, made.nearest)
    return {"largest relative difference": apart}


def check_a_crop_serves_as_well_as_the_mask():
    made = _made()
    _, _, crop = call("CropToMask", image=made.images, mask=made.masks, resolution=128, context=1.0)
    by_mask = _nearest(real_defects())
    assert _nearest(real_defects(), crop=crop, mask=None) == by_mask == _nearest(real_defects(), crop=crop)


def check_an_item_alone_has_its_number_of_the_batch():
    made = _made()
    (found,) = _nearest(real_defects(), Made(*(values[3:4] for values in made)))
    assert abs(found / made.nearest[3] - 1) < 1e-4


def _real_ones(part: str) -> list[tuple[Made, dict[str, str]]]:
    """The real defects of a part of the split in the form of made ones, each with its object and type."""
    images, found = room("nodes.images"), []
    for sample in getattr(_metal(), part):
        if sample.mask is not None:
            picture, mask = room("datasets.mvtec").read_sample(sample)
            one = Made(images.to_image(picture)[None], mask[None].float(), _made().scores[:1], [])
            found.append((one, {"object": sample.object, "type": sample.type}))
    return found


def _encoders() -> dict[str, dict]:
    return {"base": {}, "clip": {"clip_vision": _clip()}, "other vae": {"vae": _other_vae()}}


def check_a_copy_of_a_real_defect_is_at_0_by_any_encoder_and_one_held_back_is_not():
    figures = {}
    for name, options in _encoders().items():
        real = _measured(**options)
        copies, others = (
            [_nearest(real, made, **kind)[0] for made, kind in _real_ones(part)] for part in ("train", "held_back")
        )
        assert max(copies) < 1e-3 and min(others) > 0.1, (name, copies, others)
        figures[name] = sorted(others)[len(others) // 2]
    return figures


def check_surface_that_shows_nothing_is_farther_than_real_defects_by_any_encoder():
    """Medians over the held-back defects, and over normal images with their masks."""
    normals = [sample for sample in _metal().train if sample.mask is None]
    figures = {}
    for name, options in _encoders().items():
        real, defects, nothing = _measured(**options), [], []
        for number, (made, kind) in enumerate(_real_ones("held_back")):
            picture, _ = room("datasets.mvtec").read_sample(normals[number % len(normals)])
            normal = room("nodes.images").to_image(picture)[None]
            defects += _nearest(real, made, **kind)
            nothing += _nearest(real, made._replace(images=normal), **kind)
        medians = [sorted(values)[len(values) // 2] for values in (defects, nothing)]
        assert medians[0] < medians[1], (name, medians)
        figures[name] = medians
    return figures


def check_any_scale_of_a_vaes_latents_gives_the_same_numbers():
    class Scaled:
        def __init__(self, vae):
            self.vae = vae

        def encode(self, pixels):
            return 0.01 * self.vae.encode(pixels) + 3

        def spacial_compression_encode(self):
            return self.vae.spacial_compression_encode()

    plain, scaled = _nearest(_measured(vae=_other_vae())), _nearest(_measured(vae=Scaled(_other_vae())))
    apart = max(abs(a / b - 1) for a, b in zip(plain, scaled, strict=True))
    assert apart < 1e-2, (plain, scaled)
    return {"largest relative difference": apart}


def check_windows_that_the_vae_cannot_take_are_continued():
    real = _measured(vae=_other_vae(), resolution=100)
    assert all(value > 0 for value in _nearest(real))


def check_only_the_training_part_is_read():
    data = _metal()
    assert _nearest(_measured(replace(data, held_back=()))) == _nearest(real_defects())


# What is not known


def check_types_without_a_distance_are_reported_in_the_log_and_are_no_error():
    data, made = _metal(), _made()
    first = next(sample for sample in data.train if sample.mask is not None)
    for real, reason in (
        (real_defects(), "there is none of brushed_metal / dent among the images that train"),
        (_measured(replace(data, train=(first,))), "all of one group of images"),
    ):
        type = "dent" if real is real_defects() else first.type
        with _log() as heard:
            found = _nearest(real, type=type)
        lines = [line for line in heard if line.startswith("Nearest Real Defect: nearest_real stays unknown")]
        assert found == [None] * 5 and len(lines) == 1 and reason in lines[0], (found, heard)
    mixed = "\n".join(["dent", *(type for _, type in made.kinds[1:])])
    found = _nearest(real_defects(), type=mixed)
    assert found[0] is None and abs(found[1] / made.nearest[1] - 1) < 1e-4


# What is shown and saved


def check_it_is_in_the_manifest_and_in_preview_pairs_words():
    made = _made()
    (scores,) = call(
        "NearestRealDefect",
        image=made.images,
        scores=made.scores,
        real=real_defects(),
        object=KIND[0],
        type="\n".join(["dent", *(type for _, type in made.kinds[1:])]),
        crop=None,
        mask=made.masks,
    )
    hidden = SimpleNamespace(prompt={}, unique_id="1", extra_pnginfo=None)
    node = type("WithHidden", (own("SavePairs"),), {"hidden": hidden})
    call(
        node,
        image=made.images,
        mask=made.masks,
        normal=1 - made.images,
        object=KIND[0],
        type=KIND[1],
        folder="near",
        scores=scores,
        not_visible="keep",
    )
    saved = [line["nearest_real"] for line in room("datasets.pairs").read_manifest(OUTPUT / "near")]
    assert saved == [None, *(round(score.nearest_real, 4) for score in scores[1:])]
    label = room("nodes.compose")._label
    assert "nearest real" not in label(scores, 0) and f"nearest real {saved[1]:.2f}" in label(scores, 1)
    assert len(own("PreviewPair").execute(made.images, made.images, made.masks, scores).ui.as_dict()["images"]) == 5


# Refused


def check_what_does_not_fit_together_is_refused():
    made, name = _made(), "Nearest Real Defect: "
    size = made.images.shape[1]
    _, _, crop = call("CropToMask", image=made.images, mask=made.masks, resolution=128, context=1.0)
    _, _, other = call("CropToMask", image=made.images[:2], mask=made.masks[:2], resolution=128, context=1.0)
    for changed, words in (
        ({"scores": made.scores[:2]}, ("2 scores for 5 images", "same Compose Pair")),
        ({"type": "a\nb"}, ("type: 2 lines for 5 images",)),
        ({"object": "a\nb"}, ("object: 2 lines for 5 images",)),
        ({"mask": None}, ("crop and mask: both are open", "connect")),
        (
            {"mask": made.masks[:, 1:]},
            (f"mask: {size - 1} x {size}, the image {size} x {size}", "connect a mask of the image's size"),
        ),
        ({"mask": made.masks * 0}, ("mask 0 of the batch: it is empty",)),
        (
            {"crop": other},
            (
                f"crop: of 2 images of {size} x {size}, and 5 of {size} x {size} are connected",
                "connect the crop of these",
            ),
        ),
        ({"crop": crop, "mask": made.masks.flip(1)}, ("mask: not the one that Crop to Mask cut by",)),
        ({"image": made.images * torch.nan}, ("NaN",)),
    ):
        with refused(name, *words):
            _nearest(real_defects(), **changed)
    for resolution, context in ((64, 1.0), (128, 4.0)):
        windows = call("CropToMask", image=made.images, mask=made.masks, resolution=resolution, context=context)[2]
        with refused(name, "a resolution of 128 and a context of 1", "give Crop to Mask and Measure Real Defects"):
            _nearest(real_defects(), crop=windows)


def check_open_masks_are_reported_before_the_run():
    node = own("NearestRealDefect")
    assert "crop and mask: both are open" in node.validate_inputs()
    assert node.validate_inputs(mask=None) is True and node.validate_inputs(crop=None) is True


def check_a_training_part_without_defects_is_refused():
    data = _metal()
    with refused("Measure Real Defects: ", "none of the 1 images that train has a defect", "larger share"):
        _measured(replace(data, train=tuple(one for one in data.train if one.mask is None)[:1]))


class _Answers:
    """A VAE, or a CLIP vision model, that returns a given answer."""

    def __init__(self, answer):
        self.answer = answer

    def spacial_compression_encode(self):
        return 8

    def encode(self, pixels):
        return self.answer.expand(len(pixels), *self.answer.shape[1:])

    def encode_image(self, pixels):
        return SimpleNamespace(image_embeds=self.answer)


def check_encoders_that_cannot_serve_are_refused():
    name = "Measure Real Defects: "
    with refused(name, "latent: 5 axes", "image model"):
        _measured(vae=_Answers(torch.zeros(1, 4, 1, 16, 16)))
    with refused(name, "vae: it gave NaN", "--fp32-vae"):
        _measured(vae=_Answers(torch.full((1, 4, 16, 16), torch.nan)))
    for answer in (None, torch.zeros(2, 3, 4)):
        with refused(name, "clip_vision: it gives no image embeddings"):
            _measured(clip_vision=_Answers(answer))
    with refused(name, "clip_vision: it gave NaN"):
        _measured(clip_vision=_Answers(torch.full((2, 8), torch.nan)))


def check_measuring_can_be_stopped():
    for attempt in (_measured, lambda: _nearest(real_defects())):
        _made(), real_defects()
        comfy.model_management.interrupt_current_processing(True)
        try:
            attempt()
        except comfy.model_management.InterruptProcessingException:
            stopped = True
        else:
            stopped = False
        comfy.model_management.interrupt_current_processing(False)
        assert stopped
