"""Whose a folder is: nobody's yet, or that of the run that left its settings there; and who writes it now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Refused
from .durable import make_folder, write_atomic
from .folder_lock import NAME, Lock, check_free


def claim(
    root: Path, what: str, record: str, settings: Mapping[str, Any], resume: bool, notes: frozenset[str] = frozenset()
) -> tuple[bool, Lock]:
    """Whether the folder `root` holds something of these settings to go on with, and the lock of its one writer.

    A folder that holds nothing yet now is theirs.

    A folder that holds the record alone counts as empty: what left it was stopped before it began, and must not block
    the corrected one.

    Args:
        what: is claimed, a word for the errors: "run", "export".
        record: file in the folder that keeps the settings.
        settings: JSON-able.
        resume: go on with what is there.
        notes: further files that do not make it another's.

    Raises:
        Refused: another process writes there; a file in place of the folder; a folder that holds something, where
            resume is not set or what it holds is not of these settings; settings that are not JSON-able.
        OSError: the folder cannot be written.
    """
    text = json_text(settings, f"the {what}'s settings", indent=2)
    if root.exists() and not root.is_dir():
        raise Refused(root, "a file, not a folder", remedy="choose another folder")
    check_free(root)
    make_folder(root)
    lock = Lock(root)
    try:
        started = {record, *notes}
        started |= {NAME} | {f".{name}.tmp" for name in started}
        held = any(path.name not in started for path in root.iterdir())
        if held and not resume:
            raise Refused(root, "the folder is not empty", remedy="choose another folder", unless="resume")
        if held:
            _check(root, what, record, json.loads(text))
        else:
            write_atomic(root / record, (text + "\n").encode())
    except BaseException:
        lock.release()
        raise
    return held, lock


def json_text(value: Mapping[str, Any], what: str, indent: int | None = None) -> str:
    """JSON of plain finite values. Raises Refused, with `what` as subject, for others."""
    try:
        return json.dumps(dict(value), indent=indent, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refused(what, f"cannot be stored as JSON ({error})", remedy="give plain finite values") from error


def _check(root: Path, what: str, record: str, settings: dict[str, Any]) -> None:
    try:
        stored = None if (root / record).is_symlink() else json.loads((root / record).read_bytes())
    except (OSError, ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        got = f"not empty, and no readable {record}, so no {what} to resume"
        raise Refused(root, got, remedy="choose another folder")
    keys = sorted(key for key in stored.keys() | settings.keys() if stored.get(key, "-") != settings.get(key, "-"))
    if keys:
        shown = "; ".join(f"{key}: {stored.get(key, '-')!r} there, {settings.get(key, '-')!r} now" for key in keys)
        got = f"it holds another {what}, of other settings ({shown})"
        raise Refused(root, got, remedy="choose another folder or the same settings")
