"""COCO: one JSON file, or one per part, lists images, categories, and polygons or run lengths."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..outlines import check_shape
from ..regions import Outlines
from ..sample import NORMAL
from .annotations import contents, first_file
from .files import IMAGE_FOLDERS, PARTS, folders, images, named, named_path
from .found import Found, Layout

_KEYS = ("images", "annotations", "categories")


class _File:
    """One annotation file on its way to samples."""

    def __init__(self, path: Path, content: dict[str, Any], folder: Path, found: Found):
        self.path, self.folder, self.found = path, folder, found
        self.images: dict[Any, Path | None] = {}
        self.sizes: dict[Path, tuple[int, int] | None] = {}
        self.shapes: dict[Path, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        self.bare: set[Path] = set()  # images with an annotation that could not be used: neither normal nor whole
        self.types = {entry.get("id"): entry.get("name") for entry in self._listed(content, "categories")}
        words = [*re.split("[^a-z]+", path.stem.lower()), path.relative_to(found.root).parent.name.lower()]
        self.part = next((PARTS[word] for word in words if word in PARTS), "")
        self.places = self._places()
        for entry in self._listed(content, "images"):
            self._image(entry)
        for entry in self._listed(content, "annotations"):
            self._annotation(entry)

    def samples(self, object: str) -> None:
        for path, size in self.sizes.items():
            if path in self.bare:
                continue
            for type, shapes in sorted(self.shapes[path].items()):
                text = json.dumps(shapes, separators=(",", ":"))
                self.found.add(object, type, self.part, path, Outlines(self.path, size, text))
            if not self.shapes[path]:
                self.found.add(object, NORMAL, self.part, path)

    def _listed(self, content: dict[str, Any], key: str) -> list[dict]:
        entries = content[key] if isinstance(content[key], list) else []
        if not isinstance(content[key], list) or not all(isinstance(entry, dict) for entry in entries):
            self._problem(f"{key!r} is no list of objects", "export it again")
        return [entry for entry in entries if isinstance(entry, dict) and _hashable(entry.get("id"))]

    def _places(self) -> list[Path]:
        """Where file names may be relative to: the file's own folder first, then folders of images and of the part."""
        pictures = named(self.folder, IMAGE_FOLDERS)
        words = set(re.split("[_. -]", self.path.stem.lower())) - set(IMAGE_FOLDERS)
        parts = [path for place in (self.folder, *pictures) for path in folders(place) if path.name.lower() in words]
        return list(dict.fromkeys([self.path.parent, self.folder, *parts, *pictures]))

    def _image(self, entry: dict) -> None:
        name, size = entry.get("file_name"), (entry.get("height"), entry.get("width"))
        paths = [named_path(name, place, self.found.root) for place in self.places]
        path = next((path for path in paths if path and path.is_file()), None)
        self.images[entry.get("id")] = path
        if path is not None:
            self.sizes.setdefault(path, size if all(isinstance(n, int) for n in size) else None)
        else:
            why = "is not there" if any(paths) else "is no path inside the dataset"
            self._problem(f"the image {name!r} {why}", "add the image, or take it out of the file")

    def _annotation(self, entry: dict) -> None:
        what, image = f"annotation {entry.get('id')}", entry.get("image_id")
        if not _hashable(image) or image not in self.images:
            self._problem(f"{what} is of image {image!r}, which 'images' does not list", "add or remove it")
            return
        path = self.images[image]
        category = entry.get("category_id")
        type = self.types.get(category) if _hashable(category) else None
        if path is None:
            return
        if not isinstance(type, str) or not type.strip():
            self._problem(f"{what} has category {category!r}, which 'categories' does not name", "name it there")
        elif type.strip() == NORMAL:
            self._problem(f"{what} is of category {NORMAL!r}, which is no defect; left out", "remove it", False)
            return
        else:
            try:
                self.shapes[path][type.strip()] += _shapes(entry.get("segmentation"))
                return
            except ValueError as error:
                self._problem(f"{what} on {path.name} cannot be used: {error}", "draw it again, as a polygon")
        self.bare.add(path)

    def _problem(self, what: str, remedy: str, unusable: bool = True) -> None:
        self.found.problem(self.path, what, remedy, unusable)


def _shapes(segmentation: Any) -> list[list]:
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if not isinstance(size, list) or not isinstance(counts, (list, str)):
            raise ValueError("its run lengths have no size or no counts")
        shapes = [["rle", size, counts]]
    elif isinstance(segmentation, list) and segmentation:
        shapes = [["polygon", polygon] for polygon in segmentation]
    else:
        raise ValueError("it has no segmentation; a box alone is no mask")
    for shape in shapes:
        check_shape(shape)
    return shapes


def _hashable(value: Any) -> bool:
    return value is None or isinstance(value, (int, str))


def _matches(folder: Path) -> str | None:
    path = first_file(folder, _KEYS)
    return path and f"{path.relative_to(folder).as_posix()} lists images, annotations and categories"


def _read(folder: Path, name: str, found: Found) -> None:
    seen: set[str] = set()
    start = len(found.samples)
    for path, content in contents(folder, _KEYS, found):
        before = len(found.samples)
        file = _File(path, content, folder, found)
        file.samples(name)
        here = {sample.name for sample in found.samples[before:]}
        for image in sorted(here & seen):
            found.problem(found.root / image, "it stands in two annotation files", "keep it in one")
        seen |= here | {path.relative_to(found.root).as_posix() for path in file.bare}
    for place in dict.fromkeys(sample.image.parent for sample in found.samples[start:]):
        extra = [path for path in images(place, found) if path.relative_to(found.root).as_posix() not in seen]
        if extra:
            found.problem(
                place, f"{len(extra)} images stand in no annotation file ({extra[0].name}, ...); left out",
                "list them, without annotations where they are normal", False,
            )  # fmt: skip


COCO = Layout(
    "coco", "COCO",
    "<object>/annotations/instances_train.json  (images, annotations with segmentation, categories)\n"
    "<object>/images/0001.jpg",
    "an annotation with a segmentation", _matches, _read,
)  # fmt: skip
