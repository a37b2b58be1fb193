"""Masks of several pieces: each by itself, or divided so that each can be made at its own scale."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor

from .windows import CONTEXT, box_side

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int8)
Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels; the last two are exclusive


def pieces(mask: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Every 8-connected piece of a mask (bool [H, W]): bool [h, w] of its own box, and the box's (top, left)."""
    labels, _ = label(mask, structure=EIGHT_NEIGHBOURS)
    for number, box in enumerate(find_objects(labels), 1):
        yield labels[box] == number, (box[0].start, box[1].start)


def boxed_parts(mask: Tensor, resolution: int, context: float = CONTEXT) -> list[tuple[Box, Tensor]]:
    """Divide a mask into parts that a window of `resolution` shows as large as each of their pieces alone.

    Two specks at far ends of an image would share one window, reduced until both vanish. Here pieces (8-connected)
    stay together only while that makes the window no larger than the largest of them needs by itself.

    Args:
        mask: bool [H, W], not empty.
        resolution: side of the model's window, pixels.
        context: see `context_side`.

    Returns:
        for every part its box and the part inside the box, bool [bottom - top, right - left]; largest piece first.
    """
    labels, _ = label(mask.numpy(), structure=EIGHT_NEIGHBOURS)
    areas = np.bincount(labels.ravel())
    boxes = [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in find_objects(labels)]
    # Only boxes are compared: a mask may have thousands of pieces.
    parts: list[tuple[Box, list[int]]] = []
    for piece in sorted(range(1, len(boxes) + 1), key=lambda number: -areas[number]):
        box = boxes[piece - 1]
        for i, (other, pieces) in enumerate(parts):
            union = _union(box, other)
            sides = [_side(b, mask, resolution, context) for b in (union, box, other)]
            if sides[0] <= max(sides[1:]):
                parts[i] = (union, [*pieces, piece])
                break
        else:
            parts.append((box, [piece]))
    return [
        (box, torch.from_numpy(np.isin(labels[box[0]:box[2], box[1]:box[3]], pieces))) for box, pieces in parts
    ]


def _union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _side(box: Box, mask: Tensor, resolution: int, context: float) -> int:
    top, left, bottom, right = box
    return box_side(bottom - top, right - left, mask.shape, resolution, context)
