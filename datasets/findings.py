"""What is worth a look in a dataset that can be read: gathered sample by sample, reported once for each kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, cat

from ..images.decoding import stored_orientation
from ..images.mask_files import Doubt, doubts
from ..images.pictures import Picture
from .layouts.found import Problem, relative
from .regions import MaskFiles, Outlines, Union
from .sample import Sample

_LARGE, _HUGE = 0.5, 0.6  # of the image: an inverted mask is as large and lies along the edges; few defects are
_DEPTHS = (8, 10, 12, 14)  # bits of cameras whose files have 16


@dataclass
class _Large:
    """Masks of one type. count: of all; large: of those that cover more than half; share, file: of the largest."""

    count: int = 0
    large: int = 0
    share: float = 0.0
    file: str = ""


class Findings:
    """Takes every sample that could be read, one at a time; keeps a few numbers for each object and type."""

    def __init__(self) -> None:
        self._large: dict[tuple[str, str], _Large] = {}
        self._doubts: dict[tuple[str, str, str], tuple[Path, Doubt, int]] = {}
        self._turned: dict[str, tuple[str, int, set[str]]] = {}
        self._deep: dict[str, tuple[str, int, set[str]]] = {}  # images that use less than 16 bit
        self._full: dict[str, set[str]] = {}  # images that use all of it

    def add(self, sample: Sample, picture: Picture, mask: Tensor | None) -> None:
        """A sample, its picture and its mask (bool [H, W], or None: normal)."""
        if picture.pixels.dtype == np.uint16:
            self._add_deep(sample, picture.pixels)
        if mask is None:
            return
        largest = self._large.setdefault((sample.object, sample.type), _Large())
        share = float(mask.float().mean())
        largest.count += 1
        largest.large += share > _HUGE or share > _LARGE and _along_edges(mask) > 0.5
        if share > largest.share:
            largest.share, largest.file = share, relative(sample.files[1], sample.root)
        for file, doubt in _doubts(sample.mask):
            key = (sample.object, sample.type, doubt.kind)
            first = self._doubts.get(key, (relative(file, sample.root), doubt, 0))
            self._doubts[key] = (*first[:2], first[2] + 1)
        turned = stored_orientation(sample.image.read_bytes())
        if turned != 1 and _fits_both_ways(sample.mask, picture, turned):
            self._count(self._turned, sample, turned)

    def _add_deep(self, sample: Sample, pixels: np.ndarray) -> None:
        """A few pixels may be full in any image: hot ones of the sensor, a time stamp's."""
        rank = pixels.size - 1 - pixels.size // 1000
        most = int(np.partition(pixels, rank, axis=None)[rank])
        if most < 2 ** _DEPTHS[-1]:
            self._count(self._deep, sample, most)
        else:
            self._full.setdefault(sample.object, set()).add(sample.name)

    @staticmethod
    def _count(kept: dict[str, tuple[str, int, set[str]]], sample: Sample, value: int) -> None:
        """kept: {object: (its first image, the largest value, names)}."""
        first, most, names = kept.get(sample.object, (sample.name, 0, set()))
        kept[sample.object] = first, max(most, value), names | {sample.name}

    def problems(self) -> list[Problem]:
        """None of them keeps a dataset from being used."""
        return [*self._large_masks(), *self._doubtful_masks(), *self._turned_images(), *self._shallow_images()]

    def _large_masks(self) -> list[Problem]:
        return [
            Problem(
                one.file,
                f"{one.large} of {one.count} masks of {object}/{type} cover more than half of the image, this"
                f" one {100 * one.share:.0f} %: are they inverted, or all white?",
                "save masks white on the defect and black elsewhere",
                False,
            )
            for (object, type), one in self._large.items()
            if one.large
        ]

    def _doubtful_masks(self) -> list[Problem]:
        return [
            Problem(
                file,
                doubt.what + (f"; so do {count - 1} more masks of {object}/{type}" if count > 1 else ""),
                doubt.remedy,
                False,
            )
            for (object, type, _), (file, doubt, count) in self._doubts.items()
        ]

    def _turned_images(self) -> list[Problem]:
        return [
            Problem(
                first,
                f"{len(names)} images of {object} are turned or mirrored by EXIF (orientation {turned}), and "
                "their masks fit both as stored and as shown; they are taken as drawn on the image as shown",
                "look at the sheet; if masks lie beside the defects, save the images without EXIF orientation",
                False,
            )
            for object, (first, turned, names) in self._turned.items()
        ]

    def _shallow_images(self) -> list[Problem]:
        found = []
        for object, (first, most, names) in self._deep.items():
            if most > 0 and len(names) > len(self._full.get(object, ())):
                bits = next(bits for bits in _DEPTHS if most < 2**bits)
                share = 100 * (2**bits - 1) / 65535
                found.append(
                    Problem(
                        first,
                        f"the images use {share:.{0 if share >= 1 else 1}f} % of their range ({bits} bit?): the "
                        f"largest value of {len(names)} 16-bit images of {object} is {most} of 65535, so all are "
                        "nearly black",
                        f"multiply the values by {2 ** (16 - bits)}",
                        False,
                    )
                )
        return found


def _along_edges(mask: Tensor) -> float:
    """The share of the image's outermost pixels that the mask covers."""
    return float(cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).float().mean())


def _doubts(mask: Path | MaskFiles | Outlines | Union) -> list[tuple[Path, Doubt]]:
    if isinstance(mask, Union):
        return [found for part in mask.parts for found in _doubts(part)]
    if isinstance(mask, Path):
        return [(mask, doubt) for doubt in doubts(mask)]
    if isinstance(mask, MaskFiles) and mask.value is None:
        return [(file, doubt) for file in mask.files for doubt in doubts(file, any_value=True)]
    return []


def _fits_both_ways(mask: Path | MaskFiles | Outlines | Union, picture: Picture, turned: int) -> bool:
    """Whether nothing shows if the mask belongs to the image as stored or as shown."""
    if turned >= 5 and picture.size[0] != picture.size[1]:
        return isinstance(mask, Outlines) and mask.size is None
    parts = mask.parts if isinstance(mask, Union) else (mask,)
    files = [
        file
        for part in parts
        if not isinstance(part, Outlines)
        for file in ((part,) if isinstance(part, Path) else part.files)
    ]
    return len(files) < len(parts) or any(stored_orientation(file.read_bytes()) == 1 for file in files)
