"""Severstal steel: train.csv with run lengths of every image and class, images in train_images/."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from ...errors import Refused
from ..regions import Outlines
from ..sample import NORMAL, refusal
from .files import entries, images
from .found import Found, Layout
from .tables import table_rows

_SIZE = (256, 1600)  # of every image
_TABLE, _IMAGES, _TEST = "train.csv", "train_images", "test_images"
_PIXELS, _JOINED, _IMAGE, _CLASS = "EncodedPixels", "ImageId_ClassId", "ImageId", "ClassId"


def _head(folder: Path) -> str:
    try:
        with (folder / _TABLE).open(encoding="utf-8-sig", errors="replace") as stream:
            return stream.readline(200)
    except OSError:
        return ""


def _matches(folder: Path) -> str | None:
    head = _head(folder)
    return f"{_TABLE} has the column {_PIXELS}" if _PIXELS in head and _IMAGE in head else None


def _read(folder: Path, name: str, found: Found) -> None:
    pictures = {path.name: path for path in images(folder / _IMAGES, found)}
    table = folder / _TABLE
    if not pictures:
        found.problem(folder / _IMAGES, "no images", f"unpack {_IMAGES}/ there")
    joined = _JOINED in _head(folder)
    shapes: dict[str, dict[str, list]] = defaultdict(dict)
    bad: set[str] = set()
    columns = (_JOINED, _PIXELS) if joined else (_IMAGE, _CLASS, _PIXELS)
    for line, row in table_rows(table, columns, found):
        image, _, kind = row[_JOINED].rpartition("_") if joined else (row[_IMAGE], "", row[_CLASS])
        try:
            if image not in pictures:
                raise Refused("image", f"the image {image!r} is not in {_IMAGES}")
            if not kind.isdigit():
                raise Refused("class", f"the class {kind!r} is no number")
            if row[_PIXELS] and row[_PIXELS].lower() not in ("-1", "nan"):
                if f"class {int(kind)}" in shapes[image]:
                    raise Refused("class", f"class {kind} of {image} stands in two lines")
                shapes[image][f"class {int(kind)}"] = ["rle", list(_SIZE), _runs(row[_PIXELS])]
        except ValueError as error:
            bad.add(image)
            found.problem(
                table, f"{line}: {refusal(error, table).what}; the image is left out", "correct the line", False
            )
    for image, path in pictures.items():
        if image in bad:
            found.leave_out(path)
            continue
        for type, shape in sorted(shapes[image].items()):
            found.add(name, type, "", path, Outlines(table, _SIZE, json.dumps([shape], separators=(",", ":"))))
        if not shapes[image]:
            found.add(name, NORMAL, "", path)
    found.leave_out(folder / _TEST)
    unused = [path for path in entries(folder / _TEST) if path.is_file()]
    if unused:
        found.problem(folder / _TEST, f"{len(unused)} images without published masks; left out", "nothing", False)


def _runs(text: str) -> list[int]:
    """Lengths of what is not and what is the region in turn, from pairs of start (from 1 on) and length."""
    cells = text.split()
    if len(cells) % 2 or not all(cell.isascii() and cell.isdigit() for cell in cells):
        raise Refused(_PIXELS, f"{_PIXELS} is {text[:40]!r}", "pairs of start and length")
    numbers = [int(cell[:12]) for cell in cells]
    runs, end, pixels = [], 0, _SIZE[0] * _SIZE[1]
    for start, length in sorted(zip(numbers[::2], numbers[1::2], strict=True)):
        if start <= end or length < 1 or start - 1 + length > pixels:
            got = f"the run of {length} pixels from {start} on overlaps another, is empty or leaves the {pixels} pixels"
            raise Refused(_PIXELS, f"{got} of a {_SIZE[0]} x {_SIZE[1]} image")
        runs += [start - 1 - end, length]
        end = start - 1 + length
    return [*runs, pixels - end] if end < pixels else runs


SEVERSTAL = Layout(
    "severstal",
    "Severstal",
    "<object>/train.csv  (ImageId,ClassId,EncodedPixels)\n<object>/train_images/0002cc93b.jpg",
    "a line of train.csv",
    _matches,
    _read,
)
