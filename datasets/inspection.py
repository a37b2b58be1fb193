"""What a dataset holds and what is wrong with it, found in one pass over its files."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.ndimage import label
from torch import Tensor

from ..files.progress import counted, tracked
from ..images.components import EIGHT_NEIGHBOURS
from ..images.masks import mask_box
from ..images.pictures import Picture, read_picture
from ..images.thumbnails import Thumbnails
from .findings import Findings
from .groups import find_groups
from .layouts.found import Problem, relative
from .reading import Dataset, find_dataset, is_bare
from .sample import NORMAL, Sample, read_sample, refusal

SMALL, TINY = 100, 16  # px of a mask: what most models lose, and what a latent of ratio 4 holds in one cell
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class Masks:
    """The masks of one type. images: that show the type; area: the QUANTILES of the masks' area in pixels; share: of
    the image's; small, tiny: masks of fewer than 100 and 16 pixels; pieces: median and most of 8-connected pieces."""

    images: int
    area: tuple[float, ...]
    share: tuple[float, ...]
    small: int
    tiny: int
    pieces: tuple[float, float]
    doublings: tuple[int, ...]


@dataclass(frozen=True)
class Inspected:
    """One object. normal: normal images by part ("" where the layout has none); defective: images with a defect;
    smallest, largest: (height, width) by area; formats: images by depth and channels; types: masks by type."""

    normal: Mapping[str, int]
    defective: int
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    formats: Mapping[str, int]
    types: Mapping[str, Masks]


@dataclass(frozen=True)
class Inspection:
    """A dataset. layout, why: as it was read; objects: by name; images: files that were read; groups: how images of
    one part were found, and how many groups there are; notes: how what the folder does not say was understood."""

    root: str
    layout: str
    why: str
    images: int
    objects: Mapping[str, Inspected]
    groups: str
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def unusable(self) -> int:
        """Problems for which commands refuse the dataset."""
        return sum(problem.unusable for problem in self.problems)


def inspect_dataset(
    root: str | Path,
    layout: str | None = None,
    report: Callable[[int, int], None] | None = None,
    look: Callable[[Sample, Picture, Tensor | None], None] | None = None,
    may_read: Callable[[Path], bool] = lambda path: True,
) -> Inspection:
    """Read every image and mask of a folder once, one at a time.

    Args:
        root, layout: as `read_dataset` takes them.
        report: called with images read and images in all, then with those whose likeness is known; may raise to stop.
        look: called with every sample that could be read, its picture and its mask (bool [H, W], or None: normal).
        may_read: see `find_groups`.

    Raises:
        Refused: the folder is missing, or in no known layout, or in several. Any other problem is in the result.
    """
    with counted(report):
        dataset = find_dataset(root, layout)
        seen = _Seen(dataset, look)
        for sample in tracked("reading images", dataset.samples):
            seen.read(sample)
        problems = [*dataset.problems, *seen.problems, *seen.duplicates(), *seen.findings.problems()]
        groups, more = _grouped(seen.readable, dataset.root, seen.thumbnails, may_read)
    objects = {name: one.summary() for name, one in sorted(seen.objects.items())}
    return Inspection(
        str(root),
        dataset.layout.title,
        dataset.why,
        len({sample.name for sample in dataset.samples}),
        objects,
        groups,
        dataset.notes,
        tuple(sorted({*problems, *more}, key=lambda problem: (not problem.unusable, problem))),
    )


@dataclass
class _Object:
    """Numbers of one object as they come in."""

    normal: Counter[str] = field(default_factory=Counter)
    defective: set[str] = field(default_factory=set)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    formats: dict[str, str] = field(default_factory=dict)
    areas: dict[str, list[tuple[int, float, int]]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)

    def summary(self) -> Inspected:
        sizes = sorted(set(self.sizes.values()), key=lambda size: (size[0] * size[1], size))
        types = {type: _masks(count, self.areas[type]) for type, count in sorted(self.counts.items())}
        formats = dict(Counter(self.formats.values()).most_common())
        smallest, largest = (sizes[0], sizes[-1]) if sizes else (None, None)
        normal = dict(sorted(self.normal.items(), reverse=True))
        return Inspected(normal, len(self.defective), smallest, largest, formats, types)


class _Seen:
    """The one pass: what was read, and what could not be."""

    def __init__(self, dataset: Dataset, look: Callable[[Sample, Picture, Tensor | None], None] | None):
        self.dataset, self.look = dataset, look
        self.objects: dict[str, _Object] = defaultdict(_Object)
        self.readable: list[Sample] = []
        self.problems: list[Problem] = []
        self.findings = Findings()
        self.content: dict[bytes, list[Sample]] = defaultdict(list)
        self.thumbnails = Thumbnails(len({sample.name for sample in dataset.samples}))
        self._last: tuple[str, Picture] | None = None

    def read(self, sample: Sample) -> None:
        one = self.objects[sample.object]
        if sample.type == NORMAL:
            one.normal[sample.part] += 1
        else:
            one.defective.add(sample.name)
            one.counts[sample.type] += 1
        if is_bare(sample):
            self._problem(sample, "a defect image without a mask", f"add {self.dataset.layout.truth}, or move it away")
            return
        try:
            picture = self._picture(sample)
            _, mask = read_sample(sample, picture)
        except (ValueError, OSError) as error:
            self._refuse(sample, error)
            return
        one.sizes[sample.name], one.formats[sample.name] = picture.size, _format(picture)
        if mask is not None:
            top, left, height, width = mask_box(mask)  # outside of it there is nothing to count
            _, pieces = label(mask[top : top + height, left : left + width].numpy(), structure=EIGHT_NEIGHBOURS)
            area = int(mask.sum())
            one.areas[sample.type].append((area, area / mask.numel(), pieces))
        self.findings.add(sample, picture, mask)
        self.readable.append(sample)
        if sample.name not in self.thumbnails:
            self.thumbnails.add(sample.name, picture)
        if self.look:
            self.look(sample, picture, mask)
        digest = hashlib.blake2b(sample.image.read_bytes(), digest_size=16).digest()
        same = self.content[digest]
        if not same or same[-1].name != sample.name:  # samples come by name
            same.append(sample)

    def _picture(self, sample: Sample) -> Picture:
        """The image of a sample, decoded once for all types on it: samples come by name."""
        if self._last is None or self._last[0] != sample.name:
            self._last = None  # never two images at a time
            self._last = sample.name, read_picture(sample.image)
        return self._last[1]

    def duplicates(self) -> list[Problem]:
        """Images of the same bytes: a contradiction where one is normal and another has a defect, else a hint."""
        found = []
        for same in self.content.values():
            if len(same) > 1:
                names = ", ".join(sample.name for sample in same[1:3]) + (", ..." if len(same) > 3 else "")
                contradiction = len({sample.type == NORMAL for sample in same}) > 1
                what = "the same file as {}, and one is normal, one has a defect" if contradiction else "the same as {}"
                remedy = "remove the wrong one" if contradiction else "remove it, or see to it that a group holds both"
                found.append(Problem(same[0].name, what.format(names), remedy, contradiction))
        return found

    def _refuse(self, sample: Sample, error: ValueError | OSError) -> None:
        """Under the file that the error is about."""
        refused = refusal(error, sample.image)
        blamed = next((path for path in sample.files if str(path) == refused.subject), None)
        what = refused.what if blamed else f"{refused.subject}: {refused.what}"  # of several files, or of one class
        self.problems.append(Problem(relative(blamed or sample.image, sample.root), what, refused.remedy))

    def _problem(self, sample: Sample, what: str, remedy: str) -> None:
        self.problems.append(Problem(sample.name, what, remedy))


def _format(picture: Picture) -> str:
    depth, colour = picture.pixels.dtype.itemsize * 8, ("grey", "colour")[picture.pixels.shape[2] == 3]
    return f"{depth}-bit {colour}" + " with alpha" * (picture.alpha is not None)


def _masks(images: int, found: Sequence[tuple[int, float, int]]) -> Masks:
    if not found:
        return Masks(images, (), (), 0, 0, (0, 0), ())
    areas, shares, pieces = (np.array(column) for column in zip(*found, strict=True))
    area, share = (tuple(float(value) for value in np.quantile(column, QUANTILES)) for column in (areas, shares))
    small, tiny = (int((areas < limit).sum()) for limit in (SMALL, TINY))
    doublings = tuple(int(count) for count in np.bincount([int(one).bit_length() - 1 for one in areas]))
    return Masks(images, area, share, small, tiny, (float(np.median(pieces)), float(pieces.max())), doublings)


def _grouped(
    samples: Sequence[Sample], root: Path, thumbnails: Thumbnails, may_read: Callable[[Path], bool]
) -> tuple[str, list[Problem]]:
    """A sentence on the groups that a split would take, and what they lead to."""
    if not samples:
        return "none: no image could be read", []
    try:
        groups, source = find_groups(samples, root, thumbnails, may_read)
    except ValueError as error:
        refused = refusal(error, root)
        what = f"no groups can be made for a split: {refused.subject}: {refused.what}"
        return "none", [Problem(".", what, refused.remedy, False)]
    found = f"{len(set(groups.values()))} of {len(groups)} images, from {source}"
    return found, [*_single(samples, groups), *_both(samples, groups)]


def _single(samples: Iterable[Sample], groups: Mapping[str, str]) -> list[Problem]:
    kinds: dict[tuple[str, str], set[str]] = defaultdict(set)
    for sample in samples:
        if sample.type != NORMAL:
            kinds[sample.object, sample.type].add(groups[sample.name])
    return [
        Problem(
            f"{object}/{type}",
            "all its images are in one group, so a split can hold none back",
            "add images of other parts, or give groups by a manifest or a pattern",
            False,
        )
        for (object, type), found in kinds.items()
        if len(found) == 1
    ]


def _both(samples: Iterable[Sample], groups: Mapping[str, str]) -> list[Problem]:
    sides: dict[str, dict[bool, str]] = defaultdict(dict)
    for sample in samples:
        sides[groups[sample.name]].setdefault(sample.type == NORMAL, sample.name)
    mixed = [found for found in sides.values() if len(found) == 2]
    if not mixed:
        return []
    what = f"{len(mixed)} groups hold normal and defect images, such as {mixed[0][True]} and {mixed[0][False]}"
    return [Problem(".", what, "nothing: a split keeps each group on one side and drops normal images for it", False)]
