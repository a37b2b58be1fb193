"""COCO: images/, and one annotations/instances.json with an annotation for every piece of every mask."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...choices import SEGMENTATIONS
from ...files.durable import open_atomic, open_fresh, remove_quietly
from ...images.components import pieces
from ...images.rings import outline
from ...images.run_lengths import compressed, run_lengths
from .folder import Folder
from .source import Pair

_FILE = "annotations/instances.json"
_INFO = {"description": "Synthetic defects, exported by anomaly-synthesis"}


class Coco:
    """Streams the file: images as they come, annotations through a second file that is put behind them at the end.

    segmentation: "rle" (compressed run lengths) or "polygon" (one along the pixels' edges, a hole joined by a cut of no
    width); either is the mask, pixel by pixel.
    """

    options = {"segmentation": SEGMENTATIONS}

    def __init__(
        self,
        folder: Folder,
        classes: Mapping[tuple[str, str], str],
        stack: contextlib.ExitStack,
        segmentation: str = "rle",
    ) -> None:
        self._folder = folder
        self._segment = _polygon if segmentation == "polygon" else _run_lengths
        self._category = {kind: number for number, kind in enumerate(classes, 1)}
        path = folder.path(_FILE)
        self._file = stack.enter_context(open_atomic(path))
        self._annotations = stack.enter_context(_scratch(path.with_name(".annotations.tmp")))
        self._images_written = self._annotations_written = 0
        categories = [
            {"id": self._category[kind], "name": name, "supercategory": kind[0]} for kind, name in classes.items()
        ]
        head = json.dumps({"info": _INFO, "licenses": [], "categories": categories}, ensure_ascii=False)
        self._file.write(f'{head[:-1]}, "images": ['.encode())

    def pair(self, pair: Pair, mask: np.ndarray) -> dict[str, Any]:
        """Add a pair; what its line of the manifest says of it."""
        image = self._image(pair.path("image"), pair.stem, mask.shape, ours=True)
        for region, (top, left) in pieces(mask):
            self._annotations_written += 1
            height, width = region.shape
            _append(
                self._annotations,
                self._annotations_written,
                {
                    "id": self._annotations_written,
                    "image_id": self._images_written,
                    "category_id": self._category[pair.kind],
                    "segmentation": self._segment(region, (top, left), mask.shape),
                    "area": int(region.sum()),
                    "bbox": [left, top, width, height],
                    "iscrowd": 0,
                },
            )
        return {"image": image, "mask": _FILE, "image_id": self._images_written}

    def normal(self, path: Path, stem: str, size: tuple[int, int]) -> str:
        """Add a normal image, of `size` (height, width); its path in the export."""
        return self._image(path, stem, size)

    def finish(self) -> None:
        """Put the annotations behind the images."""
        self._file.write(b'\n], "annotations": [')
        self._annotations.seek(0)
        shutil.copyfileobj(self._annotations, self._file)
        self._file.write(b"\n]}\n")

    def _image(self, path: Path, stem: str, size: tuple[int, int], ours: bool = False) -> str:
        name = f"{stem}{path.suffix}"
        placed = self._folder.place(path, f"images/{name}", ours)
        self._images_written += 1
        entry = {"id": self._images_written, "file_name": name, "height": size[0], "width": size[1]}
        _append(self._file, self._images_written, entry)
        return placed


def _run_lengths(region: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    return {"size": list(size), "counts": compressed(run_lengths(region, corner, size))}


def _polygon(region: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> list[list[float]]:
    return [[value for x, y in outline(region) for value in (x + corner[1], y + corner[0])]]


def _append(file: BinaryIO, number: int, entry: dict[str, Any]) -> None:
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False)
    file.write(f"{',' * (number > 1)}\n{text}".encode())


@contextlib.contextmanager
def _scratch(path: Path) -> Iterator[BinaryIO]:
    """A file to write and read again, gone at the end."""
    try:
        with open_fresh(path) as file:
            yield file
    finally:
        remove_quietly(path)
