"""Paths that a file of ours names, such as a manifest: they must lie below its folder, whatever the file says."""

from __future__ import annotations

import ntpath
import os
import posixpath
import stat
from pathlib import Path
from typing import Any

from ..errors import Refused

_ACCEPTED = "a relative path of a file below the folder, with / between names"


def check_relative(name: Any, where: str) -> str:
    """The name of a file below a folder, by its text alone.

    Raises Refused about `where` for anything but text, for an absolute path, a drive, a backslash,
    "..", a NUL or control character, and for what no file can be called.
    """
    problem = name_problem(name)
    if problem:
        shown = f"{name!r}" if len(repr(name)) <= 80 else f"{name!r:.77}..."
        raise Refused(where, f"{shown} {problem}", _ACCEPTED)
    return name


def below(root: Path, name: Any, where: str) -> Path:
    """The file of that name below root, links resolved. It need not exist.

    Raises Refused about `where` as `check_relative`, for a link that leads out of root, and for what
    is neither a file nor a folder, such as a device.
    """
    return Path(_checked(root, name, where)[0])


def is_file_below(root: Path, name: Any, where: str) -> bool:
    """Whether there is a file of that name below root; raises as `below`. For many names: it makes no `Path`, whose
    parts Python keeps."""
    mode = _checked(root, name, where)[1]
    return mode is not None and stat.S_ISREG(mode)


def _checked(root: Path, name: Any, where: str) -> tuple[str, int | None]:
    """The real path and its mode; None where nothing is there."""
    base = os.path.realpath(root)
    path = os.path.realpath(os.path.join(base, check_relative(name, where)))
    if not path.startswith(os.path.join(base, "")):
        got = f"{name!r} is a link that leads out of {root}"
        raise Refused(where, got, _ACCEPTED, "put the file itself there")
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return path, None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Refused(where, f"{name!r} is a device, a pipe or a socket", _ACCEPTED)
    return path, mode


def name_problem(name: Any) -> str | None:
    """Why `check_relative` refuses a name, in words that follow it; None for one that it accepts."""
    if not isinstance(name, str):
        return "is no text"
    if not name or name in (".", "./"):
        return "names no file"
    try:
        os.fsencode(name)
        name.encode()
    except UnicodeEncodeError:
        return "holds characters that no file name can have"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "holds a control character"
    if "\\" in name or ntpath.splitdrive(name)[0] or posixpath.isabs(name):
        return "is no relative path"
    if ".." in name.split("/"):
        return "leads out of the folder"
    if any(len(os.fsencode(part)) > 255 for part in name.split("/")):
        return "has a name of more than 255 bytes"
    return None
