"""Masks of several pieces, divided so that each piece can be made at its own scale."""

from __future__ import annotations

import torch
from scipy.ndimage import label
from torch import Tensor

from .windows import CONTEXT, context_side

_EIGHT_NEIGHBOURS = torch.ones(3, 3, dtype=torch.int8).numpy()


def mask_parts(mask: Tensor, resolution: int, context: float = CONTEXT) -> list[Tensor]:
    """Divide a mask into parts that a window of `resolution` shows as large as each of their pieces alone.

    Two specks at far ends of an image would share one window, reduced until both vanish. Here pieces (8-connected)
    stay together only while that makes the window no larger than the largest of them needs by itself.

    Args:
        mask: bool [H, W], not empty.
        resolution: side of the model's window, pixels.
        context: see `context_side`.

    Returns:
        bool [H, W] masks, disjoint, their union the mask; largest piece first.
    """
    labels, count = label(mask.numpy(), structure=_EIGHT_NEIGHBOURS)
    labels = torch.from_numpy(labels)
    pieces = sorted((labels == number for number in range(1, count + 1)), key=lambda piece: -int(piece.sum()))
    parts: list[Tensor] = []
    sides: list[int] = []
    for piece in pieces:
        side = context_side(piece, resolution, context)
        for i, part in enumerate(parts):
            if context_side(part | piece, resolution, context) <= max(sides[i], side):
                parts[i], sides[i] = part | piece, max(sides[i], side)
                break
        else:
            parts.append(piece)
            sides.append(side)
    return parts
