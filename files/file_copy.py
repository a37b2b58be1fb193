"""Copies of files that share no inode with their source; they share blocks where the file system can (reflinks)."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import BinaryIO

from .durable import open_atomic

_FICLONE = 0x40049409  # ioctl of Linux: Btrfs, XFS, bcachefs, overlays on them


def copy_file(source: Path, target: Path, sync: bool = True) -> None:
    """Make `target` a file of its own with the bytes of `source`, whole or not at all; its folder is not synced.

    sync: see `open_atomic`.

    A user who edits or overwrites one never changes the other. Raises OSError.
    """
    with source.open("rb") as from_file, open_atomic(target, folder=False, sync=sync) as to_file:
        if not _cloned(from_file, to_file):
            shutil.copyfileobj(from_file, to_file, 1 << 20)


def own_inode(path: Path) -> None:
    """Replace a file that shares its inode with another name by a copy. Raises OSError."""
    if path.is_symlink() or path.stat().st_nlink > 1:
        copy_file(path, path)


def _cloned(source: BinaryIO, target: BinaryIO) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with contextlib.suppress(OSError):  # another disk, or a file system without reflinks
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        return True
    return False
