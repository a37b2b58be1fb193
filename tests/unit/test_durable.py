"""The order of writes to the disk: files, then their folders, then the line that names them or the removal of a
state."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.exports.export import export_pairs
from anomaly_synthesis.datasets.pairs import PairWriter
from anomaly_synthesis.evaluation import study
from anomaly_synthesis.evaluation.cell import Cell
from anomaly_synthesis.files import durable
from anomaly_synthesis.files.durable import write_atomic
from anomaly_synthesis.files.file_copy import copy_file
from anomaly_synthesis.images.pictures import Picture, write_picture
from anomaly_synthesis.modules.tensor_file import write_tensors
from anomaly_synthesis.training.run_file import RunFile

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks up the path of a descriptor")


@pytest.fixture
def events(monkeypatch):
    """What happens to the disk, in order: (what, path)."""
    seen = []
    real = {name: getattr(os, name) for name in ("fsync", "replace", "write", "unlink")}

    def of(file):
        return os.readlink(f"/proc/self/fd/{file}")

    def fsync(file):
        seen.append(("sync", of(file)))
        real["fsync"](file)

    def replace(source, target):
        seen.append(("sync under", str(target)) if ("sync", str(source)) in seen else ("not synced", str(target)))
        seen.append(("name", str(target)))
        real["replace"](source, target)

    def write(file, data):
        seen.append(("line", of(file)))
        return real["write"](file, data)

    def unlink(path, **options):
        seen.append(("remove", str(path)))
        real["unlink"](path, **options)

    for name, act in {"fsync": fsync, "replace": replace, "write": write, "unlink": unlink}.items():
        monkeypatch.setattr(os, name, act)
    return seen


def _named_and_synced(events, path, before):
    """The file got its name with its data on the disk, and its folder was synced after that, both before the given
    event."""
    early = events[:before]
    assert ("not synced", str(path)) not in early
    named = early.index(("name", str(path)))
    assert ("sync", str(path.parent)) in early[named:], f"{path.parent} is not on the disk"


def test_a_pairs_files_and_folders_are_on_the_disk_before_its_line(tmp_path, events):
    root, normal = tmp_path / "out", tmp_path / "n.png"
    write_picture(normal, Picture(np.full((8, 8, 1), 9, np.uint8)))
    writer = PairWriter(root, {"seed": 1})
    _named_and_synced(events, root / "run.json", len(events))
    for index in range(2):
        del events[:]
        writer.write(
            index=index,
            object="tile",
            type="crack",
            stem=f"{index}",
            picture=Picture(np.zeros((8, 8, 1), np.uint8)),
            mask=np.ones((8, 8)),
            normal_source=(normal, Picture(np.ones((8, 8, 1), np.uint8)))[index],
            record={},
        )
        line = events.index(("line", str(root / "manifest.jsonl")))
        places = [root / f"tile/test/crack/{index}.png", root / f"tile/ground_truth/crack/{index}_mask.png"]
        for folder in ("train", "test"):
            places += [path for path in (root / f"tile/{folder}/good").iterdir() if ("name", str(path)) in events]
        assert len(places) == 4
        for path in places:
            _named_and_synced(events, path, line)
        if not index:  # folders that were made are on the disk, too
            for folder in (root, root / "tile", root / "tile/test", root / "tile/ground_truth", root / "tile/train"):
                assert ("sync", str(folder)) in events[:line]
        assert ("sync", str(root / "manifest.jsonl")) in events[line:]
    del events[:]
    writer.drop(2, {})
    line = events.index(("line", str(root / "dropped.jsonl")))
    assert events[line + 1 :] == [("sync", str(root / "dropped.jsonl")), ("sync", str(root))]


def test_an_exports_files_are_on_the_disk_before_its_manifest_has_its_name(tmp_path, events):
    with PairWriter(tmp_path / "pairs", {}) as writer:
        for index in range(2):
            writer.write(
                index=index,
                object="tile",
                type="crack",
                stem=f"{index}",
                mask=np.ones((8, 8)),
                record={},
                picture=Picture(np.full((8, 8, 1), 40 * index, np.uint8)),
                normal_source=Picture(np.full((8, 8, 1), 200, np.uint8)),
            )
    out = tmp_path / "out"
    del events[:]
    export_pairs(tmp_path / "pairs", out, "yolo")
    last = events.index(("name", str(out / "manifest.jsonl")))
    placed = [path for path in out.rglob("*") if path.is_file() and path.name != "manifest.jsonl"]
    assert len(placed) == 3 + 3 + 3  # images, labels, and data.yaml, export.json, placed.jsonl
    for path in placed:
        if path.suffix.startswith(".json"):
            _named_and_synced(events, path, last)
            continue
        named = events.index(("name", str(path)))
        for synced in (path, path.parent):
            assert ("sync", str(synced)) in events[named:last]
    assert ("sync", str(out)) in events[last:]


def test_a_model_is_on_the_disk_before_its_training_state_is_removed(tmp_path, events):
    state = tmp_path / "model.safetensors.state"
    file = RunFile(tmp_path / "model.safetensors", [state])
    write_tensors(state, {"a": torch.ones(2)}, {})
    del events[:]
    write_tensors(file.path, {"a": torch.ones(2)}, {})
    file.remove_states()
    assert [event for event in events if event[0] != "remove" or event[1] == str(state)] == [
        ("sync", f"{file.path}.partial"),
        ("sync under", str(file.path)),
        ("name", str(file.path)),
        ("sync", str(tmp_path)),
        ("remove", str(state)),
    ]


@pytest.mark.parametrize("failed", [False, True])
def test_a_cells_result_is_on_the_disk_before_its_training_state_is_removed(tmp_path, monkeypatch, events, failed):
    cell = Cell("cutpaste", "small_unet", 0, tmp_path)

    def filled(cell, *_):
        cell.state(False).parent.mkdir(parents=True, exist_ok=True)
        cell.state(False).write_bytes(b"state")
        if failed:
            raise ValueError("no")
        return cell.named

    monkeypatch.setattr(study, "fill", filled)
    found = study._kept(cell, None, None, None, False)
    assert found == cell.named | ({"error": "no"} if failed else {}) and cell.state(False).exists() == failed
    removed = events.index(("remove", str(cell.state(False)))) if not failed else len(events)
    _named_and_synced(events, cell.path, removed)


def test_a_damaged_cell_is_filled_again(tmp_path, monkeypatch):
    cell = Cell("cutpaste", "small_unet", 0, tmp_path)
    monkeypatch.setattr(study, "fill", lambda cell, *_: cell.named | {"pairs": 3})
    for damage in (b"", b"{", b"[]", b"\xff", b"[" * 99_999):
        cell.path.parent.mkdir(parents=True, exist_ok=True)
        cell.path.write_bytes(damage)
        assert study._kept(cell, None, None, None, False) == cell.named | {"pairs": 3}


def test_file_systems_that_cannot_sync_a_folder_are_used_all_the_same(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(file):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(22, "Invalid argument")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "a", b"data")
    write_tensors(tmp_path / "b.safetensors", {"a": torch.ones(2)}, {})
    assert (tmp_path / "a").read_bytes() == b"data" and (tmp_path / "b.safetensors").exists()


def test_a_disk_that_fails_to_sync_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    for act in (lambda: write_atomic(tmp_path / "a", b"new"), lambda: durable.make_folder(tmp_path / "b")):
        with pytest.raises(OSError) as error:
            act()
        assert error.value.errno == 28
    assert (tmp_path / "a").read_bytes() == b"old" and not (tmp_path / ".a.tmp").exists()
    with pytest.raises(OSError, match="cannot write .No space left on device.*c.safetensors"):
        write_tensors(tmp_path / "c.safetensors", {"a": torch.ones(2)}, {})
    assert not list(tmp_path.glob("c*"))


def test_a_copy_has_the_bytes_and_an_inode_of_its_own(tmp_path):
    source = tmp_path / "source"
    for data in (b"", b"x", os.urandom(3_000_000)):
        source.write_bytes(data)
        copy_file(source, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data and not (tmp_path / "copy").samefile(source)
    with pytest.raises(OSError):
        copy_file(tmp_path / "gone", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == 3_000_000 and not (tmp_path / ".copy.tmp").exists()
