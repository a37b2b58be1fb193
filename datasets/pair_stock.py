"""What a folder of pairs holds when a run goes on with it: the pairs that are whole, and those that are lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files.json_lines import IndexedLines
from ..files.relative_path import below
from .normal_images import NormalImages, image_size


@dataclass
class Stock:
    """end: index after the last pair; lost: index -> its line, where there was one, of every pair before the end that
    has to be made again, in order; images: of the whole pairs; normals: lost normal images, each with the index of a
    whole pair that needs it."""

    end: int = 0
    lost: dict[int, Mapping[str, Any] | None] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    normals: dict[str, int] = field(default_factory=dict)


def take_stock(root: Path, pairs: IndexedLines, dropped: IndexedLines, normals: NormalImages) -> Stock:
    """Look at every pair; lines of pairs that are lost are taken out of the files. Raises OSError.

    A pair is lost where its line is cut, garbled, gone or repeated, or where its image or a mask does not open or they
    differ in size. One that lacks its normal image alone is whole.
    """
    stock, broken, whole = Stock(), {}, {}

    def accept(line: dict[str, Any]) -> bool:
        if not _is_whole(root, line) or line["image"] in stock.images:
            broken.setdefault(line["index"], line)
            return False
        stock.images.add(line["image"])
        name = line["normal"]
        if name not in whole:
            whole[name] = normals.is_whole(name)
            if not whole[name]:
                stock.normals[name] = line["index"]
        return True

    written = set(pairs.take(accept))
    known = written | set(dropped.take(lambda line: line["index"] not in written))
    stock.end = max(known, default=-1) + 1
    stock.lost = {index: broken.get(index) for index in range(stock.end) if index not in known}
    return stock


def _is_whole(root: Path, line: Mapping[str, Any]) -> bool:
    try:
        names = [line.get("image"), line.get("mask"), line.get("refined_mask")]
        sizes = [image_size(below(root, name, "")) for name in names[: 2 if names[2] is None else 3]]
        below(root, line.get("normal"), "")
    except ValueError:
        return False
    return sizes[0] is not None and len(set(sizes)) == 1
