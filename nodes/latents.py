"""LATENT at the border: the normal image's latent with its mask, and the seed of every item in a latent's batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.masks import latent_mask
from ..samplers.noise import initial_noise
from ..synthesis.crop import Crop, part_seed

_log = logging.getLogger(__name__)
PARTS = "sias_parts"  # key of a LATENT: (image, piece) of every item, where they come from Crop to Mask


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
        self.seed = seed

    def generate_noise(self, latent: dict) -> Tensor:
        """Noise [B, C, h, w] of latent["samples"]. Called before `seed` is read, which then carries every item's."""
        samples = latent["samples"]
        size, mask = tuple(samples.shape[2:]), latent.get("noise_mask")
        if mask is not None and tuple(mask.shape[-2:]) != size:
            raise ValueError(
                f"Per-Item Noise: the latent's noise_mask is {mask.shape[-2]} x {mask.shape[-1]}, not of latent size "
                f"{size[0]} x {size[1]}; ComfyUI would resize it bilinearly and lose small defects. Make the latent "
                "with Defect Latent, which pools the mask."
            )
        self.seed = ItemSeeds(self.seed, item_seeds(latent, self.seed))
        return initial_noise(samples, self.seed.items)


def defect_latent(image: Tensor, masks: Sequence[Tensor], vae, crop: Crop | None = None) -> dict:
    """The LATENT of images [B, H, W, 3] with their masks, bool [H, W] each, padded to what the VAE can take.

    Raises:
        ValueError: a crop that tells of another number of images, a VAE whose latents have no two dimensions, NaN.
    """
    if crop is not None and len(crop.parts) != len(image):
        raise ValueError(
            f"Defect Latent: {len(image)} images, but the crop tells of {len(crop.parts)}; connect the crops of the "
            "same Crop to Mask, or leave crop open."
        )
    ratio = vae.spacial_compression_encode()
    height, width = image.shape[1:3]
    bottom, right = -height % ratio, -width % ratio
    samples = vae.encode(_reflected(image, bottom, right))
    if samples.ndim != 4:
        raise ValueError(f"Defect Latent: the VAE gives latents {list(samples.shape)}; those of images have 4 axes.")
    if not torch.isfinite(samples).all():
        raise ValueError("Defect Latent: the VAE gave NaN or infinity; try it in 32 bit (--fp32-vae).")
    padded = F.pad(torch.stack(list(masks)).float(), (0, right, 0, bottom))
    latent = {"samples": samples, "noise_mask": latent_mask(padded, samples.shape[2:]).to(samples.device)}
    if crop is not None:
        latent[PARTS] = [(part.item, part.number) for part in crop.parts]
    return latent


def item_seeds(latent: dict, seed: int) -> list[int]:
    """The seed of every item of a latent's batch.

    Item i of the original batch has seed + i, whatever part of the batch this is (`batch_index`); piece k of its mask
    has `part_seed` of that.
    """
    batch = latent["samples"].shape[0]
    index = [int(i) for i in latent.get("batch_index") or range(batch)]
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


def pooled_mask(node: str, latent: dict) -> Tensor | None:
    """The latent's noise_mask at latent size, [B or 1, 1, h, w]; a mask in pixels is max-pooled, with a notice.

    Raises:
        ValueError: no noise_mask on the latent of a picture, an empty one, one smaller than the latent, or NaN.
    """
    samples, mask = latent["samples"], latent.get("noise_mask")
    if mask is None:
        if torch.count_nonzero(samples):
            raise ValueError(
                f"{node}: the latent of an image came without noise_mask, so every pixel of it would be made anew. "
                "Make the latent with Defect Latent, from image, mask and VAE."
            )
        return None
    size, own = tuple(samples.shape[2:]), tuple(mask.shape[-2:])
    mask = mask.reshape(-1, 1, *own)
    if mask.shape[0] not in (1, samples.shape[0]):
        raise ValueError(f"{node}: {mask.shape[0]} noise_masks for {samples.shape[0]} latents; give one, or as many.")
    if own != size:
        if own[0] < size[0] or own[1] < size[1]:
            raise ValueError(f"{node}: the noise_mask is {own}, smaller than the latent {size} (height, width).")
        _log.warning("%s: noise_mask of %s x %s px max-pooled to the latent's %s x %s; Defect Latent does so itself.",
                     node, *own, *size)  # fmt: skip
        mask = latent_mask(mask, size)
    if not torch.isfinite(mask).all():
        raise ValueError(f"{node}: the noise_mask holds NaN or infinity; look at the node that made it.")
    empty = [index for index, one in enumerate(mask) if not one.any()]
    if empty:
        raise ValueError(f"{node}: noise_mask {empty[0]} of the batch is empty; draw at least one pixel of defect.")
    return mask


def _reflected(image: Tensor, bottom: int, right: int) -> Tensor:
    """[B, H, W, C] continued by reflection; by its edge where the image is too small to reflect."""
    if not bottom and not right:
        return image
    mode = "reflect" if bottom < image.shape[1] and right < image.shape[2] else "replicate"
    return F.pad(image.movedim(-1, 1), (0, right, 0, bottom), mode=mode).movedim(1, -1)
