"""Files and folders that survive a power cut: what is written is on the disk before anything promises it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO

_AT_ONCE = 16
_NO_FOLDER_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)


def open_fresh(path: Path) -> BinaryIO:
    """A new file, open to write and read; what has that name is removed first.

    Never opened through a link, and never on another file's inode: what somebody planted under the name of a temporary
    file must not lead the data elsewhere. Raises OSError.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "w+b")


def sync_file(path: Path) -> None:
    """Put a file's content on the disk. Raises OSError."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_files(paths: Iterable[Path]) -> None:
    """As `sync_file` for many files: the disk joins what is asked for at the same time. Raises OSError."""
    paths = iter(paths)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while block := list(islice(paths, 64 * _AT_ONCE)):  # of which a long list would fill the memory
            list(pool.map(sync_file, block))


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk: names that were made, renamed or removed. Raises OSError.

    Does nothing where a system cannot do it: on Windows, and on some network file systems.
    """
    try:
        file = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except PermissionError:  # Windows; a folder that may be written but not listed
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(file)


def make_folder(folder: Path) -> Path:
    """The folder, made with its parents where it is not there, and on the disk. Raises OSError."""
    if not folder.is_dir():
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in reversed(made):
            sync_folder(path.parent)
    return folder


def write_atomic(path: str | Path, data: bytes, folder: bool = True, sync: bool = True) -> None:
    """Write bytes under a temporary name in the same folder, then rename; OSError names the path, nothing stays behind.

    The temporary name is fixed (".<name>.tmp"), so that a run made again after a kill overwrites what the kill left.
    folder, sync: see `open_atomic`.
    """
    with open_atomic(path, folder, sync) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomic(path: str | Path, folder: bool = True, sync: bool = True) -> Iterator[BinaryIO]:
    """As `write_atomic`, for what is too long to be held: the file has its name once the block is left.

    The data are on the disk before the file gets its name. folder: so is the name when this returns; False leaves that
    to a caller who writes several files and then syncs their folders, see `sync_folder`. sync: False leaves the
    data to the caller, too, see `sync_files`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open_fresh(temporary) as file:
            yield file
        if sync:
            sync_file(temporary)  # by its name, since the block may have closed the file
        os.replace(temporary, path)
        if folder:
            sync_folder(path.parent)
    except OSError as error:
        remove_quietly(temporary)
        if error.errno is None or (error.filename is not None and str(error.filename) != str(temporary)):
            raise  # of something else, which the block uses
        raise OSError(error.errno, f"cannot write ({error.strerror})", str(path)) from error
    except BaseException:
        remove_quietly(temporary)
        raise


def remove_quietly(path: Path) -> None:
    """Remove a file if that is possible; used where another error is already on its way."""
    with contextlib.suppress(OSError):
        path.unlink()
