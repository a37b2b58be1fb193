"""Files of one JSON object a line, appended to so that a killed process leaves whole lines only."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import Refused
from .durable import open_atomic, remove_quietly, sync_folder
from .file_copy import copy_file
from .untrusted_json import NotJson, parse_json

_REMEDY = "make the pairs again in another folder"


def append_line(path: Path, line: Mapping[str, Any] | str) -> None:
    """Append one line in one write, on the disk when this returns; a line cut short is taken back (OSError)."""
    data = (json.dumps(line) + "\n").encode()
    own_inode(path)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        size = os.fstat(file).st_size
        try:
            if os.write(file, data) != len(data):
                raise OSError(errno.ENOSPC, "cannot write (the disk is full)", str(path))
            os.fsync(file)
        except BaseException:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)
    if not size:
        sync_folder(path.parent)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """All complete lines; none where there is no file. Raises Refused for one that is no JSON object."""
    for number, raw in enumerate(complete_lines(path), 1):
        yield parse_line(raw, f"{path}, line {number}")


def complete_lines(path: Path) -> Iterator[bytes]:
    """The lines as they are, without a last one that is cut; none where there is no file."""
    if path.exists():
        with path.open("rb") as lines:
            yield from (raw for raw in lines if raw.endswith(b"\n"))


def cut_tail(path: Path) -> bool:
    """Cut off a last line that is not complete; was there one?"""
    if not path.exists():
        return False
    size = sum(map(len, complete_lines(path)))
    cut = path.stat().st_size != size
    if cut:
        own_inode(path)
        os.truncate(path, size)
    return cut


def own_inode(path: Path) -> None:
    """Let a file that is changed in place be one of its own: a backup of hard links must stay as it is. A link stays,
    for whoever opens the file to refuse it. Raises OSError."""
    if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1:
        copy_file(path, path)
        sync_folder(path.parent)


def parse_line(raw: bytes, where: str | Path) -> dict[str, Any]:
    """A line as a JSON object. Raises Refused about `where`."""
    try:
        value = parse_json(raw, str(where)).value
    except NotJson as error:
        raise Refused(where, f"not JSON ({error.got})", remedy=_REMEDY) from error
    if not isinstance(value, dict):
        raise Refused(where, f"{value!r:.40}", "a JSON object", _REMEDY)
    return value


class IndexedLines:
    """A file of lines that each have an "index", in its order.

    A line that comes late, below the last index, waits in a second file (<name>.late) until `merge` puts it into place,
    so that a reader finds the file in order at any moment, and no line costs a copy of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._late = path, path.with_name(f"{path.name}.late")
        self._last = -1

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line, on the disk when this returns. Raises OSError."""
        append_line(self.path if line["index"] > self._last else self._late, line)
        self._last = max(self._last, line["index"])

    def take(self, accept: Callable[[dict[str, Any]], bool]) -> list[int]:
        """Keep the lines that are accepted, the first of every index, and put all in order; their indices.

        What is left out is gone: lines that are cut, no JSON object or without a whole index, repeated, or not
        accepted.
        """
        places: list[tuple[int, int, int, int]] = []  # index, file, offset, length
        seen: set[int] = set()
        size = 0
        for number, path in enumerate((self.path, self._late)):
            offset = 0
            for raw in complete_lines(path):
                line = _indexed(raw)
                if line is not None and line["index"] not in seen and accept(line):
                    seen.add(line["index"])
                    places.append((line["index"], number, offset, len(raw)))
                offset += len(raw)
            size += path.stat().st_size if path.exists() else 0
        if places != sorted(places) or self._late.exists() or size != sum(place[3] for place in places):
            self._rewrite(sorted(places))
        self._last = max(seen, default=-1)
        return sorted(seen)

    def merge(self) -> None:
        """Put late lines into their place. Raises OSError; the lines stay where they are then."""
        if self._late.exists():
            self.take(lambda line: True)

    def _rewrite(self, places: list[tuple[int, int, int, int]]) -> None:
        """Whole or not at all. A kill between the two steps leaves lines twice, which the next `take` sorts out."""
        with contextlib.ExitStack() as stack:
            sources = [
                stack.enter_context(path.open("rb")) if path.exists() else None for path in (self.path, self._late)
            ]
            target = stack.enter_context(open_atomic(self.path))
            for _, number, offset, length in places:
                sources[number].seek(offset)
                target.write(sources[number].read(length))
        remove_quietly(self._late)


def _indexed(raw: bytes) -> dict[str, Any] | None:
    try:
        line = parse_line(raw, "")
    except ValueError:
        return None
    return line if is_indexed(line) else None


def is_indexed(line: Mapping[str, Any]) -> bool:
    """Whether a line has an "index" that is a whole number of at most 63 bits, from 0."""
    return type(line.get("index")) is int and 0 <= line["index"] < 2**63
