"""Images and masks that share a stem, side by side or in two folders; masks binary or with class numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ..pictures import read_labels, read_mask
from ..progress import tracked
from ..regions import MaskFiles
from ..sample import NORMAL
from .files import (
    IMAGE_FOLDERS,
    NORMAL_FOLDERS,
    PARTS,
    UNNAMED,
    folders,
    images,
    named,
    same,
    stem,
)
from .found import Found, Layout, relative

_MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "ground_truth", "groundtruth", "gt", "segmentation",
)  # fmt: skip
_MASK_ENDS = ("_mask", "-mask", ".mask", "_gt", "_label", "_labels", "_segmentation")
_CLASS_FILES = ("classes.txt", "labels.txt", "labelmap.txt", "classes.json")
_BACKGROUND = ("background", "_background_", "__ignore__", "ignore", *NORMAL_FOLDERS)
_VOID = 255  # of index masks: neither a class nor normal, as in Pascal VOC
_LOOKED_AT = 20  # masks that tell numbers from black and white


@dataclass(frozen=True)
class _Image:
    """An image, its mask where one shares its stem, the part and the type that its folders name ("" where none)."""

    path: Path
    mask: Path | None
    part: str
    type: str


def _pairs(folder: Path, found: Found) -> Iterator[_Image]:
    """Every image of the folder, and of the folders in it that are named after parts."""
    for part, place in [("", folder), *((PARTS[path.name.lower()], path) for path in named(folder, PARTS))]:
        pictures, masks = named(place, IMAGE_FOLDERS), named(place, _MASK_FOLDERS)
        if pictures and masks:
            yield from _two_folders(pictures[0], masks[0], part, found)
        else:
            yield from _side_by_side(pictures[0] if pictures else place, part, found)
        for normal in named(place, NORMAL_FOLDERS):
            yield from (_Image(path, None, part, NORMAL) for path in images(normal, found))


def _two_folders(pictures: Path, masks: Path, part: str, found: Found) -> Iterator[_Image]:
    """Folders among the images are parts, types or normal images; the masks' folders have the same names."""
    yield from _joined(images(pictures, found), images(masks, found), part, "", found)
    other = {same(path.name): path for path in folders(masks)}
    for sub in folders(pictures):
        truth = other.pop(same(sub.name), None)
        word = sub.name.lower()
        type = "" if word in PARTS else NORMAL if word in NORMAL_FOLDERS else sub.name
        own = images(truth, found) if truth else []
        yield from _joined(images(sub, found), own, PARTS.get(word, part), type, found)
    for truth in other.values():
        found.problem(truth, "masks for no image: there is no such folder among the images", "add the images", False)


def _side_by_side(place: Path, part: str, found: Found) -> Iterator[_Image]:
    """A mask's stem is the image's with an end such as _mask, or the very same where the image is no PNG."""
    listed = images(place, found)
    lossy = {stem(path) for path in listed if path.suffix.lower() != ".png"}
    masks = [path for path in listed
             if _bare(stem(path)) != stem(path) or path.suffix.lower() == ".png" and stem(path) in lossy]  # fmt: skip
    yield from _joined([path for path in listed if path not in set(masks)], masks, part, "", found)


def _joined(listed: list[Path], masks: list[Path], part: str, type: str, found: Found) -> Iterator[_Image]:
    own = {stem(path): path for path in masks}
    ended = {_bare(name): name for name in own}
    used = set()
    for path in listed:
        name = stem(path) if stem(path) in own else ended.get(stem(path))
        used.add(name)
        yield _Image(path, own.get(name), part, type)
    for name, mask in own.items():
        if name not in used:
            found.problem(mask, "a mask for no image", "add the image, or rename the mask", False)


def _bare(name: str) -> str:
    end = next((end for end in _MASK_ENDS if name.lower().endswith(end)), "")
    return name[: len(name) - len(end)]


def _matches(folder: Path, numbers: bool) -> str | None:
    paired = (image for image in _pairs(folder, Found(folder)) if image.mask is not None)
    first = list(islice(paired, _LOOKED_AT))
    if not first or (_class_file(folder) is not None or _hold_numbers([image.mask for image in first])) != numbers:
        return None
    names = " and ".join(relative(path, folder) for path in (first[0].path, first[0].mask))
    return f"{names} share a stem, and masks hold {'class numbers' if numbers else 'black and white'}"


def _hold_numbers(masks: list[Path]) -> bool:
    """Whether the first masks that show anything hold small numbers, not black and white."""
    for path in masks:
        try:
            values = np.unique(read_labels(path))
        except (ValueError, OSError):
            continue
        shown = values[(values != 0) & (values != _VOID)]
        if len(shown) or _VOID in values:
            return bool(len(shown)) and int(shown.max()) < 128
    return False


def _class_file(folder: Path) -> Path | None:
    return next((folder / name for name in _CLASS_FILES if (folder / name).is_file()), None)


def _read(folder: Path, name: str, found: Found, types: Callable[[_Image], dict]) -> None:
    """types: {type: region} of an image with a mask; none where the mask is empty."""
    bare: list[_Image] = []
    empty = 0
    for image in tracked("reading masks", list(_pairs(folder, found))):
        if image.mask is None:
            bare.append(image)
            continue
        try:
            regions = types(image)
        except (ValueError, OSError) as error:
            what = str(error).removeprefix(f"{image.mask}: ").split("; ")[0]
            found.problem(image.mask, what, "replace it, or take it and its image away")
            continue
        empty += not regions
        for type, region in regions.items():
            found.add(name, type, image.part, image.path, region)
        if not regions:
            found.add(name, NORMAL, image.part, image.path)
    _add_bare(bare, empty, name, found)


def _add_bare(bare: list[_Image], empty: int, name: str, found: Found) -> None:
    """Images without a mask are normal; but not where normal images have an empty one, or in a type's folder."""
    normal = 0
    for image in bare:
        if image.type == NORMAL or not image.type and not empty:
            found.add(name, NORMAL, image.part, image.path)
            normal += image.type != NORMAL
        else:
            found.add(name, image.type or UNNAMED, image.part, image.path)
    if normal:
        found.notes.append(f"{name}: {normal} images without a mask count as normal")
    if empty:
        found.notes.append(f"{name}: {empty} images with an empty mask count as normal")


def _binary(image: _Image) -> dict[str, Path]:
    shows = bool(read_mask(image.mask).any())
    return {UNNAMED if image.type in ("", NORMAL) else image.type: image.mask} if shows else {}


def _read_binary(folder: Path, name: str, found: Found) -> None:
    _read(folder, name, found, _binary)


def _read_numbers(folder: Path, name: str, found: Found) -> None:
    file = _class_file(folder)
    names = _class_names(file, found) if file else {}
    unknown: set[int] = set()

    def types(image: _Image) -> dict[str, MaskFiles]:
        values = {int(value) for value in np.unique(read_labels(image.mask))} - {0}
        if values == {_VOID}:
            raise ValueError(f"{image.mask}: black and white, where other masks hold class numbers")
        values -= {_VOID}
        values -= {value for value in values if names.get(value, "").lower() in _BACKGROUND}
        unknown.update(values - set(names))
        return {names.get(value, f"class {value}"): MaskFiles((image.mask,), value) for value in sorted(values)}

    start = len(found.samples)
    _read(folder, name, found, types)
    if file:
        for value in sorted(unknown):
            found.problem(file, f"it has no name for value {value}, which masks hold", "add the name")
    elif unknown == {1}:  # one class, and no name for it
        found.samples[start:] = [replace(s, type=UNNAMED) if s.type != NORMAL else s for s in found.samples[start:]]


def _class_names(file: Path, found: Found) -> dict[int, str]:
    """{value: name} of a JSON object either way round, of lines "1: crack", or of plain lines.

    Plain lines count from 0 where the first is a word for the background, else from 1.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".json":
            pairs = [(key, value) if str(key).isdigit() else (value, key) for key, value in json.loads(text).items()]
            return {int(number): str(word).strip() for number, word in pairs}
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        told = [re.fullmatch(r"(\d+)\s*[:;,=\s]\s*(\S.*)", line) for line in lines]
        if lines and all(told):
            return {int(match[1]): match[2] for match in told}
        first = 0 if lines and lines[0].lower() in _BACKGROUND else 1
        return dict(enumerate(lines, first))
    except (ValueError, TypeError, AttributeError) as error:
        found.problem(file, f"no list of class names ({error})", "write one name a line, or lines such as '1: crack'")
        return {}


STEMS = Layout(
    "stems", "image and mask of one stem",
    "<object>/images/0001.jpg\n<object>/masks/0001.png  (or beside the image as 0001_mask.png)",
    "<object>/masks/<stem>.png", partial(_matches, numbers=False), _read_binary,
)  # fmt: skip
INDEX = Layout(
    "index", "index masks: the pixel's value is the class",
    "<object>/images/0001.jpg\n<object>/masks/0001.png  (0, 1, 2, ...)\n<object>/classes.txt  (a name a line)",
    "<object>/masks/<stem>.png", partial(_matches, numbers=True), _read_numbers,
)  # fmt: skip
