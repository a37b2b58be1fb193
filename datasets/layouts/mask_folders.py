"""Images and masks that share a stem, side by side or in two folders; masks binary, in colours or of class numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ...errors import Refused
from ...files.progress import tracked
from ...images.mask_colours import Colour, code_of
from ...images.mask_files import colours_of, holds_numbers, read_labels
from ..regions import MaskFiles, Union
from ..sample import NORMAL
from .files import (
    IMAGE_FOLDERS,
    PARTS,
    UNNAMED,
    folders,
    images,
    named,
    normal_folders,
    same,
    stem,
)
from .found import Found, Layout, Mask, relative
from .mask_names import joined, names_a_mask, report_orphans
from .normal_words import means_normal, no_defect

_MASK_FOLDERS = ("masks", "mask", "ground_truth", "groundtruth", "gt", "segmentation", "labels", "label", "annotations")
_CLASS_FILES = ("classes.txt", "labels.txt", "labelmap.txt", "classes.json")
_VOID = 255  # of index masks: neither a class nor normal, as in Pascal VOC
_LOOKED_AT = 20  # masks that show whether they hold numbers or black and white


@dataclass(frozen=True)
class _Image:
    """An image, its masks, the part and the type that its folders or its masks' folder name ("" where none)."""

    path: Path
    masks: tuple[Path, ...]
    part: str
    type: str


def _pairs(folder: Path, found: Found) -> Iterator[_Image]:
    """Every image of the folder, and of the folders in it that are named after parts."""
    for part, place in [("", folder), *((PARTS[path.name.lower()], path) for path in named(folder, PARTS))]:
        pictures, masks = _only(place, IMAGE_FOLDERS, found), _only(place, _MASK_FOLDERS, found)
        if pictures and masks:
            yield from _two_folders(pictures, masks, part, found)
        else:
            yield from _side_by_side(pictures or place, part, found)
        normals = normal_folders(place)
        for normal in normals:
            yield from (_Image(path, (), part, NORMAL) for path in images(normal, found))
        if normals and not part and not pictures and not masks and not images(place):
            yield from _type_folders(place, found)


def _type_folders(place: Path, found: Found) -> Iterator[_Image]:
    """Folders beside one of normal images are named after defects, and hold images and masks as an object would."""
    for sub in folders(place):
        if sub.name.lower() in PARTS or means_normal(sub.name):
            continue
        pictures, masks = _only(sub, IMAGE_FOLDERS, found), _only(sub, _MASK_FOLDERS, found)
        if pictures and masks:
            yield from _two_folders(pictures, masks, "", found, sub.name)
        else:
            yield from _side_by_side(pictures or sub, "", found, sub.name)


def _only(place: Path, names: tuple[str, ...], found: Found) -> Path | None:
    """The folder of one of these names that holds image files; what other files it or the others hold is no matter."""
    holding = [path for path in named(place, names) if any(images(one) for one in _below(path))]
    holding.sort(key=lambda path: names.index(path.name.lower()))
    for other in holding[1:]:
        what = f"it holds image files, and so does {holding[0].name}/, so that either could be meant"
        found.problem(other, what, "move one of the two folders away")
    return holding[0] if holding else None


def _below(folder: Path) -> Iterator[Path]:
    """A folder and two levels of folders in it: parts and types."""
    yield folder
    for path in folders(folder):
        yield from (path, *folders(path))


def _two_folders(pictures: Path, masks: Path, part: str, found: Found, type: str = "") -> Iterator[_Image]:
    """Folders among the images are parts, types or normal images; masks lie in folders of the same names, or flat.

    type: of all images, where a folder above has named it.
    """
    truths = {same(path.name): path for path in folders(masks)}
    nested: dict[Path, _Image] = {}  # of folders that have none among the masks
    for sub in folders(pictures):
        truth, word = truths.pop(same(sub.name), None), sub.name.lower()
        inner = PARTS.get(word, part)
        inner_type = type if word in PARTS else NORMAL if means_normal(word) else type or sub.name
        if truth is None:
            nested |= {path: _Image(path, (), inner, inner_type) for path in images(sub, found)}
        elif word in PARTS:
            yield from _two_folders(sub, truth, inner, found, type)
        else:
            for path, files in joined(images(sub, found), images(truth, found), found):
                yield _Image(path, files, inner, inner_type)
    flat: list[Path] = []
    lost: list[Path] = []
    direct = dict(joined(images(pictures, found), images(masks, found), found, flat))
    for path, files in joined([*nested], flat, found, lost):
        nested[path] = replace(nested[path], masks=files)
    typed = list(_by_mask_folder(direct, truths, part, found, type))
    known = {image.path for image in typed}
    plain = [_Image(path, files, part, type) for path, files in direct.items() if files or path not in known]
    yield from (*nested.values(), *typed, *plain)
    report_orphans(lost, [image.path for image in (*plain, *nested.values()) if not image.masks] or [*direct], found)


def _by_mask_folder(
    direct: dict[Path, tuple[Path, ...]], truths: dict[str, Path], part: str, found: Found, type: str
) -> Iterator[_Image]:
    """Folders among the masks: one with the masks of an image, whose stem it has, or one for each type."""
    stems = {stem(path): path for path in direct}
    for name, truth in truths.items():
        files = images(truth, found)
        if name in stems:
            if files:
                yield _Image(stems[name], tuple(files), part, type)
            continue
        orphans: list[Path] = []
        pairs = [(path, own) for path, own in joined([*direct], files, found, orphans) if own]
        if not pairs:
            what = "masks for no image: there is no such folder among the images"
            found.problem(truth, what, "add the images", False)
            found.leave_out(truth)
            continue
        report_orphans(orphans, [*direct], found)
        word = truth.name.lower()
        inner_type = type or ("" if word in PARTS or means_normal(word) else truth.name)
        yield from (_Image(path, own, PARTS.get(word, part), inner_type) for path, own in pairs)


def _side_by_side(place: Path, part: str, found: Found, type: str = "") -> Iterator[_Image]:
    """A mask's stem is the image's with an end such as _mask, or the very same where the image is no PNG."""
    listed = images(place, found)
    stems, lossy = {stem(path) for path in listed}, {stem(path) for path in listed if path.suffix.lower() != ".png"}
    masks = {
        path
        for path in listed
        if names_a_mask(stem(path), stems) or path.suffix.lower() == ".png" and stem(path) in lossy
    }
    pictures = [path for path in listed if path not in masks]
    yield from (_Image(*pair, part, type) for pair in joined(pictures, sorted(masks), found))


def _matches(folder: Path, numbers: bool) -> str | None:
    first = _first_with_masks(folder)
    if not first or _hold_numbers(first, folder) != numbers:
        return None
    return f"{_fits(folder)}, and masks hold {'class numbers' if numbers else 'black and white or colours'}"


def _fits(folder: Path) -> str | None:
    """Why the folder can be read where its layout is named, whatever its masks hold."""
    for image in _first_with_masks(folder, 1):
        return f"{relative(image.path, folder)} and {relative(image.masks[0], folder)} share a stem"
    return None


def _first_with_masks(folder: Path, count: int = _LOOKED_AT) -> list[_Image]:
    return list(islice((image for image in _pairs(folder, Found(folder)) if image.masks), count))


def _hint(folder: Path) -> str | None:
    """What keeps a folder with images and masks from being in this layout."""
    for place in (folder, *named(folder, PARTS)):
        pictures, masks = (_only(place, names, Found(folder)) for names in (IMAGE_FOLDERS, _MASK_FOLDERS))
        if pictures and masks:
            image, mask = (next(file for one in _below(path) for file in images(one)) for path in (pictures, masks))
            return (
                f"{relative(pictures, folder)}/ and {relative(masks, folder)}/ hold image files, but no mask has the "
                f"stem of an image: {relative(image, folder)}, {relative(mask, folder)}; give each mask its image's "
                f"name, such as {relative(masks, folder)}/{image.stem}.png"
            )
    return None


def _hold_numbers(paired: list[_Image], folder: Path) -> bool:
    """Whether masks hold small numbers, or those of the class list, and none of them grey levels or colours."""
    file = _class_file(folder)
    names = _class_names(file, Found(folder)) if file else {}
    votes = set()
    for path in (mask for image in paired for mask in image.masks):
        try:
            labels = read_labels(path)
        except (ValueError, OSError):
            continue
        listed = bool(names) and bool(labels.any()) and set(np.unique(labels).tolist()) <= {0, *names}
        votes.add(listed or holds_numbers(labels))
    return True in votes and False not in votes


def _class_file(folder: Path) -> Path | None:
    return next((folder / name for name in _CLASS_FILES if (folder / name).is_file()), None)


def _read(folder: Path, name: str, found: Found, types: Callable[[_Image], dict[str, Mask]]) -> None:
    """types: {type: region} of an image with masks; none where they are empty."""
    bare: list[_Image] = []
    empty: dict[Path, _Image] = {}
    defective = set()
    before = len(found.problems)
    for image in tracked("reading masks", list(_pairs(folder, found))):
        if not image.masks:
            bare.append(image)
            continue
        found.leave_out(*image.masks)  # an empty mask is no sample's
        try:
            regions = types(image)
        except (ValueError, OSError) as error:
            found.unreadable(image.path, image.masks, error)
            continue
        for type, region in regions.items():
            found.add(name, type, image.part, image.path, region)
            defective.add(image.path)
        if not regions:
            empty[image.path] = image
    normal = [image for path, image in empty.items() if path not in defective]
    for image in normal:
        found.add(name, NORMAL, image.part, image.path)
    if normal and not defective and len(found.problems) == before:
        found.problem(
            folder,
            f"all {len(normal)} masks of {name} are black, so that no image has a defect",
            "look whether masks hold what they should",
            False,
        )
    _add_bare(bare, len(normal), name, found)


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


def _read_shapes(folder: Path, name: str, found: Found) -> None:
    """Masks in black and white, or in colours: several colours are several types where no folder names the type."""
    shown: dict[str, Colour] = {}

    def types(image: _Image) -> dict[str, Mask]:
        colours = sorted({colour for mask in image.masks for colour in colours_of(mask)})
        if colours and image.type not in ("", NORMAL):
            return {image.type: _whole(image)}
        named = {f"colour {code_of(colour):06x}": colour for colour in colours}
        shown.update(named)
        return {type: MaskFiles(image.masks, colour) for type, colour in named.items()}

    start = len(found.samples)
    _read(folder, name, found, types)
    if len(shown) > 1:
        what = f"masks show {len(shown)} colours and nothing names them, so that types are called {', '.join(shown)}"
        found.problem(folder, what, "export class numbers with a classes.txt, if the colours are classes", False)
    elif shown:
        (type,) = shown
        found.samples[start:] = [
            replace(sample, type=UNNAMED, mask=_plain(sample.mask)) if sample.type == type else sample
            for sample in found.samples[start:]
        ]
    file = _class_file(folder)
    if file:
        found.notes.append(f"{name}: {file.name} names nothing here: masks hold no class numbers")


def _whole(image: _Image) -> Mask:
    return image.masks[0] if len(image.masks) == 1 else Union(image.masks)


def _plain(mask: MaskFiles) -> Mask:
    return mask.files[0] if len(mask.files) == 1 else Union(mask.files)


def _read_numbers(folder: Path, name: str, found: Found) -> None:
    file = _class_file(folder)
    names = _class_names(file, found) if file else {}
    unknown: set[int] = set()
    void = set() if _VOID in names else {_VOID}

    def types(image: _Image) -> dict[str, Mask]:
        values = {int(value) for mask in image.masks for value in np.unique(read_labels(mask, exact=True))} - {0}
        if values and values <= void:
            raise Refused(image.masks[0], "black and white, where other masks hold class numbers")
        values -= void
        values -= {value for value in values if no_defect(names.get(value, ""))}
        unknown.update(values - set(names))
        return {names.get(value, f"class {value}"): MaskFiles(image.masks, value) for value in sorted(values)}

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
        numbered = [re.fullmatch(r"(\d+)\s*[:;,=\s]\s*(\S.*)", line) for line in lines]
        if lines and all(numbered):
            return {int(match[1]): match[2] for match in numbered}
        first = 0 if lines and no_defect(lines[0]) else 1
        return dict(enumerate(lines, first))
    except (ValueError, TypeError, AttributeError) as error:
        found.problem(file, f"no list of class names ({error})", "write one name a line, or lines such as '1: crack'")
        return {}


STEMS = Layout(
    "stems",
    "image and mask of one stem",
    "<object>/images/0001.jpg\n<object>/masks/0001.png  (or beside the image as 0001_mask.png)",
    "<object>/masks/<stem>.png",
    partial(_matches, numbers=False),
    _read_shapes,
    fits=_fits,
    hint=_hint,
)
INDEX = Layout(
    "index",
    "index masks: the pixel's value is the class",
    "<object>/images/0001.jpg\n<object>/masks/0001.png  (0, 1, 2, ...)\n<object>/classes.txt  (a name a line)",
    "<object>/masks/<stem>.png",
    partial(_matches, numbers=True),
    _read_numbers,
    fits=_fits,
)
