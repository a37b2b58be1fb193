"""The folder that an export goes to: whose it is, and files that are placed whole or not at all."""

from __future__ import annotations

import filecmp
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..pairs import link
from ..pictures import SUFFIXES, write_atomic

_EXPORT = "export.json"
_SUFFIXES = "|".join(map(re.escape, (*SUFFIXES, ".txt")))
_OURS = re.compile(rf"\.?\d{{6,}}_.+({_SUFFIXES})(\.tmp)?", re.IGNORECASE)  # what `source.Pair` calls files


class Folder:
    """Places files below root, and knows which it placed.

    root: the folder; settings: what defines the export (JSON-able), kept in export.json; resume: go on with a folder of
    the same settings. One that holds export.json alone counts as empty.
    Raises ValueError if root holds something and resume is not set, or if it holds no export or one of other settings;
    OSError if it cannot be written.
    """

    def __init__(self, root: str | Path, settings: Mapping[str, Any], resume: bool = False) -> None:
        self.root, self._placed = Path(root), set()
        if self.root.exists() and not self.root.is_dir():
            raise ValueError(f"{root}: a file, not a folder; choose another folder")
        held = {path.name for path in self.root.iterdir()} - {_EXPORT, f".{_EXPORT}.tmp"} if self.root.exists() else ()
        if held and not resume:
            raise ValueError(f"{root}: the folder is not empty; choose another folder or pass --resume")
        if held:
            self._check(settings)
        self.root.mkdir(parents=True, exist_ok=True)
        self.write(_EXPORT, (json.dumps(settings, indent=2) + "\n").encode())

    def path(self, name: str) -> Path:
        """The path of a file with this name below root, its folder made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def place(self, source: Path, name: str) -> str:
        """Link or copy a file to that name, unless the same is there; the name."""
        path = self.path(name)
        if path.exists() and not path.samefile(source) and not filecmp.cmp(source, path, shallow=False):
            path.unlink()
        link(source, path)
        self._placed.add(name)
        return name

    def write(self, name: str, data: bytes) -> str:
        """Write a file of that name, unless the same is there; the name."""
        path = self.path(name)
        if not path.is_file() or path.read_bytes() != data:
            write_atomic(path, data)
        self._placed.add(name)
        return name

    def sweep(self, folders: tuple[str, ...]) -> None:
        """Remove what a run before this one placed and this one did not: of pairs that are no longer there."""
        for folder in folders:
            for path in (self.root / folder).iterdir() if (self.root / folder).is_dir() else ():
                if _OURS.fullmatch(path.name) and f"{folder}/{path.name}" not in self._placed:
                    path.unlink()

    def _check(self, settings: Mapping[str, Any]) -> None:
        try:
            stored = json.loads((self.root / _EXPORT).read_bytes())
        except (OSError, ValueError):
            stored = None
        if not isinstance(stored, dict):
            raise ValueError(f"{self.root}: not empty, and no export to go on with; choose another folder")
        keys = sorted(key for key in stored.keys() | settings.keys() if stored.get(key) != settings.get(key))
        if keys:
            told = "; ".join(f"{key}: {stored.get(key)!r} there, {settings.get(key)!r} now" for key in keys)
            raise ValueError(f"{self.root}: it holds another export ({told}); choose another folder")


