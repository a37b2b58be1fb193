"""YOLO segmentation, as Ultralytics, Roboflow and `export --format yolo` write it: polygons in a .txt per image."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import Refused
from ..regions import Outlines
from ..sample import NORMAL, refusal
from .annotations import report_normal
from .files import IMAGE_FOLDERS, PARTS, UNNAMED, below, entries, named, named_path, same
from .found import Found, Layout, relative
from .normal_words import no_defect
from .pairing import report_unused
from .tables import text_of
from .yolo_file import Value, read_keys

_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAMES = ("classes.txt", "obj.names")
_NO_LABELS = ("classes.txt", "notes.txt", "readme.txt", "labels.txt")  # beside the labels, and about no image
_KEYS = ("path", "train", "val", "valid", "test", "names", "kpt_shape")
_SLACK = 0.01  # by which a corner may lie outside the image
_LOOKED_AT = 20


@dataclass
class _Description:
    """What data.yaml or classes.txt says. names: by class number, None without such a file; parts: {folder or image:
    its part}; pose: whether lines hold key points behind a box."""

    names: dict[int, str] | None = None
    parts: dict[Path, str] = field(default_factory=dict)
    pose: bool = False


def _yaml(folder: Path) -> Path | None:
    files = [path for path in entries(folder) if path.suffix.lower() in (".yaml", ".yml") and path.is_file()]
    files.sort(key=lambda path: path.name.lower() not in _FILES)
    return next((path for path in files if _has_names(path)), None)


def _has_names(path: Path) -> bool:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith(("names:", '"names":', "'names':")) for line in lines)


def _places(folder: Path) -> list[tuple[Path, Path]]:
    """(images, labels) folders: images/ and labels/ of the folder, and of its folders train, valid, test."""
    found = []
    for place in (folder, *named(folder, PARTS)):
        labels, pictures = named(place, ("labels",)), named(place, IMAGE_FOLDERS)
        if labels and pictures:
            found.append((pictures[0], labels[0]))
    return found


def _matches(folder: Path) -> str | None:
    places = _places(folder)
    yaml = _yaml(folder)
    if places and yaml is not None:
        return f"it holds {yaml.name}, {relative(places[0][0], folder)} and {relative(places[0][1], folder)}"
    for pictures, labels in places:
        for picture in below(pictures, Found(folder))[:_LOOKED_AT]:
            label = _label(picture, pictures, labels)
            there = Found(folder).file(label)
            if there and _looks_right(there):
                return f"{relative(label, folder)} holds a class and shares of the image's size"
    return None


def _label(picture: Path, pictures: Path, labels: Path) -> Path:
    return labels / picture.relative_to(pictures).with_suffix(".txt")


def _looks_right(label: Path) -> bool:
    try:
        with label.open(encoding="utf-8-sig") as stream:
            cells = stream.readline(1 << 20).split()
        shares = [float(cell) for cell in cells[1:]]
    except (OSError, ValueError):
        return False
    return len(shares) >= 4 and cells[0].isdigit() and all(-_SLACK <= share <= 1 + _SLACK for share in shares)


class _Reader:
    """One object on its way to samples."""

    def __init__(self, folder: Path, name: str, found: Found) -> None:
        self.folder, self.name, self.found = folder, name, found
        self.said = _describe(folder, found)
        self.missing = self.boxes = 0
        self.corners: Counter[bool] = Counter()  # whether an outline has four corners
        self.normal: Counter[str] = Counter()  # outlines of classes that mean normal

    def read(self) -> None:
        start = len(self.found.samples)
        for pictures, labels in _places(self.folder):
            self._read_place(pictures, labels)
        if self.missing:
            self.found.notes.append(f"{self.name}: {self.missing} images without a label file count as normal")
        report_normal(self.normal, self.folder, self.found)
        samples = self.found.samples[start:]
        types = {sample.type for sample in samples} - {NORMAL}
        if self.boxes and not self.corners:
            what = f"no label is a polygon; {self.boxes} images have boxes alone, and a box is no mask"
            self.found.problem(self.folder, what, "label it with polygons (segmentation)")
        if self.corners[True] > 4 and not self.corners[False]:
            what = "all outlines have four corners, as rotated boxes have"
            self.found.problem(self.folder, what, "look whether they follow the defects: a box is no mask", False)
        if self.said.names is None and types == {"class 0"}:  # one class, and no name for it
            for place, sample in enumerate(samples, start):
                if sample.type != NORMAL:
                    self.found.samples[place] = replace(sample, type=UNNAMED)

    def _read_place(self, pictures: Path, labels: Path) -> None:
        listed = below(pictures, self.found)
        by_label: dict[Path, Path] = {}
        for picture in listed:
            label = _label(picture, pictures, labels)
            first = by_label.setdefault(label, picture)
            if first != picture:
                what = f"it shares {relative(label, self.found.root)} with {first.name}; left out"
                self.found.problem(picture, what, "rename one", False)
        files = {path for path in _text_tree(labels) if path.name.lower() not in _NO_LABELS or path in by_label}
        used: set[Path | None] = set()
        for label, picture in by_label.items():
            part = self._part(picture)
            actual = self.found.file(label)
            used.add(actual)
            if actual is None:
                self.missing += 1
                self.found.add(self.name, NORMAL, part, picture)
            else:
                self._read_image(picture, actual, part)
        report_unused(sorted(files - used), listed, self.found, "label file")

    def _part(self, picture: Path) -> str:
        """By data.yaml, where it names the image or a folder around it; else the nearest folder named after a part."""
        for place in (picture, *picture.parents):
            if place in self.said.parts:
                return self.said.parts[place]
            if place == self.folder:
                break
        around = picture.relative_to(self.folder).parent.parts
        return next((PARTS[word.lower()] for word in reversed(around) if word.lower() in PARTS), "")

    def _read_image(self, picture: Path, label: Path, part: str) -> None:
        text = text_of(label, self.found, unusable=False)
        if text is None:
            self.found.leave_out(picture)
            return
        shapes: dict[str, list] = defaultdict(list)
        for number, line in enumerate(text.splitlines(), 1):
            try:
                if line.strip():
                    type, shape = self._shape(line.split())
                    if no_defect(type):
                        self.normal[type] += 1
                    else:
                        shapes[type].append(shape)
                        self.corners[len(shape[1]) == 8] += 1
            except ValueError as error:
                what = f"line {number}: {refusal(error, label).what}; its image is left out"
                self.found.problem(label, what, "draw it again, as a polygon", False)
                self.found.leave_out(picture)
                return
        for type, outlines in sorted(shapes.items()):
            region = Outlines(label, None, json.dumps(outlines, separators=(",", ":")))
            self.found.add(self.name, type, part, picture, region)
        if not shapes:
            self.found.add(self.name, NORMAL, part, picture)

    def _shape(self, cells: list[str]) -> tuple[str, list]:
        """(type, shape) of a line's cells: the class, then x and y of every corner in shares of width and height."""
        try:
            number, *shares = (float(cell) for cell in cells)
        except ValueError:
            raise Refused("line", f"{' '.join(cells)[:40]!r} is no line of numbers") from None
        if not number.is_integer() or number < 0:
            raise Refused("class", f"the class is {cells[0]!r}", "a whole number from 0 on")
        if len(shares) == 4 or self.said.pose:
            self.boxes += 1
            got = "a box, and a box is no mask" if len(shares) == 4 else "a box with key points, no mask"
            raise Refused("line", got)
        if len(shares) % 2 or len(shares) < 6:
            raise Refused("line", f"{len(shares)} numbers behind the class", "three corners or more, x and y")
        if not all(-_SLACK <= share <= 1 + _SLACK for share in shares):  # NaN fails this too
            wrong = next(share for share in shares if not -_SLACK <= share <= 1 + _SLACK)
            raise Refused("line", f"{wrong:g} is no share of the image's width or height, 0 to 1")
        names = self.said.names
        if names is not None and int(number) not in names:
            raise Refused("class", f"class {int(number)} has no name in data.yaml or classes.txt")
        return names[int(number)] if names is not None else f"class {int(number)}", ["shares", shares]


def _text_tree(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".txt" and path.is_file())


def _describe(folder: Path, found: Found) -> _Description:
    yaml = _yaml(folder)
    if yaml is not None:
        text = text_of(yaml, found)
        try:
            keys = read_keys(text or "", _KEYS)
            names = _names(keys.get("names", ""), text is None)
        except ValueError as error:
            found.problem(yaml, refusal(error, yaml).what, "correct it")
            return _Description()
        return _Description(names, _yaml_parts(keys, folder, found), "kpt_shape" in keys)
    for place in (folder, *named(folder, ("labels",))):
        for file in (place / name for name in _NAMES):
            text = text_of(file, found) if file.is_file() else None
            if text is not None:
                lines = [line.strip() for line in text.splitlines()]
                return _Description({number: line for number, line in enumerate(lines) if line})
    return _Description()


def _names(value: Value, unread: bool) -> dict[int, str] | None:
    if unread:
        return None
    if isinstance(value, list):
        value = {str(number): name for number, name in enumerate(value)}
    if not isinstance(value, dict) or not all(key.isascii() and key.isdigit() for key in value):
        accepted = "a list of names, or a mapping from class number to name"
        raise Refused("names", f"names is {value!r:.60}", accepted)
    return {int(key): name.strip() or f"class {key}" for key, name in value.items()}


def _yaml_parts(keys: dict[str, Value], folder: Path, found: Found) -> dict[Path, str]:
    """{folder or image: its part}; what several keys name, such as a stand-in for val, has none."""
    keys_of: dict[Path, set[str]] = defaultdict(set)
    for key in ("train", "val", "valid", "test"):
        value = keys.get(key, "")
        for text in value if isinstance(value, list) else [value] if isinstance(value, str) else []:
            for path in _named_places(text, folder, found):
                keys_of[path].add(key)
    return {path: PARTS[min(names)] for path, names in keys_of.items() if len(names) == 1}


def _named_places(text: str, folder: Path, found: Found) -> Iterator[Path]:
    """The folder that data.yaml names, or the images of the list that it names."""
    path = _inside(text, folder, found)
    if path is None:
        return
    if path.is_dir():
        yield path
    elif path.suffix.lower() == ".txt":
        lines = (text_of(path, found) or "").splitlines()
        yield from filter(None, (_inside(line, folder, found) for line in lines if line.strip()))


def _inside(text: str, folder: Path, found: Found) -> Path | None:
    """The longest end of a path that exists in the folder: data.yaml's are often of another machine or another base."""
    words = [word for word in same(text).strip().replace("\\", "/").split("/") if word not in ("", ".", "..")]
    for start in range(len(words)):
        path = named_path("/".join(words[start:]), folder, found.root)
        if path is not None and path.exists():
            return path
    return None


def _read(folder: Path, name: str, found: Found) -> None:
    _Reader(folder, name, found).read()


YOLO = Layout(
    "yolo",
    "YOLO segmentation",
    "<object>/images/train/0001.jpg  (or train/images/0001.jpg)\n<object>/labels/train/0001.txt  (class and polygon)\n"
    "<object>/data.yaml  (names), or classes.txt",
    "<object>/labels/<stem>.txt",
    _matches,
    _read,
    under=("mvtec", "loco", "btad", "visa", "coco", "labelme", "stems", "index", "folder", "voc", "roboflow"),
)
