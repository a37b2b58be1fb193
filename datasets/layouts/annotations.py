"""JSON files of annotation tools: which are there, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .files import IMAGE_FOLDERS, PARTS, entries, named
from .found import Found

_FOLDERS = ("annotations", "annotation", "ann", "labels", "json", "jsons", *IMAGE_FOLDERS, *PARTS)
_LOOKED_AT = 20  # files until one tells whose they are


def json_files(folder: Path) -> list[Path]:
    """In the folder itself, and in the folders in it that usually hold images or annotations."""
    places = [folder, *named(folder, _FOLDERS)]
    return [path for place in places for path in entries(place) if path.suffix.lower() == ".json" and path.is_file()]


def first_file(folder: Path, keys: Iterable[str]) -> Path | None:
    """The first JSON file with an object of these keys, among the first few."""
    for path in json_files(folder)[:_LOOKED_AT]:
        content = _parsed(path)
        if isinstance(content, dict) and set(keys) <= set(content):
            return path
    return None


def contents(folder: Path, keys: Iterable[str], found: Found) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every JSON file with an object of these keys, read one at a time; damaged ones are told to `found`."""
    for path in json_files(folder):
        content = _parsed(path)
        if isinstance(content, dict) and set(keys) <= set(content):
            yield path, content
        elif isinstance(content, ValueError):
            found.problem(path, f"no readable JSON ({content}; {path.stat().st_size} bytes)", "export it again")


def damaged_json(folder: Path) -> Path | None:
    """A JSON file among the first few that cannot be read."""
    return next((p for p in json_files(folder)[:_LOOKED_AT] if isinstance(_parsed(p), ValueError)), None)


def _parsed(path: Path) -> Any:
    """The content, or the ValueError that tells why there is none."""
    try:
        return json.loads(path.read_bytes())
    except RecursionError:
        return ValueError("nested too deep")
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are such
        return error
