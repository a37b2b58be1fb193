"""YOLO segmentation: images/, labels/ with a line for every piece of every mask, and data.yaml."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...images.components import pieces
from ...images.rings import outline
from .folder import Folder
from .source import Pair

# px. Readers cut coordinates down to whole pixels and fill the edge, too: exact with corners inside their own pixels.
_INSET = 0.01
_DATA = """\
train: images
val: images  # a stand-in, since readers want one: name real images that were held back
names:
"""


class Yolo:
    """Writes an image and its labels at a time; normal images have an empty file of labels."""

    options: dict[str, tuple[str, ...]] = {}

    def __init__(self, folder: Folder, classes: Mapping[tuple[str, str], str], stack: contextlib.ExitStack) -> None:
        self._folder, self._classes = folder, classes
        self._number = {kind: number for number, kind in enumerate(classes)}

    def pair(self, pair: Pair, mask: np.ndarray) -> dict[str, Any]:
        """Add a pair; what its line of the manifest says of it."""
        lines = [_line(self._number[pair.kind], region, corner, mask.shape) for region, corner in pieces(mask)]
        labels = self._folder.write(f"labels/{pair.stem}.txt", "".join(lines).encode())
        return {"image": self._image(pair.path("image"), pair.stem, ours=True), "mask": labels}

    def normal(self, path: Path, stem: str, size: tuple[int, int]) -> str:
        """Add a normal image; its path in the export."""
        self._folder.write(f"labels/{stem}.txt", b"")
        return self._image(path, stem)

    def finish(self) -> None:
        """Write data.yaml."""
        names = [
            f"  {number}: {json.dumps(name, ensure_ascii=False)}\n"
            for number, name in enumerate(self._classes.values())
        ]
        self._folder.write("data.yaml", (_DATA + "".join(names)).encode())

    def _image(self, path: Path, stem: str, ours: bool = False) -> str:
        return self._folder.place(path, f"images/{stem}{path.suffix}", ours)


def _line(number: int, region: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> str:
    """Class, then x and y of every corner in shares of width and height."""
    points = outline(region, _INSET)
    shares = [f"{(x + corner[1]) / size[1]:.7f} {(y + corner[0]) / size[0]:.7f}" for x, y in points]
    return " ".join([str(number), *shares]) + "\n"
