"""One writer per folder, or per file: a lock that ends with its process, however the process ends."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import platform
import stat
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused

_log = logging.getLogger(__name__)
NAME = ".lock"
_TRIES, _PAUSE = 4, 0.05  # seconds: another process may only look at the lock, or not have written its id yet
_WHO, _REMEDY = "another run writes here", "wait until it ends, or stop it"
# The last: some network file systems lock no file that is open to read alone.
_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK, errno.EBADF)
_ASIDE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # of links; a pipe would be waited for


def lock_of(target: str | Path) -> Path:
    """The lock of a folder or a file: beside it; inside a folder whose parent cannot be written, such as a mount."""
    path = Path(os.path.realpath(target))
    if path.is_dir() and not os.access(path.parent, os.W_OK):
        return path / NAME
    return _beside(path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{NAME}")


class Lock:
    """Held from the call on, until `release`, the end of a `with` block, or the end of the process.

    The lock is the system's (flock; on Windows a locked byte), so a file that a killed process left never blocks. On a
    network file system it holds across machines where the server has locks; where it has none, a warning says so.

    target: the folder or file that is written; again: this process may hold it several times, since its writers take
    turns; who, remedy: words of the error.
    Raises Refused where another holds it, with its process id; OSError where the file cannot be written.
    """

    def __init__(
        self,
        target: str | Path,
        *,
        again: bool = True,
        who: str = _WHO,
        remedy: str = _REMEDY,
    ) -> None:
        path = lock_of(target)
        with _registry:
            held = _take(path, again)
            words = _words(path) if held is None else holder(target, mine=False)
            if words and held:
                _let_go(held)
            if words:
                raise Refused(target, f"{who} ({words})", remedy=remedy)
        self._end = weakref.finalize(self, _let_go, held)

    def release(self) -> None:
        """Let go; a second call does nothing."""
        self._end()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_) -> None:
        self.release()


def check_free(target: str | Path) -> None:
    """Raise Refused where another process writes the folder or file; nothing is written."""
    found = holder(target, mine=False)
    if found:
        raise Refused(target, f"{_WHO} ({found})", remedy=_REMEDY)


def holder(target: str | Path, mine: bool = True) -> str | None:
    """Who writes the folder or file, in words; None where nobody does. mine: this process counts, too."""
    real = Path(os.path.realpath(target))
    # Both places of `lock_of`: another user may be able to write the other one.
    return next(filter(None, (_holder(path, mine) for path in (lock_of(target), real / NAME, _beside(real)))), None)


def _holder(path: Path, mine: bool) -> str | None:
    try:
        file = os.open(path, os.O_RDONLY | _ASIDE)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return None
        if _key(file) in _held:
            return _words(path) if mine else None
        return None if _locked(file, shared=True) is not False else _words(path)
    finally:
        os.close(file)


@dataclass
class _Held:
    path: Path
    file: int
    key: tuple[int, int, int]
    count: int = 1


_registry = threading.RLock()  # a finalizer may run while it is held
_held: dict[tuple[int, int, int], _Held] = {}


def _take(path: Path, again: bool) -> _Held | None:
    for _ in range(_TRIES):
        file = _open(path)
        key = _key(file)
        if key in _held:
            os.close(file)
            if not again:
                return None
            _held[key].count += 1
            return _held[key]
        locked = _locked(file)
        if locked is None:
            _log.warning("%s: this file system has no locks; take care that no second run writes here", path)
        if locked is not False and _is_at(file, path):  # else its last holder has removed it meanwhile
            if _is_foreign(file, path) and _removed(path):
                os.close(file)
                continue
            _write_id(file)
            _held[key] = _Held(path, file, key)
            return _held[key]
        os.close(file)
        time.sleep(_PAUSE)
    return None


def _open(path: Path) -> int:
    """The lock's file. That of another user is opened to read, which is enough to lock it. Raises OSError."""
    refused = None
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDWR, os.O_RDONLY):
        try:
            file = os.open(path, flags | _ASIDE, 0o666)
        except PermissionError as error:
            refused = refused or error
        except OSError as error:
            refused = refused or error
            break
        else:
            if stat.S_ISREG(os.fstat(file).st_mode):
                return file
            os.close(file)
            refused = OSError(errno.EINVAL, "it is no file; remove it")
            break
    reason = refused.strerror
    if os.path.lexists(path):
        reason = {
            errno.ELOOP: "it is a link; remove it",
            errno.EISDIR: "it is a folder; remove it",
            errno.EACCES: "another user's lock; remove it where no run of theirs writes here",
        }.get(refused.errno, reason)
    raise OSError(refused.errno, f"cannot write ({reason})", str(path)) from refused


def _is_foreign(file: int, path: Path) -> bool:
    """Whether a lock that nobody holds is not ours to write into: another user's, or one with a second name, which may
    be a file of the user's."""
    return os.fstat(file).st_nlink > 1 or not os.access(path, os.W_OK)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _let_go(held: _Held) -> None:
    with _registry:
        if held.key[0] != os.getpid():  # a child that was forked: the lock is its parent's
            return
        held.count -= 1
        if held.count:
            return
        del _held[held.key]
        with contextlib.suppress(OSError):
            if os.name != "nt" and _is_at(held.file, held.path):
                held.path.unlink()
        os.close(held.file)
        if os.name == "nt":
            with contextlib.suppress(OSError):
                held.path.unlink()


def _key(file: int) -> tuple[int, int, int]:
    """Of this process: a forked child does not hold what its parent holds."""
    found = os.fstat(file)
    return os.getpid(), found.st_dev, found.st_ino


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except OSError:
        return False


def _locked(file: int, shared: bool = False) -> bool | None:
    """Whether the file is locked now, for this process; None where the file system cannot lock."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(file, 1 << 30, os.SEEK_SET)  # a byte behind the id, which others must be able to read
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _BUSY else None
    return True


def _write_id(file: int) -> None:
    if os.fstat(file).st_nlink > 1:
        return
    with contextlib.suppress(OSError):  # a full disk, another user's file: it is locked all the same
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, json.dumps({"process": os.getpid(), "host": platform.node()}).encode())


def _words(path: Path) -> str:
    """The holder's process id and machine."""
    for _ in range(_TRIES):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(path.read_bytes())
            return f"process {int(found['process'])} on {found['host']}"
        time.sleep(_PAUSE)
    return "its process id is unknown"
