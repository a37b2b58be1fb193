"""KolektorSDD (a folder of surfaces for each of 50 parts) and KolektorSDD2 (train and test), as published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...images.mask_files import read_labels
from ..regions import MaskFiles
from ..sample import NORMAL
from .files import UNNAMED, folders, images, stem
from .found import Found, Layout, relative
from .pairing import paired

_KOS = re.compile(r"kos\d+", re.IGNORECASE)
_NUMBER, _TRUTH = re.compile(r"\d{5}"), re.compile(r"\d{5}_GT", re.IGNORECASE)
_COPY = re.compile(r".*\(copy\)", re.IGNORECASE)  # two stray files of the published archive: an image and its mask


def _add(pictures: Sequence[Path], masks: Sequence[Path], end: str, name: str, part: str, found: Found) -> int:
    """An empty mask is a normal image's, a missing one a problem. Returns how many masks are empty."""
    empty = 0
    for path, mask in paired(pictures, masks, found, (end, end.lower())):
        try:
            shows = mask is None or bool(read_labels(mask).any())
        except (ValueError, OSError) as error:
            found.unreadable(path, [mask], error)
            continue
        if shows:
            found.add(name, UNNAMED, part, path, mask and MaskFiles((mask,)))
        else:
            found.add(name, NORMAL, part, path)
            found.leave_out(mask)
            empty += 1
    return empty


def _parts(folder: Path) -> Iterator[tuple[Path, list[Path], list[Path]]]:
    """(folder, images, masks) of kos01, kos02, ..."""
    for place in folders(folder):
        if _KOS.fullmatch(place.name):
            files = images(place)
            masks = [path for path in files if stem(path).lower().endswith("_label")]
            yield place, [path for path in files if path not in set(masks)], masks


def _matches(folder: Path) -> str | None:
    first = next((masks[0] for _, _, masks in _parts(folder) if masks), None)
    return f"it holds {relative(first, folder)}" if first else None


def _read(folder: Path, name: str, found: Found) -> None:
    parts = list(_parts(folder))
    empty = sum(_add(pictures, masks, "_label", name, "", found) for _, pictures, masks in parts)
    found.notes.append(f"{name}: {empty} images with an empty label count as normal")
    if len(parts) > 1:
        how = "the file name pattern kos\\d+ groups them"
        found.notes.append(f"{name}: {len(parts)} folders kos... are as many parts; {how}")


def _sides(folder: Path) -> Iterator[tuple[str, list[Path], list[Path], list[Path]]]:
    """(part, images, masks, copies) of train and test."""
    for place in folders(folder):
        part = place.name.lower()
        if part in ("train", "test"):
            files = images(place)
            copies = [path for path in files if _COPY.fullmatch(stem(path))]
            masks = [path for path in files if _TRUTH.fullmatch(stem(path))]
            rest = set(copies) | set(masks)
            yield part, [path for path in files if path not in rest], masks, copies


def _matches_2(folder: Path) -> str | None:
    """Only its five-digit names distinguish it from other images with a mask of a similar name."""
    sides = list(_sides(folder))
    first = next((masks[0] for _, _, masks, _ in sides if masks), None)
    alone = all(_NUMBER.fullmatch(stem(path)) for _, pictures, _, _ in sides for path in pictures)
    return f"it holds {relative(first, folder)}" if first and alone else None


def _read_2(folder: Path, name: str, found: Found) -> None:
    empty = 0
    for part, pictures, masks, copies in _sides(folder):
        empty += _add(pictures, masks, "_GT", name, part, found)
        for path in copies:
            found.problem(path, "a copy of another file; left out", "remove it", False)
    found.notes.append(f"{name}: {empty} images with an empty mask count as normal")


KOLEKTOR = Layout(
    "kolektor",
    "KolektorSDD",
    "<object>/kos01/Part0.jpg\n<object>/kos01/Part0_label.bmp  (empty: normal)",
    "<object>/kos<number>/<stem>_label.bmp",
    _matches,
    _read,
    over=("stems", "index"),
)
KOLEKTOR2 = Layout(
    "kolektor2",
    "KolektorSDD2",
    "<object>/train/10000.png\n<object>/train/10000_GT.png  (empty: normal)",
    "<object>/train/<stem>_GT.png",
    _matches_2,
    _read_2,
    over=("stems", "index"),
)
