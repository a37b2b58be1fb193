"""VisA: a CSV file that lists images and masks, or one object's folder as it is downloaded.

An object's image_anno.csv names the defect types of its images, in place of "anomaly".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...images.mask_files import read_labels
from ..regions import MaskFiles
from ..sample import NORMAL, Sample
from .files import PARTS, below, named_path
from .found import Found, Layout
from .mask_names import joined
from .normal_words import means_normal
from .tables import table_rows

_COLUMNS = ("object", "split", "label", "image", "mask")
_TYPES, _NAMELESS = "image_anno.csv", "anomaly"


def _table(folder: Path) -> Path | None:
    """1cls.csv (normal images train, defects test) where it is there, else the first of split_csv."""
    tables = sorted((folder / "split_csv").glob("*.csv"))
    return next((path for path in tables if path.name == "1cls.csv"), tables[0] if tables else None)


def _matches(folder: Path) -> str | None:
    table = _table(folder)
    if table:
        return f"it holds split_csv/{table.name}"
    return "it holds Data/Images/Anomaly" if (folder / "Data" / "Images" / "Anomaly").is_dir() else None


def _read(folder: Path, name: str, found: Found) -> None:
    table = _table(folder)
    start = len(found.samples)
    if table:
        _read_table(table, folder, found)
        objects = sorted({sample.object for sample in found.samples[start:]})
        _name_types([folder / object for object in objects], start, found)
    else:
        _read_folder(folder / "Data", name, found)
        _name_types([folder], start, found)


def _read_table(table: Path, folder: Path, found: Found) -> None:
    seen: set[Path] = set()
    for line, row in table_rows(table, _COLUMNS, found):
        _read_row(row, line, table, folder, found, seen)


def _read_row(row: dict[str, str], line: str, table: Path, folder: Path, found: Found, seen: set[Path]) -> None:
    object, split, label = (row[column] for column in _COLUMNS[:3])
    image = named_path(row["image"], folder, found.root)
    there = image and found.file(image)
    if not there:
        _bad_path(found, table, line, "image", row["image"], image)
        return
    if not object or not label:
        found.problem(table, f"{line} names no object or no label", "fill it in")
        return
    if there in seen:
        found.problem(table, f"{line}: {row['image']} is listed twice", "keep one line", False)
        return
    seen.add(there)
    type, mask = NORMAL if means_normal(label) else label, None
    if type != NORMAL and row["mask"]:
        path = named_path(row["mask"], folder, found.root)
        mask = path and found.file(path)
        if not mask:
            _bad_path(found, table, line, "mask", row["mask"], path)
            return
    found.add(object, type, PARTS.get(split.lower(), ""), there, mask and MaskFiles((mask,)))


def _bad_path(found: Found, table: Path, line: str, what: str, text: str | None, path: Path | None) -> None:
    why = "is not there" if path else "is no path inside the dataset"
    found.problem(table, f"{line}: the {what} {text!r} {why}", "correct the line, or add the file")


def _read_folder(data: Path, name: str, found: Found) -> None:
    for path in below(data / "Images" / "Normal", found):
        found.add(name, NORMAL, "", path)
    listed, truth = data / "Images" / "Anomaly", data / "Masks" / "Anomaly"
    images, masks = (_by_place(place, found) for place in (listed, truth))
    for place in sorted(images.keys() | masks.keys()):
        for path, files in joined(images.get(place, []), masks.get(place, []), found):
            found.add(name, _NAMELESS, "", path, MaskFiles(files) if files else None)


def _by_place(folder: Path, found: Found) -> dict[Path, list[Path]]:
    places: dict[Path, list[Path]] = defaultdict(list)
    for path in below(folder, found):
        places[path.parent.relative_to(folder)].append(path)
    return places


class _Meanings:
    """What the values of an object's masks mean, from its images of one type alone; read when they are needed."""

    def __init__(self, types_of: dict[Sample, list[str]]) -> None:
        self._single: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample, types in types_of.items():
            if len(types) == 1 and sample.mask is not None:
                self._single[sample.object, types[0]].append(sample)
        self._value: dict[tuple[str, str], int | None] = {}

    def value(self, object: str, type: str) -> int | None:
        """The one value of the type's masks; None where they have several, or there is no such image."""
        key = object, type
        if key not in self._value:
            values = {value for sample in self._single[key] for value in _values(sample)}
            self._value[key] = values.pop() if len(values) == 1 else None
        return self._value[key]

    def regions(self, sample: Sample, types: list[str]) -> dict[str, MaskFiles]:
        """{type: its region} where the mask's values part the types, else nothing."""
        by_type = {type: self.value(sample.object, type) for type in types}
        if None in by_type.values() or set(by_type.values()) != _values(sample) or len(_values(sample)) != len(types):
            return {}
        return {type: MaskFiles(sample.mask.files, value) for type, value in by_type.items()}


def _values(sample: Sample) -> set[int]:
    try:
        return {int(value) for value in np.unique(read_labels(sample.mask.files[0]))} - {0}
    except (ValueError, OSError):
        return set()  # reading the sample reports why


def _listed_types(folder: Path, found: Found) -> dict[Path, list[str]]:
    """{image: its types} of an object's image_anno.csv, of the images that are not normal."""
    table, listed = folder / _TYPES, {}
    for line, row in table_rows(table, ("image", "label"), found) if table.is_file() else ():
        # The path begins with the object's folder, which may have another name here.
        text = row["image"].replace("\\", "/")
        path = named_path(text if text.startswith("Data/") else text.partition("/")[2], folder, found.root)
        types = list(dict.fromkeys(word.strip() for word in row["label"].split(",") if word.strip()))
        if path is None or not types:
            found.problem(table, f"{line} names no image or no label", "fill it in", False)
        elif not all(map(means_normal, types)):
            listed[found.file(path) or path] = types
    return listed


def _name_types(folders: Iterable[Path], start: int, found: Found) -> None:
    """Give the samples from `start` on the types of their objects' image_anno.csv, where there is one."""
    listed: dict[Path, list[str]] = {}
    for folder in folders:
        listed |= _listed_types(folder, found)
    if not listed:
        return
    nameless = [sample for sample in found.samples[start:] if sample.type == _NAMELESS]
    types_of = {sample: listed[sample.image] for sample in nameless if sample.image in listed}
    meanings, together = _Meanings(types_of), 0
    for place, sample in enumerate(found.samples[start:], start):
        types = types_of.get(sample, [])
        regions = meanings.regions(sample, types) if len(types) > 1 and sample.mask is not None else {}
        if regions:
            first, *others = (replace(sample, type=type, mask=region) for type, region in regions.items())
            found.samples[place] = first
            found.samples += others
        elif types:
            found.samples[place] = replace(sample, type=" + ".join(types))
            together += len(types) > 1
    if together:
        found.notes.append(f"{together} images show several types that their masks do not separate; type: 'a + b'")
    if len(nameless) > len(types_of):
        found.notes.append(f"{len(nameless) - len(types_of)} defect images are not in {_TYPES}; type: {_NAMELESS!r}")


VISA = Layout(
    "visa",
    "VisA",
    "split_csv/1cls.csv  (object,split,label,image,mask)\n<object>/Data/Images/Normal/0000.JPG\n"
    "<object>/Data/Images/Anomaly/000.JPG\n<object>/Data/Masks/Anomaly/000.png\n"
    "<object>/image_anno.csv  (image,label,mask)",
    "<object>/Data/Masks/Anomaly/<stem>.png",
    _matches,
    _read,
)
