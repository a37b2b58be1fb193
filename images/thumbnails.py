"""Grey thumbnails of images, to find near-duplicates: one small table, filled image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..files.progress import tracked
from .pictures import Picture

SIDE = 16  # px
_ROWS = 256  # thumbnails that are compared with all others at once


class Thumbnails:
    """The thumbnails of a number of images that is known before.

    The table is allocated once. Small arrays kept one by one between the large buffers of the images would keep the
    C heap from using a freed buffer again, and memory would grow by whole images.
    """

    def __init__(self, images: int):
        self._values = np.zeros((images, SIDE * SIDE), np.float32)
        self._rows: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def add(self, name: str, picture: Picture) -> None:
        """Keep an image's thumbnail, mean 0 and length 1 (an even grey image: zeros)."""
        values = box_means(picture.pixels, SIDE).ravel()
        values -= values.mean()
        row = self._rows.setdefault(name, len(self._rows))
        self._values[row] = values / max(float(np.linalg.norm(values)), 1e-6)

    def near_duplicates(self, names: Sequence[str], threshold: float) -> dict[str, str]:
        """{name: first name of its group}: images whose correlation is at least `threshold` are joined, and groups
        are the connected components."""
        values = self._values[[self._rows[name] for name in names]]
        first = np.arange(len(names))  # of each image's group
        for start in tracked("looking for near-duplicates", range(0, len(names), _ROWS), _ROWS, len(names)):
            near = values[start : start + _ROWS] @ values.T >= threshold - 1e-6
            for row in near:
                _join(first, row)
        return {name: names[place] for name, place in zip(names, first, strict=True)}


def _join(first: np.ndarray, near: np.ndarray) -> None:
    """Make one group of all groups that an image near to `near` is in, in place."""
    groups = np.unique(first[near])
    if len(groups) > 1:
        joined = np.zeros(len(first), bool)
        joined[groups] = True
        first[joined[first]] = groups[0]


def box_means(pixels: np.ndarray, side: int) -> np.ndarray:
    """float64 [side, side]: grey means in 0 .. 1 over equal boxes of an image, [H, W, C] uint8 or uint16.

    Boxes are those of adaptive average pooling: box i of an axis of n pixels is floor(i n / side) .. ceil((i + 1) n /
    side). Sums are of whole numbers, so no floating-point copy of the image is made.
    """
    rows, columns = (_boxes(length, side) for length in pixels.shape[:2])
    means, channels = np.empty((side, side)), pixels.shape[2]
    for place, (top, bottom) in enumerate(rows):
        # Summed as [rows, W C]: numpy is ten times as fast along the first axis of two.
        line = pixels[top:bottom].reshape(bottom - top, -1).sum(axis=0, dtype=np.uint32)
        line = line.reshape(-1, channels).sum(axis=1, dtype=np.uint64)
        means[place] = [int(line[left:right].sum()) / ((bottom - top) * (right - left)) for left, right in columns]
    return means / (channels * np.iinfo(pixels.dtype).max)


def _boxes(length: int, side: int) -> list[tuple[int, int]]:
    return [(place * length // side, -(-(place + 1) * length // side)) for place in range(side)]
