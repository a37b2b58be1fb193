"""LabelMe: a JSON file with shapes beside every image that has some."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ...errors import Refused
from ...images.outlines import check_on, check_shape
from ...images.pictures import SUFFIXES
from ..regions import Outlines
from ..sample import NORMAL, refusal
from .annotations import contents, first_file, json_files, numbers, report_normal, report_shapes, size_of, type_folders
from .files import (
    IMAGE_FOLDERS,
    PARTS,
    images,
    named,
    named_path,
    normal_folders,
    part_of,
    stem,
)
from .found import Found, Layout
from .normal_words import means_normal, no_defect

_KEYS = ("shapes", "imagePath")
_KINDS = {"polygon": "points", "rotation": "points", "rectangle": "rectangle", "circle": "circle"}


def _matches(folder: Path) -> str | None:
    path = first_file(folder, _KEYS)
    return path and f"{path.relative_to(folder).as_posix()} has shapes and an imagePath"


def _read(folder: Path, name: str, found: Found) -> None:
    start, bad, normal = len(found.samples), [], Counter()
    typed = type_folders(folder)
    listed = [folder, *named(folder, (*IMAGE_FOLDERS, *PARTS)), *normal_folders(folder), *typed]
    listed = list(dict.fromkeys(listed))
    types = {place: place.name for place in typed if not means_normal(place.name)}
    annotated: dict[Path, Path] = {}
    for file, content in contents(folder, _KEYS, found):
        image = _image(file, content["imagePath"], listed, found)
        if image is None:
            found.problem(file, f"its image {content['imagePath']!r} is not in the dataset", "put it beside the file")
        elif image in annotated:
            found.problem(file, f"{image.name} has another file, {annotated[image].name}", "keep one")
        else:
            annotated[image] = file
            try:
                _add(file, content, image, types.get(image.parent, NORMAL), name, found, normal)
            except ValueError as error:
                refused = refusal(error, file)
                bad.append((file, f"{refused.subject} cannot be used: {refused.what}"))
                found.leave_out(image)
    report_shapes(bad, found, start)
    report_normal(normal, folder, found)
    bare = [path for place in listed for path in images(place, found) if path not in annotated]
    _add_bare(bare, json_files(folder), set(annotated.values()), types, name, found)


def _add_bare(
    bare: list[Path], files: list[Path], used: set[Path], types: dict[Path, str], name: str, found: Found
) -> None:
    """Images without a JSON file are normal, but not in a defect's folder, nor where a file of their name is none of
    LabelMe's or is another image's."""
    apart = {place for place in {path.parent for path in files} if not images(place)}  # folders of JSON files alone
    others = {(p.parent, stem(p)): p for p in files if p.parent not in apart or p not in used}
    normals = 0
    for path in bare:
        other = next((others[p, stem(path)] for p in (path.parent, *apart) if (p, stem(path)) in others), None)
        if other:
            what = f"it has no shapes of {path.name}, so what that shows is not known; left out"
            found.problem(other, what, "export it again, or move it away", False)
            found.leave_out(path)
            continue
        type = types.get(path.parent, NORMAL)
        found.add(name, type, part_of(path, found.root), path)
        normals += type == NORMAL
    if normals:
        found.notes.append(f"{name}: {normals} images without a JSON file count as normal")


def _image(file: Path, text: Any, listed: list[Path], found: Found) -> Path | None:
    """As written, else a file of that name beside the JSON file or in a folder of images, else one of its stem."""
    base = text.replace("\\", "/").rsplit("/", 1)[-1] if isinstance(text, str) else None
    paths = [named_path(text, file.parent, found.root)]
    paths += [named_path(base, place, found.root) for place in (file.parent, *listed)]
    paths += [file.with_suffix(suffix) for suffix in SUFFIXES]
    there = (found.file(path) for path in paths if path and path.suffix.lower() in SUFFIXES)
    return next((path for path in there if path), None)


def _add(
    file: Path, content: dict[str, Any], image: Path, empty: str, name: str, found: Found, normal: Counter[str]
) -> None:
    """empty: the type of an image without a defect's shape. Raises Refused for a shape that cannot be used; the
    image then is neither normal nor whole."""
    types: dict[str, list] = defaultdict(list)
    size = size_of(content.get("imageHeight"), content.get("imageWidth"))
    shapes = content["shapes"] if isinstance(content["shapes"], list) else [None]
    for number, shape in enumerate(shapes, 1):
        try:
            label = _label(shape)
            if no_defect(label):
                normal[label] += 1
                continue
            outline = _outline(shape)
            check_shape(outline)
            if size is not None:
                check_on([outline], size)
        except ValueError as error:
            raise refusal(error, file).of(f"shape {number}") from error
        types[label].append(outline)
    part = part_of(image, found.root)
    for type, outlines in sorted(types.items()):
        found.add(name, type, part, image, Outlines(file, size, json.dumps(outlines, separators=(",", ":"))))
    if not types:
        found.add(name, empty, part, image)


def _label(shape: Any) -> str:
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise Refused("shape", "it has no points")
    label = shape.get("label")
    if not isinstance(label, str) or not label.strip():
        raise Refused("shape", "it has no label")
    return label.strip()


def _outline(shape: dict[str, Any]) -> list:
    """What `outlines.draw` takes."""
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise Refused("shape", "a point is no pair of numbers")
    if kind == "mask":
        return ["bitmap", numbers(points[0]) if points else [], shape.get("mask") or ""]
    if kind == "rectangle" and len({x for x, _ in points}) > 2 and len({y for _, y in points}) > 2:
        kind = "rotation"  # its corners are not along the axes
    if isinstance(kind, str) and kind in _KINDS:
        return [_KINDS[kind], numbers([value for point in points for value in point])]
    raise Refused("shape", f"a {kind} has no area")


LABELME = Layout(
    "labelme",
    "LabelMe",
    "<object>/0001.jpg\n<object>/0001.json  (shapes with labels)\n<object>/0002.jpg  (no JSON file: normal)",
    "<stem>.json with shapes",
    _matches,
    _read,
)
