"""The folder that an export goes to: whose it is, and files that are placed whole or not at all."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..claim import claim
from ..json_lines import complete_lines, keep_lines
from ..pairs import link
from ..pictures import remove_quietly, write_atomic

_EXPORT, _PLACED = "export.json", "placed.jsonl"


class Folder:
    """Places files below root, and knows which it and the runs before it placed.

    root: the folder; settings: what defines the export (JSON-able), kept in export.json; resume: go on with a folder of
    the same settings. One that holds no placed file yet counts as empty. placed.jsonl names every file before it is
    placed, so that none of a run that was killed is forgotten, and none of the user's is taken for an own one.
    Raises ValueError if root holds something and resume is not set, or if it holds no export or one of other settings;
    OSError if it cannot be written.
    """

    def __init__(self, root: str | Path, settings: Mapping[str, Any], resume: bool = False) -> None:
        self.root, self._placed = Path(root), set()
        self._known: set[str] = set()
        if claim(self.root, "export", _EXPORT, settings, resume, frozenset({_PLACED})):
            self._known = {json.loads(line) for line in complete_lines(self.root / _PLACED)}
            keep_lines(self.root / _PLACED, len(self._known))  # not a last one that a full disk cut

    def path(self, name: str) -> Path:
        """The path of a file with this name below root, its folder made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def place(self, source: Path, name: str) -> str:
        """Link or copy a file to that name, unless the same is there; the name."""
        path = self._named(name)
        if path.exists() and not path.samefile(source) and not filecmp.cmp(source, path, shallow=False):
            path.unlink()
        link(source, path)
        return name

    def write(self, name: str, data: bytes) -> str:
        """Write a file of that name, unless the same is there; the name."""
        path = self._named(name)
        if not path.is_file() or path.read_bytes() != data:
            write_atomic(path, data)
        return name

    def sweep(self) -> None:
        """Remove what a run before this one placed and this one did not: of pairs that are no longer there."""
        for name in self._known:
            path = self.root / name
            remove_quietly(path.with_name(f".{path.name}.tmp"))
            if name not in self._placed:
                path.unlink(missing_ok=True)
        lines = (json.dumps(name) + "\n" for name in sorted(self._placed))
        write_atomic(self.root / _PLACED, "".join(lines).encode())

    def _named(self, name: str) -> Path:
        """The path of a file that is about to be placed, noted down."""
        path = self.path(name)
        if name not in self._known:
            with (self.root / _PLACED).open("a") as names:
                names.write(json.dumps(name) + "\n")
            self._known.add(name)
        self._placed.add(name)
        return path
