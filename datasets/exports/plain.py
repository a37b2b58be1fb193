"""Plain pairs: images/ and masks/ with files of one name, normals/ beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .folder import Folder
from .source import Pair


class Plain:
    """Places images and masks as they are."""

    options: dict[str, tuple[str, ...]] = {}

    def __init__(self, folder: Folder, classes: Mapping[tuple[str, str], str], stack: contextlib.ExitStack) -> None:
        self._folder = folder

    def pair(self, pair: Pair, mask: np.ndarray) -> dict[str, Any]:
        """Add a pair; what its line of the manifest says of it."""
        placed = {"image": pair.path("image"), "mask": pair.path(pair.label)}
        return {
            key: self._folder.place(path, f"{key}s/{pair.stem}{path.suffix}", ours=True) for key, path in placed.items()
        }

    def normal(self, path: Path, stem: str, size: tuple[int, int]) -> str:
        """Add a normal image; its path in the export."""
        return self._folder.place(path, f"normals/{stem}{path.suffix}")

    def finish(self) -> None:
        """Nothing is left to write."""
