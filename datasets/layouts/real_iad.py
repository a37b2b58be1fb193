"""Real-IAD: a JSON file for each object lists the images of train and test, with mask and defect type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import Refused
from ..regions import MaskFiles
from ..sample import NORMAL, refusal
from .files import entries, folders, named_path
from .found import Found, Layout, relative
from .normal_words import means_normal

_PARTS = ("train", "test")
_ENTRY = ("image_path", "anomaly_class")
_LISTS = ("realiad_jsons", "jsons")  # folders of lists, the standard one first; others hold other splits
_SIZE = re.compile(r"realiad_(\d+)", re.IGNORECASE)
_LOOKED_AT = 1 << 16  # bytes of a file that show what it is


def _is_list(path: Path) -> bool:
    """By its first bytes: whole files are large."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_LOOKED_AT)
    except OSError:
        return False
    return b'"image_path"' in head and b'"anomaly_class"' in head and (b'"train"' in head or b'"test"' in head)


def _in(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.suffix.lower() == ".json" and path.is_file()]


def _list_folders(folder: Path) -> Iterator[Path]:
    """Folders that hold lists: the folder itself, realiad_jsons, realiad_jsons/realiad_jsons, then other splits."""
    places = [folder, *(path for path in folders(folder) if "json" in path.name.lower())]
    places += [sub for place in places[1:] for sub in folders(place)]
    order = {name: number for number, name in enumerate(_LISTS)}
    ranked = sorted(places[1:], key=lambda path: (order.get(path.name.lower(), len(order)), len(path.parts), path))
    for place in [folder, *ranked]:
        if any(_is_list(path) for path in _in(place)):
            yield place


def _matches(folder: Path) -> str | None:
    place = next(_list_folders(folder), None)
    first = next(path for path in _in(place) if _is_list(path)) if place else None
    return first and f"{relative(first, folder)} lists image_path and anomaly_class"


def _read(folder: Path, name: str, found: Found) -> None:
    place, *others = _list_folders(folder)
    for other in others:
        found.problem(other, f"another split than {place.name}/; left out", "give it alone to read that split", False)
    sizes = [path for path in folders(folder) if _SIZE.fullmatch(path.name)]
    sizes.sort(key=lambda path: -int(_SIZE.fullmatch(path.name)[1][:9]))
    found.leave_out(*sizes[1:])
    for smaller in sizes[1:]:
        what = f"the same images as {sizes[0].name}, smaller; left out"
        found.problem(smaller, what, "give it without the larger to read it", False)
    bases = [*sizes[:1], folder, *(path for path in folders(folder) if path not in sizes)]
    for path in _in(place):
        content = _content(path, found)
        if content is not None:
            _read_object(path, content, folder, bases, found)


def _content(path: Path, found: Found) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        found.problem(path, f"no readable JSON ({error}; {path.stat().st_size} bytes)", "restore it")
        return None
    if isinstance(content, dict) and any(isinstance(content.get(part), list) for part in _PARTS):
        return content
    if _is_list(path):
        found.problem(path, "it has no lists 'train' and 'test'", "restore it")
    return None  # of something else


def _read_object(path: Path, content: dict, folder: Path, bases: list[Path], found: Found) -> None:
    meta = content.get("meta") if isinstance(content.get("meta"), dict) else {}
    normal = meta.get("normal_class") if isinstance(meta.get("normal_class"), str) else "OK"
    prefix = meta.get("prefix") if isinstance(meta.get("prefix"), str) else ""
    base = None
    seen: dict[Path, str] = {}  # where an image is listed first
    for part in _PARTS:
        listed = content.get(part, [])
        if not isinstance(listed, list):
            found.problem(path, f"{part!r} is no list", "restore it")
            continue
        for number, entry in enumerate(listed):
            where = f"{part}[{number}]"
            try:
                image, mask, type, object = _entry(entry, normal, path.stem)
                base = base or _base(image, [prefix, f"{object}/", ""], bases, found.root)
                picture = named_path(image, base, found.root) if base else None
                if picture is None or not picture.is_file():
                    raise Refused("image", f"the image {image!r} is not there")
                truth = named_path(mask, base, found.root) if mask else None
                if mask and (truth is None or not truth.is_file()):
                    raise Refused("mask", f"the mask {mask!r} is not there")
            except ValueError as error:
                found.problem(
                    path, f"{where}: {refusal(error, path).what}; left out", "add the file, or correct the entry", False
                )
                continue
            if seen.setdefault(picture, where) != where:
                found.problem(path, f"{where}: the image {image!r} is {seen[picture]} too", "list it once")
                continue
            found.add(object, type, part, picture, MaskFiles((truth,)) if truth and type != NORMAL else None)


def _entry(entry: Any, normal: str, name: str) -> tuple[str, str | None, str, str]:
    """(image, mask or None, type, object) of an entry."""
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) and entry[key] for key in _ENTRY):
        raise Refused("entry", f"it is no object with {' and '.join(_ENTRY)}")
    mask, object = entry.get("mask_path"), entry.get("category")
    if mask is not None and not isinstance(mask, str):
        raise Refused("mask_path", f"mask_path is {mask!r:.40}", "a path or null")
    type = entry["anomaly_class"]
    type = NORMAL if type == normal or means_normal(type) else type
    return entry["image_path"], mask or None, type, object if isinstance(object, str) and object else name


def _base(image: str, prefixes: list[str], bases: list[Path], root: Path) -> Path | None:
    """The folder that an object's paths start from: where the first image is found."""
    for base in bases:
        for prefix in prefixes:
            start = named_path(prefix, base, root) if prefix else base
            path = named_path(image, start, root) if start else None
            if path is not None and path.is_file():
                return start
    return None


REAL_IAD = Layout(
    "real_iad",
    "Real-IAD",
    "realiad_jsons/<object>.json  (train and test: image_path, mask_path, anomaly_class)\n"
    "realiad_1024/<object>/OK/S0001/0001.jpg\nrealiad_1024/<object>/NG/<type>/S0001/0001.jpg and 0001.png",
    "the entry's mask_path",
    _matches,
    _read,
    under=("coco", "labelme"),
)
