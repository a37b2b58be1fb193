"""LATENT at the border, checked against model and mask; Per-Item Noise, and the seed of every item of a batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from comfy_api.latest import io
from torch import Tensor

from ..errors import Refused
from ..images.masks import latent_mask
from ..samplers.noise import initial_noise
from ..seeds import part_seed
from .errors import named
from .provenance import graph_seed, listed_seed, remember
from .sockets import CATEGORY, MAX_SEED, SEED

_log = logging.getLogger(__name__)
PARTS = "sias_parts"  # key of a LATENT: (image, piece) of every item, where they come from Crop to Mask
PLACE = "sias_place"  # key of a LATENT: its images' place in a list, from Defect Latent; without it 0


class PerItemNoiseNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_PerItemNoise",
            display_name="Per-Item Noise",
            category=f"{CATEGORY}/sampling",
            description=(
                "Noise for SamplerCustomAdvanced that every item of a batch draws from its own seed: item 7 of 8 is "
                "the same picture as item 7 alone. KSampler (AIAS) does so by itself."
            ),
            inputs=[io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip=SEED)],
            outputs=[io.Noise.Output("noise", display_name="noise", tooltip="For SamplerCustomAdvanced.")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, seed: int) -> io.NodeOutput:
        return io.NodeOutput(PerItemNoise(graph_seed(seed, cls.hidden)))


class ItemSeeds(int):
    """The seed of a run as the host passes it on, an int; `items` holds the seed of every item of the batch."""

    items: list[int]

    def __new__(cls, seed: int, items: Sequence[int] = ()) -> ItemSeeds:
        made = super().__new__(cls, seed)
        made.items = list(items)
        return made


class PerItemNoise:
    """ComfyUI's NOISE: item i draws from (seed, i) alone, and its pieces each from their own seed."""

    def __init__(self, seed: int):
        self._own = self.seed = seed

    def generate_noise(self, latent: dict) -> Tensor:
        """Noise [B, C, h, w] of latent["samples"]. Called before `seed` is read, which then carries every item's."""
        samples = latent["samples"]
        with named("Per-Item Noise"):
            check_axes(samples)
            size, mask = tuple(samples.shape[2:]), latent.get("noise_mask")
            if mask is not None and tuple(mask.shape[-2:]) != size:
                raise Refused(
                    "noise_mask",
                    f"{mask.shape[-2]} x {mask.shape[-1]}, not of latent size {size[0]} x {size[1]}: ComfyUI would "
                    "resize it bilinearly and lose small defects",
                    remedy="make the latent with Defect Latent, which pools the mask",
                )
            self.seed = sampling_seeds(latent, self._own)
        return initial_noise(samples, self.seed.items)


def sampling_seeds(latent: dict, seed: int) -> ItemSeeds:
    """The seeds that a run with a node's `seed` takes, by `latent_seed` and `item_seeds`; remembered for manifests."""
    first = latent_seed(latent, seed)
    seeds = item_seeds(latent, first)
    # The first piece of an image has the image's own seed.
    parts = latent.get(PARTS) or [(0, 0)]
    index = latent.get("batch_index") or range(len(seeds))
    remember(seed, [one for one, i in zip(seeds, index, strict=True) if parts[int(i) % len(parts)][1] == 0])
    return ItemSeeds(first, seeds)


def latent_seed(latent: dict, seed: int) -> int:
    """The seed of a latent's first image: the node's, or one derived from it for a later item of a list."""
    return listed_seed(seed, latent.get(PLACE, 0))


def item_seeds(latent: dict, seed: int) -> list[int]:
    """The seed of every item of a latent's batch.

    Item i of the original batch has seed + i, whatever part of the batch this is (`batch_index`); piece k of its mask
    has `part_seed` of that.

    Raises:
        Refused: a batch_index that is not the batch's.
    """
    batch = latent["samples"].shape[0]
    index = [int(i) for i in latent.get("batch_index") or range(batch)]
    if len(index) != batch:
        raise Refused(
            "latent",
            f"its batch_index names {len(index)} items, and it holds {batch}: a node between changed one and not the "
            "other",
            remedy="make the latent again with Defect Latent",
        )
    parts = latent.get(PARTS)
    if parts is None:
        return [part_seed(seed + i, 0) for i in index]
    items = 1 + max(item for item, _ in parts)
    seeds = []
    for i in index:
        # A batch that was repeated goes on where the original one ends.
        again, place = divmod(i, len(parts))
        item, number = parts[place]
        seeds.append(part_seed(seed + again * items + item, number))
    return seeds


def check_axes(samples: Tensor) -> None:
    """Raise Refused for latents that are not [B, C, h, w]."""
    if samples.ndim != 4:
        raise Refused(
            "latent",
            f"{samples.ndim} axes, as those of video models and Qwen-Image, which are not supported",
            remedy="use an image model such as SD, SDXL, SD3 or Flux, or a compact base",
        )


def check_channels(samples: Tensor, model) -> None:
    """Raise Refused for the latent of another kind of model."""
    channels = model.get_model_object("latent_format").latent_channels
    if samples.shape[1] != channels:
        raise Refused(
            "latent",
            f"{samples.shape[1]} channels, the model {channels}",
            remedy="make the latent with this model's VAE",
        )


def pooled_mask(latent: dict) -> Tensor | None:
    """The latent's noise_mask at latent size, [B or 1, 1, h, w]; a mask in pixels is max-pooled, with a notice.

    Raises:
        Refused: no noise_mask on the latent of a picture, an empty one, one smaller than the latent, NaN, or one
            mask for a batch that was put together from several latents.
    """
    samples, mask = latent["samples"], latent.get("noise_mask")
    check_axes(samples)
    if mask is None:
        if torch.count_nonzero(samples):
            raise Refused(
                "latent",
                "of an image and without noise_mask, so that every pixel of it would be replaced",
                remedy="make the latent with Defect Latent, from image, mask and VAE",
            )
        return None
    size, own = tuple(samples.shape[2:]), tuple(mask.shape[-2:])
    mask = mask.reshape(-1, 1, *own)
    _check_count(latent, len(mask))
    if own != size:
        if own[0] < size[0] or own[1] < size[1]:
            raise Refused(
                "noise_mask",
                f"{own}, smaller than the latent {size} (height, width): a latent was enlarged",
                remedy="enlarge the image instead, and make its latent with Defect Latent",
            )
        _log.warning(
            "noise_mask of %s x %s px max-pooled to the latent's %s x %s; Defect Latent does so itself.",
            *own,
            *size,
        )
        mask = latent_mask(mask, size)
    if not torch.isfinite(mask).all():
        raise Refused("noise_mask", "it holds NaN or infinity", remedy="look at the node that made it")
    check_filled(mask)
    return mask


def check_filled(mask: Tensor) -> None:
    """Raise Refused where a mask [B, 1, h, w] of the batch is empty."""
    empty = [index for index, one in enumerate(mask) if not (one > 0).any()]
    if empty:
        raise Refused(
            f"noise_mask {empty[0]} of the batch",
            "it is empty",
            remedy="draw at least one pixel of defect, and make the latent with Defect Latent, which keeps it",
        )


def _check_count(latent: dict, masks: int) -> None:
    batch, index = latent["samples"].shape[0], latent.get("batch_index")
    if masks not in (1, batch):
        raise Refused("noise_mask", f"{masks} noise_masks for {batch} latents", remedy="give one, or as many")
    # Core's Latent Batch keeps the first latent's mask alone, and counts both from 0.
    if masks == 1 and batch > 1 and index and len(set(index)) < batch:
        raise Refused(
            "latent",
            f"{batch} latents that were joined share the first one's mask and seed",
            remedy="join images and masks instead, and make one latent of them with Defect Latent",
        )


def reflected(image: Tensor, bottom: int, right: int) -> Tensor:
    """[B, H, W, C] continued by reflection; by its edge where the image is too small to reflect."""
    if not bottom and not right:
        return image
    mode = "reflect" if bottom < image.shape[1] and right < image.shape[2] else "replicate"
    return F.pad(image.movedim(-1, 1), (0, right, 0, bottom), mode=mode).movedim(1, -1)


NODES = [PerItemNoiseNode]
