"""COCO: one JSON file, or one per part, lists images, categories, and polygons or run lengths."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ...errors import Refused
from ...images.outlines import check_on, check_shape
from ..regions import Outlines
from ..sample import NORMAL, refusal
from .annotations import Bad, contents, first_file, identity, numbers, report_normal, report_shapes, size_of
from .files import IMAGE_FOLDERS, PARTS, folders, images, named, named_path
from .found import Found, Layout
from .normal_words import no_defect

_KEYS = ("images", "annotations", "categories")
_ID = "give it a whole number or a text"


class _File:
    """One annotation file on its way to samples.

    What could make an image count as what it is not (an annotation of an unknown image or category, an id that names
    two) refuses the folder; a shape that cannot be drawn leaves out its image.
    """

    def __init__(self, path: Path, content: dict[str, Any], folder: Path, found: Found):
        self.path, self.folder, self.found = path, folder, found
        self.images: dict[int | str, Path | None] = {}
        self.types: dict[int | str, Any] = {}
        self.sizes: dict[Path, tuple[int, int] | None] = {}
        self.shapes: dict[Path, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        self.bare: set[Path] = set()  # images with an annotation that could not be used: neither normal nor whole
        self.bad: list[Bad] = []
        self.normal: Counter[str] = Counter()
        words = [*re.split("[^a-z]+", path.stem.lower()), path.relative_to(found.root).parent.name.lower()]
        self.part = next((PARTS[word] for word in words if word in PARTS), "")
        self.places = self._places()
        for entry in self._listed(content, "categories"):
            self._category(entry)
        for entry in self._listed(content, "images"):
            self._image(entry)
        for entry in self._listed(content, "annotations"):
            self._annotation(entry)
        report_normal(self.normal, path, found)

    def samples(self, object: str) -> None:
        self.found.leave_out(*self.bare)
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
        return [entry for entry in entries if isinstance(entry, dict)]

    def _places(self) -> list[Path]:
        """Where file names may be relative to: the file's own folder first, then folders of images and of the part."""
        pictures = named(self.folder, IMAGE_FOLDERS)
        words = set(re.split("[_. -]", self.path.stem.lower())) - set(IMAGE_FOLDERS)
        parts = [path for place in (self.folder, *pictures) for path in folders(place) if path.name.lower() in words]
        return list(dict.fromkeys([self.path.parent, self.folder, *parts, *pictures]))

    def _category(self, entry: dict) -> None:
        number, name = self._id(entry, f"category {entry.get('name')!r}"), entry.get("name")
        if number is not None:
            self._name_once(self.types, number, name, "category", name)

    def _image(self, entry: dict) -> None:
        name, size = entry.get("file_name"), (entry.get("height"), entry.get("width"))
        number = self._id(entry, f"image {name!r}")
        paths = [named_path(name, place, self.found.root) for place in self.places]
        path = next((path for path in (self.found.file(path) for path in paths if path) if path), None)
        if number is not None:
            self._name_once(self.images, number, path, "image", name)
        elif path is not None:
            self.bare.add(path)
        if path is None:
            why = "is not there" if any(paths) else "is no path inside the dataset"
            self._problem(f"the image {name!r} {why}", "add the image, or take it out of the file")
            return
        self.sizes.setdefault(path, size_of(*size))
        if size_of(*size) is None and size != (None, None):
            what = f"the image {name!r} has height {size[0]!r:.40} and width {size[1]!r:.40}, which are no size"
            self._problem(what, "write them as whole numbers; outlines are not compared with the image's size", False)

    def _id(self, entry: dict, what: str) -> int | str | None:
        number = identity(entry.get("id"))
        if number is None:
            self._problem(f"{what} has the id {entry.get('id')!r:.60}, which is none", _ID)
        return number

    def _name_once(self, known: dict[int | str, Any], number: int | str, value: Any, kind: str, name: Any) -> None:
        """Keep the value under the id; a second one that differs makes it ambiguous."""
        if number not in known:
            known[number] = value
            return
        differs = known[number] != value
        first = known[number].name if isinstance(known[number], Path) else known[number]
        other = f" and is also that of {first!r}" if differs else ""
        what = f"the id {number!r} of {kind} {name!r} stands there twice{other}"
        self._problem(what, "give each its own id", differs)

    def _annotation(self, entry: dict) -> None:
        what, image, category = f"annotation {entry.get('id')!r:.60}", entry.get("image_id"), entry.get("category_id")
        if identity(image) not in self.images:
            if identity(image) is None:
                self._problem(f"{what} has the image_id {image!r:.60}, which is none", _ID)
            else:
                self._problem(f"{what} is of image {image!r:.60}, which 'images' does not list", "add or remove it")
            return
        path = self.images[identity(image)]
        type = self.types.get(identity(category))
        if path is None:
            return
        if not isinstance(type, str) or not type.strip():
            self._problem(f"{what} has category {category!r:.60}, which 'categories' does not name", "name it there")
        elif no_defect(type):
            self.normal[type.strip()] += 1
            return
        else:
            try:
                self.shapes[path][type.strip()] += _shapes(entry.get("segmentation"), self.sizes[path])
                return
            except ValueError as error:
                why = refusal(error, self.path).what
                self.bad.append((self.path, f"{what} on {path.name} cannot be used: {why}"))
        self.bare.add(path)

    def _problem(self, what: str, remedy: str, unusable: bool = True) -> None:
        self.found.problem(self.path, what, remedy, unusable)


def _shapes(segmentation: Any, size: tuple[int, int] | None) -> list[list]:
    if isinstance(segmentation, dict):
        extent, counts = segmentation.get("size"), segmentation.get("counts")
        if not isinstance(extent, list) or not isinstance(counts, (list, str)):
            raise Refused("segmentation", "its run lengths have no size or no counts")
        runs = counts if isinstance(counts, str) else [identity(run) for run in counts]
        shapes = [["rle", [identity(side) for side in extent], runs]]
    elif isinstance(segmentation, list) and segmentation:
        flat = not any(isinstance(polygon, (list, dict)) for polygon in segmentation)
        shapes = [["polygon", numbers(polygon)] for polygon in ([segmentation] if flat else segmentation)]
    else:
        raise Refused("segmentation", "it has no segmentation; a box alone is no mask")
    for shape in shapes:
        check_shape(shape)
    if size is not None:
        check_on(shapes, size)
    return shapes


def _matches(folder: Path) -> str | None:
    path = first_file(folder, _KEYS)
    return path and f"{path.relative_to(folder).as_posix()} lists images, annotations and categories"


def _read(folder: Path, name: str, found: Found) -> None:
    seen: set[str] = set()
    start, bad = len(found.samples), []
    for path, content in contents(folder, _KEYS, found):
        before = len(found.samples)
        file = _File(path, content, folder, found)
        file.samples(name)
        bad += file.bad
        here = {sample.name for sample in found.samples[before:]}
        for image in sorted(here & seen):
            found.problem(found.root / image, "it stands in two annotation files", "keep it in one")
        seen |= here | {path.relative_to(found.root).as_posix() for path in file.bare}
    report_shapes(bad, found, start)
    for place in dict.fromkeys(sample.image.parent for sample in found.samples[start:]):
        extra = [path for path in images(place, found) if path.relative_to(found.root).as_posix() not in seen]
        if extra:
            found.problem(
                place,
                f"{len(extra)} images stand in no annotation file ({extra[0].name}, ...); left out",
                "list them, without annotations where they are normal",
                False,
            )
            found.leave_out(*extra)


COCO = Layout(
    "coco",
    "COCO",
    "<object>/annotations/instances_train.json  (images, annotations with segmentation, categories)\n"
    "<object>/images/0001.jpg",
    "an annotation with a segmentation",
    _matches,
    _read,
)
