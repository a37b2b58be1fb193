"""Locks that another user left or holds, and other files at a lock's path."""

import fcntl
import json
import os

import pytest
from anomaly_synthesis.files import folder_lock
from anomaly_synthesis.files.folder_lock import NAME, Lock, check_free, holder, lock_of

THEIRS = json.dumps({"process": 4711, "host": "there"})
REFUSED = r"another run writes here \(process 4711 on there\); wait until it ends, or stop it"


@pytest.fixture
def held():
    """held(path): lock a file as another process does. A lock belongs to one opening of the file."""
    files = []

    def hold(path):
        files.append(os.open(path, os.O_RDONLY))
        fcntl.flock(files[-1], fcntl.LOCK_EX)

    yield hold
    for file in files:
        os.close(file)


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """The lock of "out" as another user left it: this one can read it, and nothing else, not even as superuser."""
    path, opened, allowed = lock_of(tmp_path / "out"), os.open, os.access
    path.write_text(THEIRS)

    def is_theirs(name):
        return os.path.exists(name) and os.path.samefile(name, path) and path.read_text() == THEIRS

    def open_(name, flags, *rest):
        if flags & (os.O_RDWR | os.O_CREAT) and is_theirs(name):
            raise PermissionError(13, "Permission denied", str(name))
        return opened(name, flags, *rest)

    monkeypatch.setattr(folder_lock.os, "open", open_)
    monkeypatch.setattr(folder_lock.os, "access", lambda name, mode: not is_theirs(name) and allowed(name, mode))
    return path


def test_a_lock_that_another_user_left_is_replaced(tmp_path, theirs):
    with Lock(tmp_path / "out"):
        assert json.loads(theirs.read_bytes())["process"] == os.getpid()
    assert not theirs.exists()


def test_a_lock_that_another_user_holds_is_refused_with_its_process(tmp_path, theirs, held):
    held(theirs)
    for act in (Lock, check_free):
        with pytest.raises(ValueError, match=REFUSED):
            act(tmp_path / "out")
    assert theirs.read_text() == THEIRS


def test_a_lock_that_cannot_be_read_says_whose_it_is(tmp_path, theirs, monkeypatch):
    def refuse(name, *_):
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(folder_lock.os, "open", refuse)
    with pytest.raises(PermissionError, match="another user's lock; remove it where no run of theirs writes here"):
        Lock(tmp_path / "out")


@pytest.mark.parametrize("inside", [True, False])
def test_a_user_who_locks_at_the_other_place_is_seen(tmp_path, held, monkeypatch, inside):
    out = tmp_path / "out"
    out.mkdir()
    path = out / NAME if inside else lock_of(out)
    path.write_text(THEIRS)
    if not inside:  # this user cannot write beside the folder
        monkeypatch.setattr(folder_lock.os, "access", lambda name, mode: str(name) != str(tmp_path))
    held(path)
    for act in (Lock, check_free):
        with pytest.raises(ValueError, match=REFUSED):
            act(out)
    assert sorted(tmp_path.rglob("*lock")) == [path], "what was taken is given back"


def test_a_file_that_shares_its_inode_is_replaced_and_never_written(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    os.link(mine, lock_of(tmp_path / "out"))
    with Lock(tmp_path / "out"):
        assert holder(tmp_path / "out").startswith(f"process {os.getpid()} ")
    assert mine.read_text() == "mine" and list(tmp_path.iterdir()) == [mine]


@pytest.mark.parametrize(
    ("make", "words"), [(os.mkfifo, "it is no file; remove it"), (os.mkdir, "it is a folder; remove it")]
)
def test_a_pipe_or_a_folder_in_place_of_a_lock_is_refused_at_once(tmp_path, make, words):
    make(lock_of(tmp_path / "out"))
    check_free(tmp_path / "out")
    with pytest.raises(OSError, match=words):
        Lock(tmp_path / "out")
