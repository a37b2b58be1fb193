"""Masks on their way to the latent, and where on a normal image a known mask is put."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import Refused


def latent_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Pool a pixel mask to the latent's size; a non-empty mask never becomes empty.

    A latent cell is the largest mask value among the pixels it touches. Bilinear sizing and a threshold, as the
    papers do it, would delete most lines thinner than the VAE's ratio.

    Args:
        mask: [H, W], [B, H, W] or [B, 1, H, W], bool or 0 .. 1, finite.
        size: (h, w) of the latent, each at most H and W.

    Returns:
        float [B, 1, h, w] (B = 1 for [H, W]), in the mask's own float type, or float32.

    Raises:
        Refused: another number of dimensions, a latent larger than the mask, values not finite.
    """
    if mask.ndim not in (2, 3, 4) or (mask.ndim == 4 and mask.shape[1] != 1):
        raise Refused("mask", f"its shape is {list(mask.shape)}", "[H, W], [B, H, W] or [B, 1, H, W]")
    height, width = mask.shape[-2:]
    if size[0] > height or size[1] > width:
        raise Refused(
            "mask", f"its {height} x {width} pixels cannot be pooled to a larger latent, {size[0]} x {size[1]}"
        )
    mask = mask if mask.is_floating_point() else mask.float()
    if not torch.isfinite(mask).all():
        raise Refused("mask", "it holds NaN or infinity")
    return F.adaptive_max_pool2d(mask.reshape(-1, 1, height, width), tuple(size))


def mask_box(mask: Tensor) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the set pixels of a bool [H, W]. Raises Refused on an empty mask."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    if not len(rows):
        raise Refused("mask", "it is empty", "at least one pixel that becomes a defect")
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def place_mask(
    mask: Tensor,
    size: tuple[int, int],
    generator: torch.Generator,
    turn: float = 15.0,
    zoom: float = 1.25,
    shift: float = 0.1,
) -> Tensor:
    """Put a defect's shape onto an image of `size`, near its own relative place, slightly changed (FAST: masks from
    geometric augmentation of real ones).

    The shape is mirrored at random, turned by up to `turn` degrees, zoomed by 1/zoom .. zoom and moved by up to
    `shift` of the image's size, so that defects that live on an edge stay on it. A shape larger than the image is
    reduced to fit it; at least half of the shape stays inside.

    Args:
        mask: bool [H, W], not empty.
        size: (H, W) of the image that receives it.
        generator: decides everything.

    Returns:
        bool [H, W] of `size`, never empty.

    Raises:
        Refused: an empty mask.
    """
    top, left, height, width = mask_box(mask)
    room = min(size[0] / height, size[1] / width)
    shape = _transformed(mask[top : top + height, left : left + width], generator, turn, zoom, room)
    centre = [(top + height / 2) / mask.shape[0], (left + width / 2) / mask.shape[1]]
    if _chance(generator) < 0.5:
        shape, centre[1] = shape.flip(1), 1 - centre[1]
    if _chance(generator) < 0.5:
        shape, centre[0] = shape.flip(0), 1 - centre[0]
    for _ in range(20):
        start = [
            round((c + shift * (2 * _chance(generator) - 1)) * n - s / 2)
            for c, n, s in zip(centre, size, shape.shape, strict=True)
        ]
        placed = _pasted(shape, start, size)
        if 2 * placed.sum() >= shape.sum():
            return placed
    # In the middle, and pooled where it is still too large: a hollow shape could otherwise leave nothing there.
    fitted = latent_mask(shape, tuple(min(n, s) for n, s in zip(size, shape.shape, strict=True)))[0, 0] > 0
    return _pasted(fitted, [(n - s) // 2 for n, s in zip(size, fitted.shape, strict=True)], size)


def _transformed(shape: Tensor, generator: torch.Generator, turn: float, zoom: float, room: float) -> Tensor:
    """The shape turned and zoomed (to at most `room`), cut to its box.

    It is looked up on a grid finer than both images and pooled, so that a line of one pixel stays in one piece.
    """
    angle = math.radians(turn) * (2 * _chance(generator) - 1)
    scale = min(zoom ** (2 * _chance(generator) - 1), room)
    side, fine = math.ceil(scale * math.hypot(*shape.shape)) + 2, max(2, math.ceil(2 / scale))
    # A canvas of the other parity than the shape would smear each of its pixels over two.
    y, x = ((torch.arange(side * fine) + 0.5) / fine - (side - (side - n) % 2) / 2 for n in shape.shape)
    y, x = y[:, None], x[None]
    rows = ((math.cos(angle) * y - math.sin(angle) * x) / scale + shape.shape[0] / 2).floor().long()
    columns = ((math.sin(angle) * y + math.cos(angle) * x) / scale + shape.shape[1] / 2).floor().long()
    inside = (rows >= 0) & (rows < shape.shape[0]) & (columns >= 0) & (columns < shape.shape[1])
    turned = inside & shape[rows.clamp(0, shape.shape[0] - 1), columns.clamp(0, shape.shape[1] - 1)]
    turned = F.max_pool2d(turned[None].float(), fine)[0] > 0
    top, left, height, width = mask_box(turned)
    return turned[top : top + height, left : left + width]


def _pasted(shape: Tensor, start: list[int], size: tuple[int, int]) -> Tensor:
    canvas = torch.zeros(size, dtype=torch.bool)
    (top, left), (height, width) = start, shape.shape
    y0, y1, x0, x1 = max(top, 0), min(top + height, size[0]), max(left, 0), min(left + width, size[1])
    if y0 < y1 and x0 < x1:
        canvas[y0:y1, x0:x1] = shape[y0 - top : y1 - top, x0 - left : x1 - left]
    return canvas


def _chance(generator: torch.Generator) -> float:
    return torch.rand((), generator=generator).item()
