"""LabelMe: a JSON file with shapes beside every image that has some."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..outlines import check_shape
from ..pictures import SUFFIXES
from ..regions import Outlines
from ..sample import NORMAL
from .annotations import contents, first_file
from .files import IMAGE_FOLDERS, NORMAL_FOLDERS, PARTS, images, named, named_path, part_of
from .found import Found, Layout

_KEYS = ("shapes", "imagePath")
_KINDS = {"polygon": "points", "rotation": "points", "rectangle": "rectangle", "circle": "circle"}
_BACKGROUND = ("_background_", "__ignore__")


def _matches(folder: Path) -> str | None:
    path = first_file(folder, _KEYS)
    return path and f"{path.relative_to(folder).as_posix()} has shapes and an imagePath"


def _read(folder: Path, name: str, found: Found) -> None:
    places = [folder, *named(folder, (*IMAGE_FOLDERS, *NORMAL_FOLDERS, *PARTS))]
    annotated: dict[Path, Path] = {}
    for file, content in contents(folder, _KEYS, found):
        image = _image(file, content["imagePath"], places, found)
        if image is None:
            found.problem(file, f"its image {content['imagePath']!r} is not in the dataset", "put it beside the file")
        elif image in annotated:
            found.problem(file, f"{image.name} has another file, {annotated[image].name}", "keep one")
        else:
            annotated[image] = file
            _add(file, content, image, name, found)
    normals = [path for place in places for path in images(place, found) if path not in annotated]
    for path in normals:
        found.add(name, NORMAL, part_of(path, found.root), path)
    if normals:
        found.notes.append(f"{name}: {len(normals)} images without a JSON file count as normal")


def _image(file: Path, text: Any, places: list[Path], found: Found) -> Path | None:
    """As written, else a file of that name beside the JSON file or in a folder of images, else one of its stem."""
    base = text.replace("\\", "/").rsplit("/", 1)[-1] if isinstance(text, str) else None
    paths = [named_path(text, file.parent, found.root)]
    paths += [named_path(base, place, found.root) for place in (file.parent, *places)]
    paths += [file.with_suffix(suffix) for suffix in SUFFIXES]
    return next((path for path in paths if path and path.is_file() and path.suffix.lower() in SUFFIXES), None)


def _add(file: Path, content: dict[str, Any], image: Path, name: str, found: Found) -> None:
    types: dict[str, list] = defaultdict(list)
    shapes = content["shapes"] if isinstance(content["shapes"], list) else [None]
    for number, shape in enumerate(shapes, 1):
        try:
            label, outline = _shape(shape)
        except ValueError as error:
            found.problem(file, f"shape {number} cannot be used: {error}", "draw it again, as a polygon")
            return
        if label not in _BACKGROUND:
            types[label].append(outline)
    size = (content.get("imageHeight"), content.get("imageWidth"))
    size = size if all(isinstance(n, int) for n in size) else None
    part = part_of(image, found.root)
    for type, outlines in sorted(types.items()):
        found.add(name, type, part, image, Outlines(file, size, json.dumps(outlines, separators=(",", ":"))))
    if not types:
        found.add(name, NORMAL, part, image)


def _shape(shape: Any) -> tuple[str, list]:
    """(label, what `outlines.draw` takes)."""
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise ValueError("it has no points")
    label, kind, points = shape.get("label"), shape.get("shape_type") or "polygon", shape["points"]
    if not isinstance(label, str) or not label.strip():
        raise ValueError("it has no label")
    if not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError("a point is no pair of numbers")
    if kind == "mask":
        outline = ["bitmap", points[0] if points else [], shape.get("mask") or ""]
    elif isinstance(kind, str) and kind in _KINDS:
        outline = [_KINDS[kind], [value for point in points for value in point]]
    else:
        raise ValueError(f"a {kind} has no area")
    check_shape(outline)
    return label.strip(), outline


LABELME = Layout(
    "labelme", "LabelMe",
    "<object>/0001.jpg\n<object>/0001.json  (shapes with labels)\n<object>/0002.jpg  (no JSON file: normal)",
    "<stem>.json with shapes", _matches, _read,
)  # fmt: skip
