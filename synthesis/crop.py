"""What synthesis looks at: the pieces of every mask, each in the window it is made in, and the seed it is made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..datasets.components import mask_parts
from ..datasets.windows import CONTEXT, Window, context_window

SEED_STRIDE = 0x9E3779B97F4A7C15  # golden ratio of 2^64: keeps the seeds of parts and of neighbouring items apart


@dataclass(frozen=True, eq=False)
class Part:
    """One window's share of the mask of image `item`: its piece `number`, bool [H, W] of the image's size."""

    item: int
    number: int
    mask: Tensor
    window: Window


@dataclass(frozen=True, eq=False)
class Crop:
    """The parts of a batch of masks, in the order of their crops; `size`: (H, W) of the images, `items`: how many."""

    parts: tuple[Part, ...]
    size: tuple[int, int]
    items: int

    def of(self, item: int) -> list[tuple[int, Part]]:
        """(place among the crops, part) of one image."""
        return [(place, part) for place, part in enumerate(self.parts) if part.item == item]


def crop_parts(item: int, mask: Tensor, resolution: int, context: float = CONTEXT) -> list[Part]:
    """The parts of one mask, bool [H, W], not empty; see `mask_parts` and `context_window`."""
    return [
        Part(item, number, piece, context_window(piece, resolution, context))
        for number, piece in enumerate(mask_parts(mask, resolution, context))
    ]


def whole_images(masks: Sequence[Tensor]) -> Crop:
    """The crop of images that are not cropped: one square window from the top left corner over each, at native scale.

    masks: bool [H, W], of one size.
    """
    height, width = masks[0].shape
    side = max(height, width)
    parts = tuple(Part(item, 0, mask, Window(0, 0, side, side)) for item, mask in enumerate(masks))
    return Crop(parts, (height, width), len(masks))


def windows_of(node: str, images: Tensor, crop: Crop) -> Tensor:
    """`images` [P, C, h, w] as the windows of `crop`, [P, C, R, R]: what the VAE had to be given beyond them is cut off
    at the right and the bottom, where Defect Latent pads.

    Raises:
        ValueError: another number of images, or images smaller than the windows (or than what they show of the image).
    """
    if len(images) != len(crop.parts):
        raise ValueError(f"{node}: {len(images)} images, but the crop tells of {len(crop.parts)}; connect all of them.")
    resolution = crop.parts[0].window.resolution
    shown = [min(resolution, length) for length in crop.size]
    if images.shape[2] < shown[0] or images.shape[3] < shown[1]:
        raise ValueError(
            f"{node}: the images are {images.shape[2]} x {images.shape[3]}, smaller than the {shown[0]} x {shown[1]} "
            "(height x width) they stand for; connect the decoded latent of the same images."
        )
    cut = images[:, :, :resolution, :resolution]
    return F.pad(cut, (0, resolution - cut.shape[3], 0, resolution - cut.shape[2]))


def part_seed(seed: int, number: int) -> int:
    """The seed of an item's part `number`, 0 .. 2^63 - 1; part 0 keeps the item's own seed."""
    return (seed + number * SEED_STRIDE) % 2**63
