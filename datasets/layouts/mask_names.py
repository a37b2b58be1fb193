"""Which mask file belongs to which image, by their names; two that could are reported, none is chosen."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from .files import stem
from .found import Found, relative

_WORDS = "mask|masks|gt|label|labels|segmentation"
_END = re.compile(rf"(.+?)[_.-](?:{_WORDS})(?:[_.-]?(\d+))?", re.IGNORECASE | re.DOTALL)  # 0001_mask, 0001_mask_0
_START = re.compile(rf"(?:{_WORDS})[_.-](.+)", re.IGNORECASE | re.DOTALL)  # mask_0001


def joined(
    pictures: Sequence[Path], masks: Sequence[Path], found: Found, orphans: list[Path] | None = None
) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Every image with its masks: one, several that are numbered, or none.

    A mask has its image's stem, with an end such as _mask or _mask_0, or after a beginning such as mask_. Two images of
    one stem with a mask, and two masks that are not numbered, are problems of `found`, and left out. Masks for no image
    are added to `orphans`, or reported where it is None.
    """
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in pictures:
        by_stem[stem(path)].append(path)
    own: dict[str, list[tuple[str | None, Path]]] = defaultdict(list)
    lost = [] if orphans is None else orphans
    for mask in masks:
        name, number = next(((n, k) for n, k in _readings(stem(mask)) if n in by_stem), (None, None))
        own[name].append((number, mask)) if name is not None else lost.append(mask)
    for name, paths in by_stem.items():
        if _are_clear(paths, own.get(name, []), found):
            for path in paths:
                yield path, tuple(mask for _, mask in own.get(name, []))
        else:
            found.leave_out(*paths, *(mask for _, mask in own[name]))
    if orphans is None:
        report_orphans(lost, [path for path in pictures if stem(path) not in own] or pictures, found)


def report_orphans(masks: Sequence[Path], pictures: Sequence[Path], found: Found) -> None:
    """Masks whose name is no image's; pictures: images for the example, such without a mask where there are some."""
    example = f"; an image is {relative(pictures[0], found.root)}" if pictures else ""
    for mask in masks:
        what = f"a mask for no image: none has its stem{example}"
        found.problem(mask, what, "add the image, or give the mask its image's name", False)


def names_a_mask(name: str, others: set[str]) -> bool:
    """Whether a stem among images is a mask's: by its end, or by a number or a beginning where its image is there."""
    end = _END.fullmatch(name)
    return bool(end and end[2] is None) or any(base in others for base, _ in list(_readings(name))[1:])


def _readings(name: str) -> Iterator[tuple[str, str | None]]:
    """(the image's stem, the mask's number) as a mask's stem can be meant, the plainest first."""
    yield name, None
    for pattern in (_END, _START):
        match = pattern.fullmatch(name)
        if match:
            yield match[1], match[2] if pattern is _END else None


def _are_clear(paths: list[Path], masks: list[tuple[str | None, Path]], found: Found) -> bool:
    """Whether there is no doubt which mask belongs to which image."""
    first, more = paths[0], paths[1:]
    if more and masks:
        names = " and ".join(relative(path, found.root) for path in paths)
        found.problem(masks[0][1], f"two images have its stem, {names}", "keep one, or rename the other")
        return False
    for path in more:
        if path.parent == first.parent:
            found.problem(path, f"another image of this stem is {first.name}", "keep one if they show the same", False)
    numbers = [number for number, _ in masks]
    if len(masks) > 1 and (None in numbers or len(set(numbers)) < len(numbers)):
        names = " and ".join(mask.name for _, mask in masks)
        found.problem(
            masks[1][1],
            f"two masks for {relative(first, found.root)}: {names}",
            f"keep one, or join them as {first.stem}_mask_0, {first.stem}_mask_1",
        )
        return False
    return True
