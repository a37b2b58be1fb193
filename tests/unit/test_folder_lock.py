"""One writer per folder or file: a second is refused with the first one's process id; a killed one never blocks."""

import gc
import json
import os
import platform
import subprocess
import sys
import time

import numpy as np
import pytest
from anomaly_synthesis import cli
from anomaly_synthesis.batch.table import Lock as JobLock
from anomaly_synthesis.datasets.exports.export import export_pairs
from anomaly_synthesis.datasets.pairs import PairWriter
from anomaly_synthesis.datasets.procedural import write_surfaces
from anomaly_synthesis.datasets.split import save_split
from anomaly_synthesis.files import folder_lock
from anomaly_synthesis.files.folder_lock import Lock, check_free, holder, lock_of
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.modules.base_file import save_base

from .refusals import refused

_HOLD = """
import sys, time
from anomaly_synthesis.files.folder_lock import Lock
lock = Lock(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other():
    """other(target): another process that holds it."""
    started = []

    def hold(target):
        process = subprocess.Popen([sys.executable, "-P", "-c", _HOLD, str(target)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()


def everything(root):
    return {path: path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def by(process):
    """The fields of a refusal because of a process."""
    got = rf"^another run writes here \(process {process.pid} on {platform.node()}\)$"
    return {"got": got, "remedy": "^wait until it ends, or stop it$"}


def test_the_second_process_is_refused_with_the_firsts_id_and_a_killed_one_does_not_block(tmp_path, other):
    process = other(tmp_path / "out")
    for act in (Lock, check_free):
        with refused(**by(process)):
            act(tmp_path / "out")
    assert holder(tmp_path / "out") == f"process {process.pid} on {platform.node()}"
    process.kill()
    process.wait()
    assert lock_of(tmp_path / "out").exists(), "the killed process leaves its file"
    check_free(tmp_path / "out")
    with Lock(tmp_path / "out"):
        assert json.loads(lock_of(tmp_path / "out").read_bytes())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_writers_of_one_process_share_the_lock_and_the_last_releases_it(tmp_path):
    first = Lock(tmp_path / "out")
    second = Lock(tmp_path / "out")
    with refused(got=f"process {os.getpid()} "):
        Lock(tmp_path / "out", again=False)
    first.release()
    first.release()
    assert holder(tmp_path / "out") and holder(tmp_path / "out", mine=False) is None
    second.release()
    assert holder(tmp_path / "out") is None and list(tmp_path.iterdir()) == []
    writer = PairWriter(tmp_path / "pairs", {})
    assert holder(tmp_path / "pairs")
    del writer
    gc.collect()
    assert holder(tmp_path / "pairs") is None


def test_a_forked_child_neither_holds_nor_ends_its_parents_lock(tmp_path):
    lock = Lock(tmp_path / "out")
    if not (pid := os.fork()):
        try:
            Lock(tmp_path / "out")
        except ValueError:
            lock.release()
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert lock_of(tmp_path / "out").exists() and holder(tmp_path / "out")


@pytest.mark.parametrize("left", [b"", b"{", b"\xff" * 9, b"[1]", b'{"process": "x"}'])
def test_a_lock_file_of_any_content_does_not_block(tmp_path, left):
    lock_of(tmp_path / "out").write_bytes(left)
    check_free(tmp_path / "out")
    Lock(tmp_path / "out").release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    lock_of(tmp_path / "out").symlink_to(mine)
    with pytest.raises(OSError, match="it is a link; remove it"):
        Lock(tmp_path / "out")
    assert mine.read_text() == "mine"


def test_a_file_system_without_locks_gives_only_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(folder_lock, "_locked", lambda *_, **__: None)
    Lock(tmp_path / "out").release()
    assert "this file system has no locks" in caplog.text


def test_two_names_of_one_folder_have_one_lock(tmp_path, other, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "name").symlink_to("real")
    process = other(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "name", "name", "./real/", "real/../name"):
        with refused(**by(process)):
            Lock(name)


@pytest.fixture
def world(tmp_path, surfaces, split, tiny_base):
    save_split(split, tmp_path / "split.json")
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": split.digest})
    data = ["--data", str(surfaces), "--split", str(tmp_path / "split.json")]
    with PairWriter(tmp_path / "pairs", {}) as writer:
        writer.write(
            index=0,
            object="tile",
            type="crack",
            stem="0",
            picture=Picture(np.zeros((8, 8, 1), np.uint8)),
            mask=np.ones((8, 8)),
            normal_source=Picture(np.ones((8, 8, 1), np.uint8)),
            record={},
        )
    base = ["--base", str(tmp_path / "base.safetensors")]
    return {
        "synthesize": [*data, *base, "--count", "1", "--resume"],
        "train": [*data, *base, "--steps", "1", "--resume"],
        "train-base": [*data, "--resume"],
        "evaluate": [*data, "--methods", "real-only", "--networks", "small_unet", "--steps", "1"],
        "export": ["--pairs", str(tmp_path / "pairs"), "--format", "coco", "--resume"],
        "surfaces": ["--normals", "1", "--defects", "1"],
        "demo": [],
    }


@pytest.mark.parametrize("exists", [True, False])
def test_every_command_that_writes_a_folder_or_a_model_refuses_to_be_the_second(tmp_path, world, other, capsys, exists):
    work = tmp_path / "work"
    work.mkdir()
    for command, arguments in world.items():
        out = work / (f"{command}.safetensors" if command.startswith("train") else command)
        if exists and not command.startswith("train") and command != "surfaces":
            out.mkdir()
        process = other(out)
        before = everything(work)
        assert cli.main([command, *arguments, "--out", str(out)]) == 1
        error = capsys.readouterr().err
        assert f"process {process.pid} on " in error and str(out) in error and "Traceback" not in error, command
        assert everything(work) == before, command
        process.kill()


def test_a_second_batch_is_refused_with_its_own_message(tmp_path, other):
    (tmp_path / "pairs.batch").mkdir()
    process = other(tmp_path / "pairs.batch")
    with refused(got=rf"another runner works on this job \(process {process.pid} ", remedy="batch cancel"):
        JobLock(tmp_path / "pairs.batch")


def test_a_refused_folder_and_a_failed_run_are_not_left_locked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.png").write_bytes(b"")
    with pytest.raises(ValueError, match="no run to resume") as kept:
        PairWriter(tmp_path / "out", {}, resume=True)
    with pytest.raises(ValueError, match="not empty") as also:
        export_pairs_into(tmp_path)
    assert holder(tmp_path / "out") is None and kept and also


def export_pairs_into(folder):
    with PairWriter(folder / "pairs", {}) as writer:
        writer.write(
            index=0,
            object="tile",
            type="crack",
            stem="0",
            picture=Picture(np.zeros((8, 8, 1), np.uint8)),
            mask=np.ones((8, 8)),
            normal_source=Picture(np.ones((8, 8, 1), np.uint8)),
            record={},
        )
    export_pairs(folder / "pairs", folder / "out", "plain")


def test_surfaces_release_the_lock_and_are_renamed(tmp_path):
    write_surfaces(tmp_path / "new", materials=["brushed_metal"], normals=1, defects=1, size=64).rename(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_of_many_processes_that_start_at_once_one_gets_the_lock(tmp_path):
    code = (
        "import sys, time\nfrom anomaly_synthesis.files.folder_lock import Lock\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "try: lock = Lock(sys.argv[1])\nexcept ValueError: sys.exit(1)\ntime.sleep(2)"
    )
    lock_of(tmp_path / "out").write_bytes(b"left by a killed one")
    start = str(time.time() + 3)
    many = [subprocess.Popen([sys.executable, "-P", "-c", code, str(tmp_path / "out"), start]) for _ in range(4)]
    assert sorted(process.wait(60) for process in many) == [0, 1, 1, 1]
