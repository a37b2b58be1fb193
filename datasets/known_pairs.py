"""Which pairs a folder holds already, by their content: a pair that is made again is not added again."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files.json_lines import parse_line
from ..files.relative_path import below
from ..images.mask_files import read_mask
from ..images.pictures import Picture, read_picture
from .pair_identity import HEX, content, identity, place, same_inside
from .pairs import MANIFEST, read_dropped

# A line's own identity stands before the settings of nodes, which may have a widget of any name.
_IDENTITY = re.compile(rb'"identity": "([0-9a-f]{%d})"' % HEX)


class KnownPairs:
    """The pairs of a folder that is added to; about 350 bytes of memory for each.

    Lines from before identities are compared by their files, those alone that have the object, type and normal image
    of a pair that is looked for. Raises Refused for a damaged line where it is read.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        # place -> (content of the image, offset of the line in the manifest)
        self._lines: dict[str, list[tuple[str, int]]] = defaultdict(list)
        # (object, type, normal) -> offsets of lines without identity
        self._old: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for offset, raw in _lines(self.root / MANIFEST):
            settings = raw.find(b'"settings": ')
            found = _IDENTITY.search(raw, 0, len(raw) if settings < 0 else settings)
            if found:
                digits = found[1].decode()
                self._lines[digits[: HEX // 2]].append((digits[HEX // 2 :], offset))
            else:
                line = parse_line(raw, self.root / MANIFEST)
                key = tuple(line.get(name) for name in ("object", "type", "normal"))
                if all(isinstance(name, str) for name in key):  # no other line is of a pair
                    self._old[key].append(offset)
        dropped = (line.get("identity") for line in read_dropped(self.root))
        self._dropped = {identity for identity in dropped if isinstance(identity, str)}

    def find(
        self, image: Picture, normal: Picture, mask: np.ndarray, object: str, type: str, seed: int | None
    ) -> Mapping[str, Any] | None:
        """The line of a pair of this content, object and type whose files are there; None without one.

        A pair of the same start and seed that differs by rounding alone (see `pair_identity`) is the same pair: a
        graphics card need not repeat the last bit. Files that were deleted, damaged or changed are no pair.
        """
        start, own = place(normal, mask, object, type), content(image)
        self._settle_old(start, (object, type, f"{object}/train/good/normal_{content(normal)}.png"))
        candidates = self._lines.get(start, [])
        for _, offset in (one for one in candidates if one[0] == own):
            line = self._line(offset)
            if self._identity(line) == start + own:
                return line
        for _, offset in (one for one in candidates if one[0] != own and seed is not None):
            line = self._line(offset)
            if line.get("seed") == seed and self._same(line, start, image, mask):
                return line
        return None

    def was_dropped(self, identity: str) -> bool:
        """Whether dropped.jsonl has a line of this pair."""
        return identity in self._dropped

    def note_dropped(self, identity: str) -> None:
        """Remember a line that was added to dropped.jsonl."""
        self._dropped.add(identity)

    def note(self, identity: str, offset: int) -> None:
        """Remember a line that was added to the manifest at this offset, in bytes."""
        self._lines[identity[: HEX // 2]].append((identity[HEX // 2 :], offset))

    def _settle_old(self, start: str, key: tuple[str, str, str]) -> None:
        """Give the lines without identity that may be of this start one, by their files."""
        for offset in self._old.pop(key, []):
            digits = self._identity(self._line(offset))
            if digits is not None:
                self._lines[digits[: HEX // 2]].append((digits[HEX // 2 :], offset))

    def _line(self, offset: int) -> Mapping[str, Any]:
        with (self.root / MANIFEST).open("rb") as file:
            file.seek(offset)
            return parse_line(file.readline(), self.root / MANIFEST)

    def _same(self, line: Mapping[str, Any], start: str, image: Picture, mask: np.ndarray) -> bool:
        pair = self._read(line)
        if pair is None or place(pair[1], pair[2], *_kind(line)) != start:
            return False
        return same_inside(image, pair[0], mask)

    def _identity(self, line: Mapping[str, Any]) -> str | None:
        """The identity that a line's files give now; None where they are not whole."""
        pair = self._read(line)
        return None if pair is None else identity(*pair, *_kind(line))

    def _read(self, line: Mapping[str, Any]) -> tuple[Picture, Picture, np.ndarray] | None:
        """(image, normal, mask) of a line; None where a file is gone, damaged or outside of the folder."""
        try:
            image, normal, mask = (below(self.root, line.get(key), key) for key in ("image", "normal", "mask"))
            return read_picture(image), read_picture(normal), read_mask(mask).numpy()
        except (ValueError, OSError):
            return None


def _kind(line: Mapping[str, Any]) -> tuple[str, str]:
    return str(line.get("object")), str(line.get("type"))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of every complete line; none where there is no file."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for raw in file:
            if raw.endswith(b"\n"):
                yield offset, raw
            offset += len(raw)
