"""COCO's run lengths: pixels column by column, the number that are not the region, then that are, and so on.

Compressed, they are a text: every run from the fourth on less the one two before it, five bits a character.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def run_lengths(region: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> list[int]:
    """The runs of a region on an image.

    Args:
        region: bool [h, w], at least one pixel set.
        corner: (top, left) of the region in the image.
        size: (height, width) of the image.
    """
    columns, rows = np.nonzero(region.T)
    places = (columns + corner[1]) * size[0] + rows + corner[0]
    gaps = np.flatnonzero(np.diff(places) != 1)
    first = places[np.r_[0, gaps + 1]]
    after = places[np.r_[gaps, len(places) - 1]] + 1
    ends = np.stack([first, after], axis=1).ravel()
    runs = np.diff(ends, prepend=0).tolist()
    rest = size[0] * size[1] - int(ends[-1])
    return [*runs, rest] if rest else runs


def compressed(runs: list[int]) -> str:
    """The text of runs; `decompressed` is the way back."""
    return "".join(_characters(run - (runs[place - 2] if place > 2 else 0) for place, run in enumerate(runs)))


def _characters(values: Iterable[int]) -> Iterable[str]:
    for value in values:
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            yield chr((bits | 32 * more) + 48)


def decompressed(text: str) -> list[int]:
    """The runs of a text."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
