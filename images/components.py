"""Masks of several pieces: each by itself, or divided so that each can be made at its own scale."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor

from .windows import CONTEXT, MIN_CONTEXT

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int8)
MANY = 256  # pieces of a mask beyond which specks share windows
Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels; the last two are exclusive


def pieces(mask: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Every 8-connected piece of a mask (bool [H, W]): bool [h, w] of its own box, and the box's (top, left)."""
    labels, _ = label(mask, structure=EIGHT_NEIGHBOURS)
    for number, box in enumerate(find_objects(labels), 1):
        yield labels[box] == number, (box[0].start, box[1].start)


def boxed_parts(mask: Tensor, resolution: int, context: float = CONTEXT) -> list[tuple[Box, Tensor]]:
    """As `windowed_parts`, without the sides of the windows."""
    return [(box, inside) for box, inside, _ in windowed_parts(mask, resolution, context)]


def windowed_parts(mask: Tensor, resolution: int, context: float = CONTEXT) -> list[tuple[Box, Tensor, int]]:
    """Divide a mask into parts that a window of `resolution` shows as large as each of their pieces alone.

    Two specks at far ends of an image would share one window, reduced until both vanish. Here pieces (8-connected)
    stay together only while that makes the window no larger than the largest of them needs by itself.

    Of a mask of more than MANY pieces, those that a window shows at native scale share one if it holds them all,
    each with the context that it needs alone: 4,000 specks are some hundred windows, not some hundred more.

    Args:
        mask: bool [H, W], not empty.
        resolution: side of the model's window, pixels.
        context: see `context_side`.

    Returns:
        for every part its box, the part inside the box, bool [bottom - top, right - left], and the side of its window
        in pixels; largest piece first, then groups of specks by rows.
    """
    labels, _ = label(mask.numpy(), structure=EIGHT_NEIGHBOURS)
    areas = np.bincount(labels.ravel())
    found = [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in find_objects(labels)]
    boxes = np.array([(0, 0, 0, 0), *found])  # as the labels count, from 1
    sides = _sides(boxes, mask.shape, resolution, context)
    order = np.argsort(-areas[1:], kind="stable") + 1
    many = len(order) > MANY
    first = order[sides[order] > resolution] if many else order
    parts = _Parts(mask.shape, resolution, context)
    for piece in first:
        parts.place(boxes[piece], piece)
    groups = []
    if many:
        specks = [piece for piece in order[sides[order] <= resolution] if not parts.join(boxes[piece], piece)]
        groups = _shared(np.array(specks, dtype=int), boxes, mask.shape, resolution, context)
    found = [(parts.boxes[i], pieces, parts.sides[i]) for i, pieces in enumerate(parts.pieces)]
    for pieces in groups:
        own = boxes[pieces]
        found.append((np.concatenate([own[:, :2].min(0), own[:, 2:].max(0)]), pieces, resolution))
    owner = np.full(len(boxes), -1)
    for number, (_, pieces, _) in enumerate(found):
        owner[pieces] = number
    return [
        ((top, left, bottom, right), torch.from_numpy(owner[labels[top:bottom, left:right]] == number), int(side))
        for number, (box, _, side) in enumerate(found)
        for top, left, bottom, right in [map(int, box)]
    ]


class _Parts:
    """Parts that grow piece by piece. Boxes are compared, all parts at once: a mask may have thousands of pieces."""

    def __init__(self, size: tuple[int, int], resolution: int, context: float):
        self.given = size, resolution, context
        self.boxes, self.sides = np.zeros((0, 4), dtype=int), np.zeros(0, dtype=int)
        self.pieces: list[list[int]] = []

    def place(self, box: np.ndarray, piece: int) -> None:
        """Add a piece to the first part that it makes need no larger window, else as a part of its own."""
        if not self.join(box, piece):
            self.boxes = np.concatenate([self.boxes, box[None]])
            self.sides = np.concatenate([self.sides, _sides(box[None], *self.given)])
            self.pieces.append([piece])

    def join(self, box: np.ndarray, piece: int) -> bool:
        """Whether there is such a part; the piece is added to it."""
        if not self.pieces:
            return False
        unions = np.concatenate([np.minimum(self.boxes[:, :2], box[:2]), np.maximum(self.boxes[:, 2:], box[2:])], 1)
        sides = _sides(unions, *self.given)
        fits = np.flatnonzero(sides <= np.maximum(self.sides, _sides(box[None], *self.given)))
        if not len(fits):
            return False
        place = fits[0]
        self.boxes[place], self.sides[place] = unions[place], sides[place]
        self.pieces[place].append(piece)
        return True


def _shared(
    pieces: np.ndarray, boxes: np.ndarray, size: tuple[int, int], resolution: int, context: float
) -> list[np.ndarray]:
    """Groups of pieces that one window of `resolution` holds with each one's context: strips from the top, each cut
    from the left. Takes time as sorting them does."""
    around = _around(boxes[pieces], context)
    # Beyond the image there is nothing to show, so that each by itself fits.
    low, high = np.maximum(boxes[pieces][:, :2] - around, 0), np.minimum(boxes[pieces][:, 2:] + around, size)
    spans = np.concatenate([low, high], 1)
    rows, groups = np.argsort(spans[:, 0], kind="stable"), []
    while len(rows):
        top = spans[rows[0], 0]
        near = rows[: np.searchsorted(spans[rows, 0], top + resolution)]
        in_strip = spans[near, 2] <= top + resolution
        strip = near[in_strip]
        strip = strip[np.argsort(spans[strip, 1], kind="stable")]
        rows = np.concatenate([near[~in_strip], rows[len(near) :]])
        while len(strip):
            left = spans[strip[0], 1]
            inside = spans[strip, 3] <= left + resolution
            groups.append(pieces[strip[inside]])
            strip = strip[~inside]
    return groups


def _sides(boxes: np.ndarray, size: tuple[int, int], resolution: int, context: float) -> np.ndarray:
    """`windows.box_side` of boxes [n, 4]."""
    lengths = boxes[:, 2:] - boxes[:, :2]
    wanted = (lengths + 2 * _around(boxes, context)).max(1)
    return np.maximum(resolution, np.minimum(wanted, max(size)))


def _around(boxes: np.ndarray, context: float) -> np.ndarray:
    """Pixels of context on each side of boxes [n, 4], by axis."""
    return np.maximum(np.round(context * (boxes[:, 2:] - boxes[:, :2])).astype(int), MIN_CONTEXT)
