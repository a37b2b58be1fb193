"""The pairs of a folder that are exported: chosen by their manifest's lines, then read one at a time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import Refused
from ...files.relative_path import below
from ...images.decoding import shown_size
from ...images.mask_files import read_mask
from ...images.pictures import Picture, read_picture
from ..pair_identity import change, identity
from ..pairs import MANIFEST, check_names, manifest_lines
from ..settings import ExportSettings

_KEYS = {"index": int, "image": str, "mask": str, "normal": str, "object": str, "type": str}


@dataclass(frozen=True)
class Pair:
    """A line of the manifest, the folder that its paths open from, and where the line is, for errors.

    labels: of `choices.LABELS`, which mask is exported.
    """

    line: dict[str, Any]
    root: Path
    where: str
    labels: str = ExportSettings.labels

    @property
    def kind(self) -> tuple[str, str]:
        """Object and type."""
        return self.line["object"], self.line["type"]

    @property
    def stem(self) -> str:
        """A name that no other pair of the folder has, in the manifest's order."""
        return f"{self.line['index']:06d}_{self.line['object']}_{self.line['type']}"

    @property
    def normal_stem(self) -> str:
        """A name for its normal image; no type is called good."""
        return f"{self.line['index']:06d}_{self.line['object']}_good"

    @property
    def label(self) -> str:
        """The key of the mask that is exported: "mask", or "refined_mask" where that is wanted and there is one."""
        return "refined_mask" if self.labels == "refined" and self.line.get("refined_mask") is not None else "mask"

    def path(self, key: str) -> Path:
        """The file of "image", "mask", "refined_mask" or "normal", links resolved. Raises Refused for one that is not
        below root."""
        return below(self.root, self.line[key], f"{self.where}: {key}")

    def check_paths(self) -> None:
        """Raise Refused, which names the line, for a file that is not below root."""
        for key in ("image", "mask", "normal", self.label):
            self.path(key)

    def read(self, read_normal: Callable[[Path], Picture] = read_picture) -> Content:
        """The pair's content. Raises Refused or OSError where image, masks or normal are not whole or of one size."""
        image = self.path("image")
        picture = read_picture(image)
        values = self._mask("mask", picture)
        label = values if self.label == "mask" else self._mask(self.label, picture)
        normal = read_normal(self.path("normal"))
        if normal.size != picture.size:
            sizes = [" x ".join(map(str, one.size)) for one in (picture, normal)]
            raise Refused(image, f"it is {sizes[0]}, its normal image {sizes[1]} (height x width)")
        return Content(label, change(picture, normal, values).blank, identity(picture, normal, values, *self.kind))

    def _mask(self, key: str, picture: Picture) -> np.ndarray:
        path = self.path(key)
        values = read_mask(path, picture.size, of=self.path("image")).numpy()
        if not values.any():
            raise Refused(path, "the mask is empty")
        return values


@dataclass(frozen=True)
class Content:
    """What a pair's files hold: the mask that is exported, bool [H, W]; blank and identity, of the requested mask: see
    `datasets.pair_identity`."""

    mask: np.ndarray
    blank: bool
    identity: str


def whole_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file as it is shown, turned by EXIF. Raises Refused where it is damaged, OSError
    where it cannot be opened."""
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as image:
            size = shown_size(image, data)
            image.verify()
            return size
    except Exception as error:  # Pillow raises many kinds
        raise Refused(path, f"not a readable image ({error}); it is damaged or cut short") from error


def chosen(root: str | Path, visible_only: bool = False, labels: str = ExportSettings.labels) -> Iterator[Pair]:
    """The pairs of a folder in order; with `visible_only` only those that are known to be visible. labels: see `Pair`.

    Raises Refused if there is no manifest, or a line of it is none of a pair.
    """
    last = -1
    for number, line in enumerate(manifest_lines(root), 1):
        where = f"{Path(root) / MANIFEST}, line {number}"
        wrong = [key for key, kind in _KEYS.items() if type(line.get(key)) is not kind]
        if wrong or not last < line["index"] < 2**63:
            key = wrong[0] if wrong else "index"
            got = f"after pair {last} it has {key} {line.get(key)!r:.60}"
            raise Refused(where, got, "a line as it was written with the pair, in index order")
        try:
            check_names(object=line["object"], type=line["type"])
        except Refused as error:
            raise error.of(f"{where}: {error.subject}") from error
        last = line["index"]
        if line.get("visible") is True or not visible_only:
            yield Pair(line, Path(root), where, labels)


def class_names(kinds: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """{(object, type): class}, sorted: the type alone, or "<object>_<type>" where the folder holds several objects.

    Raises Refused where two would be called the same.
    """
    several = len({object for object, _ in kinds}) > 1
    names = {(object, type): f"{object}_{type}" if several else type for object, type in sorted(kinds)}
    for kind, name in names.items():
        other = next((one for one in names if one != kind and names[one] == name), None)
        if other:
            got = f"{' / '.join(kind)} and {' / '.join(other)} would both be class {name!r}"
            raise Refused("classes", got, remedy="rename one")
    return names
