"""JSON files of annotation tools: which are there, whose they are, and the numbers and labels in them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..sample import NORMAL
from .files import IMAGE_FOLDERS, PARTS, entries, folders, named, normal_folders, same
from .found import Found

_FOLDERS = ("annotations", "annotation", "ann", "labels", "json", "jsons", *IMAGE_FOLDERS, *PARTS)
_LOOKED_AT = 20  # files until one shows whose they are
_ABSENT = ("", "nan", "none", "null")  # as tools write that there is no id
Bad = tuple[Path, str]  # a file, and which shape in it cannot be used


def json_files(folder: Path) -> list[Path]:
    """In the folder itself, in the folders in it that usually hold images or annotations, and in `type_folders`."""
    places = [folder, *named(folder, _FOLDERS), *type_folders(folder)]
    return [path for place in places for path in _json(place)]


def type_folders(folder: Path) -> list[Path]:
    """The folders with JSON files beside one of normal images: they are named after defects, or normal too."""
    if not normal_folders(folder):
        return []
    return [place for place in folders(folder) if place.name.lower() not in _FOLDERS and _json(place)]


def _json(place: Path) -> list[Path]:
    return [path for path in entries(place) if path.suffix.lower() == ".json" and path.is_file()]


def first_file(folder: Path, keys: Iterable[str]) -> Path | None:
    """The first JSON file with an object of these keys, among the first few."""
    for path in json_files(folder)[:_LOOKED_AT]:
        content = _parsed(path)
        if isinstance(content, dict) and set(keys) <= set(content):
            return path
    return None


def contents(folder: Path, keys: Iterable[str], found: Found) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every JSON file with an object of these keys, read one at a time; damaged ones are reported to `found`."""
    for path in json_files(folder):
        content = _parsed(path)
        if isinstance(content, dict) and set(keys) <= set(content):
            yield path, content
        elif isinstance(content, ValueError):
            found.problem(path, f"no readable JSON ({content}; {path.stat().st_size} bytes)", "export it again")


def damaged_json(folder: Path) -> Path | None:
    """A JSON file among the first few that cannot be read."""
    return next((p for p in json_files(folder)[:_LOOKED_AT] if isinstance(_parsed(p), ValueError)), None)


def identity(value: Any) -> int | str | None:
    """An id so that it compares, however a tool wrote it: 3, 3.0, "3" and "3.0" are one; None where it is none (null,
    NaN, true, a fraction, a list, an empty text)."""
    if isinstance(value, str):
        text = same(value).strip()
        number = re.fullmatch(r"([+-]?[0-9]{1,300})(\.0*)?", text)
        return int(number[1]) if number else None if text.lower() in _ABSENT else text
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """(height, width) where both are positive whole numbers, as numbers or text."""
    size = (identity(height), identity(width))
    return size if all(isinstance(number, int) and number > 0 for number in size) else None


def numbers(values: Any) -> Any:
    """A list with its numbers that are text as numbers; anything else as it is."""
    return [_number(value) for value in values] if isinstance(values, list) else values


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def report_shapes(bad: Iterable[Bad], found: Found, start: int) -> None:
    """Each bad shape leaves its image out; the folder is refused for them where they leave no defect since `start`."""
    nothing_left = all(sample.type == NORMAL for sample in found.samples[start:])
    for file, what in bad:
        text = what if nothing_left else f"{what}; its image is left out"
        found.problem(file, text, "draw it again, as a polygon", nothing_left)


def report_normal(labels: Counter[str], file: Path, found: Found) -> None:
    """How many regions of labels that mean normal were passed over."""
    for label, count in sorted(labels.items()):
        what = f"{count} annotation{'s are' if count > 1 else ' is'} of {label!r}, which is no defect; left out"
        found.problem(file, what, "if it is meant as a defect, give it another name", False)


def _parsed(path: Path) -> Any:
    """The content, or the ValueError that says why there is none."""
    try:
        return json.loads(path.read_bytes())
    except RecursionError:
        return ValueError("nested too deep")
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are such
        return error
