"""DAGM 2007: Class1/Train and Test with masks in Label/; in an older release ellipses in Class1_def/labels.txt."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from ...errors import Refused
from ...images.outlines import check_shape
from ..regions import MaskFiles, Outlines
from ..sample import NORMAL, refusal
from .files import UNNAMED, folders, images, named, stem
from .found import Found, Layout, relative
from .pairing import paired
from .tables import text_of

_PARTS = {"train": "train", "test": "test"}
_DEF = "_def"
_CORNERS = 64  # of an ellipse's outline


def _label_folder(part: Path) -> Path | None:
    return next((path for path in folders(part) if path.name.lower() == "label"), None)


def _list_file(folder: Path) -> Path | None:
    return next((path for path in sorted(folder.glob("*.txt")) if path.name.lower() == "labels.txt"), None)


def _parts(folder: Path) -> list[tuple[str, Path, Path]]:
    """(part, its images' folder, its masks' folder) of Train and Test."""
    places = [(_PARTS[path.name.lower()], path, _label_folder(path)) for path in named(folder, _PARTS)]
    return [place for place in places if place[2] is not None and _is_truth(place[2])]


def _is_truth(label: Path) -> bool:
    return _list_file(label) is not None or any(stem(path).lower().endswith("_label") for path in images(label))


def _classes(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """(object, its folder, what shows that it is one) of the classes in a folder."""
    for place in folders(folder):
        parts = _parts(place)
        if parts:
            yield place.name, place, relative(parts[0][2], folder)
        elif place.name.endswith(_DEF) and _list_file(place) and images(place):
            yield place.name.removesuffix(_DEF), place, relative(_list_file(place), folder)


def _matches(folder: Path) -> str | None:
    parts = _parts(folder)
    first = relative(parts[0][2], folder) if parts else next((why for _, _, why in _classes(folder)), None)
    return first and f"it holds {first}"


def _read(folder: Path, name: str, found: Found) -> None:
    if _parts(folder):
        _read_class(folder, name, found)
        return
    for object, place, _ in _classes(folder):
        if _parts(place):
            _read_class(place, object, found)
        else:
            _read_ellipses(place, object, found)
            for path in images(folder / object, found):
                found.add(object, NORMAL, "", path)


def _read_class(folder: Path, name: str, found: Found) -> None:
    for part, place, label in _parts(folder):
        listed = _listed(label, found)
        for path, mask in paired(images(place, found), images(label, found), found, ("_label", "_LABEL")):
            if mask is not None or path.name.lower() in listed:
                found.add(name, UNNAMED, part, path, mask and MaskFiles((mask,)))
            else:
                found.add(name, NORMAL, part, path)


def _listed(label: Path, found: Found) -> set[str]:
    """The images, in small letters, that Labels.txt gives a defect."""
    file = _list_file(label)
    text = text_of(file, found) if file else None
    listed = set()
    for number, line in enumerate((text or "").splitlines(), 1):
        cells = line.split()
        if len(cells) >= 3 and cells[1] == "1":
            listed.add(cells[2].lower())
        elif len(cells) > 1 and (len(cells) < 3 or cells[1] != "0"):  # the first line is a number alone
            what = f"line {number} is {line.strip()[:40]!r}; accepted is: number, 0 or 1, image, ..."
            found.problem(file, what, "correct it", False)
    return listed


def _read_ellipses(folder: Path, name: str, found: Found) -> None:
    file = _list_file(folder)
    pictures = {stem(path): path for path in images(folder, found)}
    used: dict[str, list] = {}
    bad = set()
    for number, line in enumerate((text_of(file, found) or "").splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        key = cells[0].split(".")[0] if cells[0].split(".")[0] in pictures else cells[0]
        try:
            if key not in pictures:
                raise Refused("image", f"there is no image {key}")
            used.setdefault(key, []).append(_ellipse(cells[1:]))
        except ValueError as error:
            bad.add(key)
            found.problem(
                file, f"line {number}: {refusal(error, file).what}; its image is left out", "correct the line", False
            )
    for key, path in pictures.items():
        if key in used and key not in bad:
            found.add(name, UNNAMED, "", path, Outlines(file, None, json.dumps(used[key], separators=(",", ":"))))
        elif key in bad:
            found.leave_out(path)
        else:
            found.problem(path, f"no line of {file.name} is about it; left out", "add one", False)
    found.notes.append(f"{name}: its ellipses are rough; they hold surface around the defect")


def _ellipse(cells: list[str]) -> list:
    """The outline of: semi-major axis, semi-minor axis, angle in radians, x and y of the centre."""
    if len(cells) < 5:
        raise Refused("ellipse", f"{len(cells) + 1} numbers", "image, two semi-axes, angle, x and y")
    major, minor, angle, x, y = (float(cell) for cell in cells[:5])
    turns = [2 * math.pi * corner / _CORNERS for corner in range(_CORNERS)]
    along, across = [major * math.cos(turn) for turn in turns], [minor * math.sin(turn) for turn in turns]
    cos, sin = math.cos(angle), math.sin(angle)
    points = [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in zip(along, across, strict=True)]
    shape = ["polygon", [round(value, 3) for point in points for value in point]]
    check_shape(shape)
    return shape


DAGM = Layout(
    "dagm",
    "DAGM 2007",
    "<object>/Train/0001.PNG\n<object>/Train/Label/0001_label.PNG\n<object>/Train/Label/Labels.txt\n"
    "<object>_def/1.png\n<object>_def/labels.txt  (ellipses)",
    "<object>/Train/Label/<stem>_label.PNG",
    _matches,
    _read,
    over=("stems", "index"),
)
