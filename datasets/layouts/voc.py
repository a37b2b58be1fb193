"""CVAT's segmentation masks and Pascal VOC: SegmentationClass/ in colours, labelmap.txt, ImageSets/Segmentation."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ...images.mask_files import read_labels
from ..regions import ColourMask, MaskFiles, Union, colour_pixels
from ..sample import NORMAL
from .files import IMAGE_FOLDERS, PARTS, UNNAMED, below, entries, folders, images, named, same
from .found import Found, Layout, relative
from .normal_words import no_defect
from .pairing import keyed, report_unused
from .tables import text_of

Colour = tuple[int, int, int]
_MASKS = ("segmentationclass", "segmentationclasspng")  # the second is an older labelme2voc's
_MAP, _NAMES = "labelmap.txt", "class_names.txt"
_LINE = re.compile(r"(.*?)\s*:\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?::.*)?")
_VOID = 255  # an index that is no class
_LISTS = "ImageSets/Segmentation"


def _palette(index: int) -> Colour:
    """Pascal VOC's colour of an index: the index's bits, spread over the channels' high bits."""
    colour = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            colour[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return colour[0], colour[1], colour[2]


@dataclass
class _Classes:
    """Names by colour and by index; "" is the background, and what no class may be."""

    colours: dict[Colour, str] = field(default_factory=dict)
    indices: dict[int, str] = field(default_factory=dict)

    def add(self, index: int, colour: Colour, name: str) -> None:
        """A name that means normal is background; Pascal's void is what no class may be."""
        word = "" if no_defect(name) or name.strip().lower() == "void" else name
        self.indices[index] = word
        self.colours[colour] = word


def _masks(folder: Path) -> Path | None:
    """The folder of class masks that holds some, in the folder itself or in annotations/."""
    for place in (folder, *named(folder, ("annotations", "annotation"))):
        for path in sorted(named(place, _MASKS), key=lambda path: len(path.name), reverse=True):
            if images(path):
                return path
    return None


def _pictures(folder: Path) -> Path | None:
    return next(iter([*named(folder, ("jpegimages",)), *named(folder, IMAGE_FOLDERS)]), None)


def _is_segmentation(folder: Path) -> bool:
    return folder.name.lower().startswith("segmentation")


def _matches(folder: Path) -> str | None:
    masks, pictures = _masks(folder), _pictures(folder)
    if masks is None or pictures is None:
        return None
    return f"it holds {relative(masks, folder)} and {pictures.name}"


def _read(folder: Path, name: str, found: Found) -> None:
    masks, pictures = _masks(folder), _pictures(folder)
    classes = _read_classes(masks.parent, folder, found)
    listed = keyed(below(pictures, found), pictures, found, "image")
    parts = _parts(folder, listed, found)
    if parts:
        left_out = [path for key, path in listed.items() if key not in parts]
        found.leave_out(*left_out)
        if left_out:
            found.problem(
                pictures,
                f"{len(left_out)} images are in no list of {_LISTS} ({left_out[0].name}, ...); left out",
                "add them to a list; without a mask they count as normal",
                False,
            )
    # Masks without a class are of no sample; the other folders hold instances, borders and pictures of the masks.
    found.leave_out(*(path for place in (folder, masks.parent) for path in folders(place) if _is_segmentation(path)))
    start, bare, empty = len(found.samples), [], 0
    truth = keyed(below(masks, found), masks, found, "mask")
    for key, path in listed.items():
        part = parts.get(key, "")
        if parts and key not in parts:
            continue
        if key not in truth:
            bare.append((path, part))
        else:
            empty += _add(path, truth[key], classes or _numbered(), name, part, found)
    report_unused([mask for key, mask in truth.items() if key not in listed], listed, found)
    _add_bare(bare, empty, name, found)
    if classes is None and {sample.type for sample in found.samples[start:]} <= {NORMAL, "class 1"}:
        # one class, and no name for it
        found.samples[start:] = [
            replace(one, type=UNNAMED) if one.type != NORMAL else one for one in found.samples[start:]
        ]


def _add_bare(bare: list[tuple[Path, str]], empty: int, name: str, found: Found) -> None:
    """Images without a mask are normal; but not where normal images have an empty one."""
    for path, part in bare:
        found.add(name, UNNAMED if empty else NORMAL, part, path)
    if bare and not empty:
        found.notes.append(f"{name}: {len(bare)} images without a mask count as normal")
    if empty:
        found.notes.append(f"{name}: {empty} images whose mask shows no class count as normal")


def _add(path: Path, mask: Path, classes: _Classes, name: str, part: str, found: Found) -> bool:
    """Add a sample for each class of a mask; whether there is none."""
    try:
        regions = _regions(mask, classes)
    except (ValueError, OSError) as error:
        found.unreadable(path, [mask], error)
        return False
    if isinstance(regions, str):
        found.leave_out(path)
        found.problem(mask, f"{regions}; its image is left out", f"add it to {_MAP}, or export the mask again", False)
        return False
    for type, region in sorted(regions.items()):
        found.add(name, type, part, path, region)
    if not regions:
        found.add(name, NORMAL, part, path)
    return not regions


def _regions(mask: Path, classes: _Classes) -> dict[str, ColourMask | MaskFiles | Union] | str:
    """{class: its region}, or what the mask holds that is no class.

    Colours count where the list knows all of them; else the numbers of a grey or palette image.
    """
    pixels = colour_pixels(mask)
    grey = pixels.shape[2] == 1
    labels = read_labels(mask, exact=True) if grey or _has_palette(mask) else None
    colours = {(int(v),) * 3 for v in np.unique(pixels)} if grey else _colours(pixels)
    unknown = sorted(colours - set(classes.colours) - {_palette(_VOID)})
    if not unknown:
        found = {colour: ColourMask(mask, colour) for colour in colours}
        return _joined({key: (classes.colours.get(key, ""), region) for key, region in found.items()})
    if labels is not None:
        values = {int(value) for value in np.unique(labels)}
        if values - {0} == {_VOID}:
            return "black and white, where other masks hold classes"
        if values <= {*classes.indices, _VOID}:
            found = {value: MaskFiles((mask,), value) for value in values - {_VOID}}
            return _joined({key: (classes.indices[key], region) for key, region in found.items()})
    named = "number" if grey else "colour"
    return f"no class has its {named} {unknown[0][0] if grey else unknown[0]}"


def _joined(found: dict) -> dict[str, ColourMask | MaskFiles | Union]:
    """{name: region} of {key: (name, region)}; several of one name are one, and "" is none."""
    by_name: dict[str, list] = defaultdict(list)
    for _, (name, region) in sorted(found.items()):
        if name:
            by_name[name].append(region)
    return {name: regions[0] if len(regions) == 1 else Union(tuple(regions)) for name, regions in by_name.items()}


def _colours(pixels: np.ndarray) -> set[Colour]:
    packed = np.unique(pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32))
    return {(int(value) >> 16, int(value) >> 8 & 255, int(value) & 255) for value in packed}


def _has_palette(mask: Path) -> bool:
    with Image.open(mask) as image:
        return image.mode == "P"


def _numbered() -> _Classes:
    """Classes without names, in Pascal VOC's colours."""
    classes = _Classes()
    for index in range(_VOID):
        classes.add(index, _palette(index), f"class {index}" if index else "background")
    return classes


def _read_classes(beside: Path, folder: Path, found: Found) -> _Classes | None:
    """From labelmap.txt (names and colours) or class_names.txt (names in VOC's colours), beside the masks or above."""
    places = dict.fromkeys([beside, folder])
    for file in (place / name for name in (_MAP, _NAMES) for place in places):
        text = text_of(file, found) if file.is_file() else None
        if text is not None:
            return _labelmap(file, text, found) if file.name == _MAP else _class_names(text)
    return None


def _class_names(text: str) -> _Classes:
    classes = _Classes()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for index, line in enumerate(lines, -1 if lines[:1] == ["__ignore__"] else 0):
        if index >= 0:
            classes.add(index, _palette(index), line)
    return classes


def _labelmap(file: Path, text: str, found: Found) -> _Classes:
    rows: list[tuple[str, Colour]] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        match = _LINE.fullmatch(line)
        colour = tuple(int(match[place][:4]) for place in (2, 3, 4)) if match else ()
        if match and match[1] and max(colour) < 256:
            if colour in (one for name, one in rows if name != match[1]):
                found.problem(file, f"line {number}: another class has the colour {colour} too", "give it its own")
            rows.append((match[1], colour))
        elif line and not line.startswith("#"):
            what = f"line {number} is {line[:40]!r}; accepted is: name:red,green,blue::"
            found.problem(file, what, "correct it", False)
    classes = _Classes()
    classes.colours[0, 0, 0] = ""
    first = 0 if any(no_defect(name) for name, _ in rows) else 1  # without a background in the list, 0 is it
    classes.indices[0] = ""
    for index, (name, colour) in enumerate(rows, first):
        classes.add(index, colour, name)
    return classes


def _parts(folder: Path, listed: dict[str, Path], found: Found) -> dict[str, str]:
    """{image's key: its part} from the lists in ImageSets/Segmentation; nothing where there is none."""
    parts: dict[str, str] = {}
    for file in entries(folder / _LISTS):
        text = text_of(file, found) if file.suffix.lower() == ".txt" and file.is_file() else None
        part = PARTS.get(file.stem.lower(), "")
        for number, line in enumerate((text or "").splitlines(), 1):
            if not line.strip():
                continue
            key = next((key for key in _keys(line.strip()) if key in listed), None)
            if key is None:
                what = f"line {number}: there is no image {line.strip()[:80]!r}; left out"
                found.problem(file, what, "add the image, or remove the line", False)
            elif part and parts.get(key) and parts[key] != part:
                found.problem(file, f"line {number}: {key} is in a list of the other part too", "keep it in one")
            else:
                parts[key] = part or parts.get(key, "")
    return parts


def _keys(line: str) -> list[str]:
    """What a list's line may call an image: a name, with a suffix or a flag behind it, or a path."""
    line = line.replace("\\", "/")
    names = [line, re.sub(r"\s+-?[01]$", "", line)]
    names += [re.sub(r"\.[^./]*$", "", name) for name in names]
    return [same(name) for name in (*names, *(name.rsplit("/", 1)[-1] for name in names))]


VOC = Layout(
    "voc",
    "CVAT or Pascal VOC",
    "<object>/JPEGImages/0001.jpg\n<object>/SegmentationClass/0001.png  (classes as colours)\n"
    "<object>/labelmap.txt  (name:red,green,blue::)\n<object>/ImageSets/Segmentation/train.txt",
    "<object>/SegmentationClass/<stem>.png",
    _matches,
    _read,
    over=("stems", "index"),
    under=("coco", "labelme", "mvtec", "loco", "btad", "visa"),
)
