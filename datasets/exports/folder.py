"""The folder that an export goes to: whose it is, and files that are placed whole or not at all."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import Refused
from ...files.claim import claim
from ...files.durable import make_folder, remove_quietly, sync_files, sync_folder, write_atomic
from ...files.file_copy import copy_file
from ...files.json_lines import complete_lines, cut_tail, own_inode
from ...files.relative_path import below, check_relative
from ..pairs import MANIFEST

_EXPORT, _PLACED = "export.json", "placed.jsonl"


class Folder:
    """Places files below root, and knows which it and the runs before it placed.

    root: the folder; settings: what defines the export (JSON-able), kept in export.json; resume: go on with a folder of
    the same settings; link: place images and masks of ours as hard links where the disk can. A folder that holds no
    placed file yet counts as empty. placed.jsonl names every file before it is
    placed, so that none of a run that was killed is forgotten, and none of the user's is mistaken for ours.
    The folder is locked against other processes until `close`. Nothing outside of root is written or removed, whatever
    placed.jsonl names and whatever links lie in root.
    Raises Refused if another process writes there, if root holds something and resume is not set, if it holds no
    export or one of other settings, or if placed.jsonl names what is no file below root; OSError if it cannot be
    written.
    """

    def __init__(self, root: str | Path, settings: Mapping[str, Any], resume: bool = False, link: bool = False) -> None:
        self.root, self._placed, self._link = Path(root), set(), link
        self._known: set[str] = set()
        self._parents: set[Path] = set()
        resumed, self._lock = claim(self.root, "export", _EXPORT, settings, resume, frozenset({_PLACED}))
        try:
            if resumed:
                self._known = set(self._read_placed())
                cut_tail(self.root / _PLACED)  # of a full disk
                own_inode(self.root / _PLACED)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others write here."""
        self._lock.release()

    def path(self, name: str) -> Path:
        """The path of a file with this name below root, its folder made. Raises Refused for one outside of it."""
        path = self.root / check_relative(name, str(self.root))
        if path.parent not in self._parents:
            if path.parent != self.root:
                below(self.root, name.rpartition("/")[0], str(self.root))
            make_folder(path.parent)
            self._parents.add(path.parent)
        return path

    def place(self, source: Path, name: str, ours: bool = False) -> str:
        """Copy a file to that name, or link it, unless the same is there; the name.

        ours: the file was made here, and so may be linked; a link shares every change with its source.
        """
        path = self._named(name)
        if self._link and ours and _linked(source, path):
            return name
        if not _is_own(path) or not filecmp.cmp(source, path, shallow=False):
            copy_file(source, path, sync=False)
        return name

    def write(self, name: str, data: bytes) -> str:
        """Write a file of that name, unless the same is there; the name."""
        path = self._named(name)
        if not _is_own(path) or path.read_bytes() != data:
            write_atomic(path, data, folder=False, sync=False)
        return name

    def sweep(self) -> None:
        """Remove what a run before this one placed and this one did not, and put all on the disk: a manifest that is
        written next promises whole files."""
        for name in self._known:
            path = self.path(name)
            remove_quietly(path.with_name(f".{path.name}.tmp"))
            if name not in self._placed:
                with contextlib.suppress(IsADirectoryError):
                    path.unlink(missing_ok=True)
        sync_files(self.root / name for name in self._placed)
        for folder in self._parents:
            sync_folder(folder)
        lines = (json.dumps(name) + "\n" for name in sorted(self._placed))
        write_atomic(self.root / _PLACED, "".join(lines).encode())

    def _read_placed(self) -> list[str]:
        path = self.root / _PLACED
        if path.is_symlink():
            raise Refused(path, "a link", remedy="remove it, or export into another folder")
        names = []
        for number, raw in enumerate(complete_lines(path), 1):
            where = f"{path}, line {number}"
            try:
                name = json.loads(raw)
            except (ValueError, RecursionError) as error:
                remedy = "remove the line, or export into another folder"
                raise Refused(where, f"not JSON ({error})", remedy=remedy) from error
            below(self.root, name, where)
            if posixpath.normpath(name).lower() in (_EXPORT, _PLACED, MANIFEST):
                raise Refused(where, f"{name!r} is a record of the export", remedy="remove the line")
            names.append(name)
        return names

    def _named(self, name: str) -> Path:
        """The path of a file that is about to be placed, noted down."""
        path = self.path(name)
        if name not in self._known:
            with (self.root / _PLACED).open("a") as names:
                names.write(json.dumps(name) + "\n")
            self._known.add(name)
        self._placed.add(name)
        return path


def _is_own(path: Path) -> bool:
    """A file that shares its inode with no other name."""
    return path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1


def _linked(source: Path, path: Path) -> bool:
    """Whether path is now a hard link of source."""
    if path.is_file() and not path.is_symlink() and path.samefile(source):
        return True
    temporary = path.with_name(f".{path.name}.tmp")
    remove_quietly(temporary)
    try:
        os.link(source, temporary)
        os.replace(temporary, path)
    except OSError:  # another disk, or a file system without links
        remove_quietly(temporary)
        return False
    return True
