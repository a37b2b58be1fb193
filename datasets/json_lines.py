"""Files of one JSON object a line, appended to so that a killed process leaves whole lines only."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from .untrusted_json import NotJson, parse_json


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Append one line in one write, on the disk when this returns; a line cut short is taken back (OSError)."""
    data = (json.dumps(line) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
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


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """All complete lines; none where there is no file. Raises ValueError for one that is no JSON object."""
    for number, raw in enumerate(complete_lines(path), 1):
        yield parse_line(raw, f"{path}, line {number}")


def complete_lines(path: Path) -> Iterator[bytes]:
    """The lines as they are, without a last one that is cut; none where there is no file."""
    if path.exists():
        with path.open("rb") as lines:
            yield from (raw for raw in lines if raw.endswith(b"\n"))


def keep_lines(path: Path, count: int) -> bool:
    """Cut off what follows the first `count` lines; was there something?"""
    if not path.exists():
        return False
    size = sum(map(len, islice(complete_lines(path), count)))
    cut = path.stat().st_size != size
    if cut:
        os.truncate(path, size)
    return cut


def parse_line(raw: bytes, where: str | Path) -> dict[str, Any]:
    """A line as a JSON object. Raises ValueError, told by `where`."""
    try:
        value = parse_json(raw, str(where)).value
    except NotJson as error:
        raise ValueError(f"{where}: not JSON ({error.reason}); make the pairs again in another folder") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {value!r:.40}; accepted is a JSON object; make the pairs again in another folder")
    return value
