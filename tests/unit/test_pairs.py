import errno
import json
import os

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets import pairs
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.pairs import PairWriter, read_dropped, read_manifest
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import Picture, read_picture, write_picture

from .refusals import refused

RUN = {"seed": 1, "size": (8, 8), "types": ["crack", "hole"]}


@pytest.fixture
def normals(tmp_path):
    paths = [tmp_path / "source" / folder / "n.png" for folder in "ab"]
    for value, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        write_picture(path, Picture(np.full((8, 9, 1), 50 + value, np.uint16)))
    return paths


def pair(number, normals, **change):
    mask = torch.zeros(8, 9, dtype=torch.bool)
    mask[number % 8, 2:4] = True
    picture = Picture(np.full((8, 9, 1), number, np.uint16))
    settings = dict(
        index=number,
        object="tile",
        type=RUN["types"][number % 2],
        stem=f"{number:04}",
        picture=picture,
        mask=mask,
        normal_source=normals[number % 2],
        record={"seed": 1, "visible": True, "seconds": 0.5},
    )
    return {**settings, **change}


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def unbroken(root, normals, count=4):
    writer = PairWriter(root, RUN)
    for index in range(count):
        assert writer.done == index
        writer.write(**pair(index, normals))
    return files(root)


def test_the_folder_is_mvtec_layout_with_a_manifest(tmp_path, normals):
    root = tmp_path / "out"
    unbroken(root, normals)
    samples = read_mvtec(root)
    assert [(one.type, one.part) for one in samples] == [
        ("crack", "test"),
        ("crack", "test"),
        ("good", "test"),
        ("good", "test"),
        ("hole", "test"),
        ("hole", "test"),
        ("good", "train"),
        ("good", "train"),
    ]
    manifest = read_manifest(root)
    assert [line["index"] for line in manifest] == [0, 1, 2, 3]
    for index, line in enumerate(manifest):
        want = pair(index, normals)
        picture = read_picture(root / line["image"])
        assert picture.pixels.dtype == np.uint16 and (picture.pixels == index).all()
        assert torch.equal(read_mask(root / line["mask"]), want["mask"])
        assert (root / line["normal"]).read_bytes() == normals[index % 2].read_bytes()
        assert line["type"] == want["type"] and line["seconds"] == 0.5
    assert manifest[0]["image"] == "tile/test/crack/0000.png"
    assert manifest[0]["mask"] == "tile/ground_truth/crack/0000_mask.png"
    assert manifest[0]["normal"] == "tile/train/good/n.png" and manifest[1]["normal"] == "tile/train/good/n_2.png"
    assert (root / "tile/test/good/n.png").read_bytes() == normals[0].read_bytes()


def test_normals_are_copied_where_links_fail_and_pictures_are_placed_once(tmp_path, normals, monkeypatch):
    def no_link(*_, **__):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    expected = unbroken(tmp_path / "linked", normals)
    monkeypatch.setattr(os, "link", no_link)
    assert unbroken(tmp_path / "copied", normals) == expected
    assert not (tmp_path / "copied/tile/train/good/n.png").samefile(normals[0])
    writer = PairWriter(tmp_path / "pictures", RUN)
    for index, value in enumerate((5, 5, 6)):
        normal = Picture(np.full((8, 9, 1), value, np.uint8))
        writer.write(**pair(index, normals, normal_source=normal))
    assert len(list((tmp_path / "pictures/tile/train/good").iterdir())) == 2


@pytest.mark.parametrize("cut", ["line", "line without newline", "only files", "lost image", "damaged mask"])
def test_an_interrupted_run_ends_as_an_unbroken_one(tmp_path, normals, cut):
    expected = unbroken(tmp_path / "whole", normals)
    root = tmp_path / "broken"
    unbroken(root, normals, 3)
    manifest = root / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    if cut == "line":
        manifest.write_bytes(b"".join(lines[:2]) + lines[2][:20])
    elif cut == "line without newline":
        manifest.write_bytes(b"".join(lines)[:-1])
    elif cut == "only files":
        manifest.write_bytes(b"".join(lines[:2]))
        (root / "tile/test/crack/.0002.png.tmp").write_bytes(b"half")
        (root / "tile/test/crack/0002.png").write_bytes(b"orphan")
    elif cut == "lost image":
        (root / "tile/test/crack/0002.png").unlink()
    else:
        mask = root / "tile/ground_truth/crack/0002_mask.png"
        mask.write_bytes(mask.read_bytes()[:40])
    assert len(read_manifest(root)) == (3 if cut in ("lost image", "damaged mask") else 2)
    writer = PairWriter(root, RUN, resume=True)
    assert writer.done == 2 and len(read_manifest(root)) == 2
    for index in (2, 3):
        writer.write(**pair(index, normals))
    assert files(root) == expected


def test_resume_of_a_finished_run_and_of_one_that_has_not_started(tmp_path, normals):
    assert PairWriter(tmp_path / "new", RUN, resume=True).done == 0
    assert PairWriter(tmp_path / "new", RUN, resume=True).done == 0
    unbroken(tmp_path / "out", normals)
    assert PairWriter(tmp_path / "out", RUN, resume=True).done == 4


def test_a_run_stopped_before_its_first_pair_does_not_block_another(tmp_path, normals):
    expected = unbroken(tmp_path / "whole", normals, 1)
    root = tmp_path / "out"
    PairWriter(root, {**RUN, "seed": 7})
    (root / ".run.json.tmp").write_text("{")
    assert PairWriter(root, {**RUN, "seed": 8}, resume=True).done == 0
    writer = PairWriter(root, RUN)
    with refused(got="mask is empty"):
        writer.write(**pair(0, normals, mask=torch.zeros(8, 9)))
    assert unbroken(root, normals, 1) == expected
    with refused(got="not empty"):
        PairWriter(root, RUN)


def test_folders_that_are_not_this_run_are_refused(tmp_path, normals):
    root = tmp_path / "out"
    before = unbroken(root, normals, 1)
    with refused(got="not empty", remedy="choose another folder"):
        PairWriter(root, RUN)
    with pytest.raises(ValueError, match="seed: 1 there, 2 now") as error:
        PairWriter(root, {**RUN, "seed": 2}, resume=True)
    assert "size" not in str(error.value)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.png").write_bytes(b"")
    with refused(got="no run to resume"):
        PairWriter(tmp_path / "other", RUN, resume=True)
    with refused(got="a file, not a folder"):
        PairWriter(root / "run.json", RUN)
    with refused(got="cannot be stored as JSON"):
        PairWriter(tmp_path / "new", {"seed": torch.ones(1)})
    assert not (tmp_path / "new").exists() and files(root) == before


@pytest.mark.parametrize(
    "change, subject, got",
    [
        ({"mask": torch.zeros(8, 9)}, r"^pair 2 \(tile, crack, 0002\)$", "mask is empty"),
        ({"mask": torch.ones(9, 8)}, "^pair 2 ", r"mask has shape \[9, 8\], the picture \[8, 9\]"),
        ({"index": 3}, "^pair 3$", "out of order; the next to write is 2"),
        ({"index": 1}, "^pair 1$", "out of order"),
        ({"stem": "0000"}, "^pair 2$", "taken by another pair"),
        ({"stem": "a/b"}, "^stem$", "^'a/b'$"),
        ({"object": ".."}, "^object$", r"^'\.\.'$"),
        ({"object": "a\nb"}, "^object$", "^'a"),
        ({"type": "a\0b"}, "^type$", "^'a"),
        ({"object": "C:"}, "^object$", "^'C:'$"),
        ({"type": "a\\b"}, "^type$", "^'a"),
        ({"type": "é" * 128}, "^type$", "^'é"),
        ({"object": "\ud800"}, "^object$", ""),
        ({"object": "Manifest.jsonl"}, "^object$", "Manifest"),
        ({"object": "dropped.jsonl.late"}, "^object$", "dropped"),
        ({"type": "good"}, "^type$", "^'good'$"),
        ({"record": {"image": "x"}}, "^pair 2$", "record sets"),
        ({"record": {"visibility": float("nan")}}, "^the record of pair 2$", "cannot be stored as JSON"),
    ],
)
def test_bad_pairs_are_refused_before_anything_is_written(tmp_path, normals, change, subject, got):
    root = tmp_path / "out"
    before = unbroken(root, normals, 2)
    writer = PairWriter(root, RUN, resume=True)
    with refused(subject=subject, got=got):
        writer.write(**pair(2, normals, **change))
    assert files(root) == before and writer.done == 2


@pytest.mark.parametrize("failing", ["write_picture", "write", "fsync"])
def test_a_full_disk_leaves_no_half_pair(tmp_path, normals, monkeypatch, failing):
    expected = unbroken(tmp_path / "whole", normals, 3)
    root = tmp_path / "out"
    before = unbroken(root, normals, 2)
    writer = PairWriter(root, RUN, resume=True)
    real_write = os.write

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def short(file, data):
        return real_write(file, data[:10])

    with monkeypatch.context() as patch:
        if failing == "write_picture":
            patch.setattr(pairs, "write_picture", full)
        else:
            patch.setattr(os, failing, short if failing == "write" else full)
        with pytest.raises(OSError) as error:
            writer.write(**pair(2, normals))
        assert error.value.errno == errno.ENOSPC
    assert files(root) == before
    writer.write(**pair(2, normals))
    assert files(root) == expected


def test_damaged_or_missing_manifest(tmp_path, normals):
    with refused(got="no manifest.jsonl"):
        read_manifest(tmp_path)
    unbroken(tmp_path / "out", normals, 2)
    manifest = tmp_path / "out" / "manifest.jsonl"
    manifest.write_text("{]\n" + manifest.read_text())
    with refused(subject="line 1", got="not JSON"):
        read_manifest(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["size"] == [8, 8]


def test_a_growing_folder_with_pairs_deleted_by_hand_keeps_its_other_pairs(tmp_path, normals):
    root = tmp_path / "pairs"
    unbroken(root, normals, 4)
    (root / read_manifest(root)[1]["image"]).unlink()
    writer = PairWriter(root, RUN, resume=True, growing=True)
    assert writer.done == 4
    writer.write(**pair(4, normals))
    assert [record["index"] for record in read_manifest(root)] == [0, 1, 2, 3, 4]
    assert PairWriter(root, RUN, resume=True).done == 1


@pytest.mark.parametrize("index", [True, -1, 2**63, 10**400, "1", None, 1.0])
def test_a_growing_folder_with_a_line_of_no_index_is_refused_by_the_line(tmp_path, normals, index):
    unbroken(tmp_path / "out", normals, 2)
    first, second = read_manifest(tmp_path / "out")
    lines = [first, second | {"index": index}]
    (tmp_path / "out/manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = files(tmp_path / "out")
    with pytest.raises(ValueError, match=r"manifest.jsonl, line 2: its index is .*; accepted is a whole number from 0"):
        PairWriter(tmp_path / "out", RUN, resume=True, growing=True)
    assert files(tmp_path / "out") == before


def test_a_backup_of_hard_links_stays_as_it_is(tmp_path, normals):
    """As `cp -al` makes it: nothing that is added to the folder or cut off may change it."""
    unbroken(tmp_path / "out", normals, 2)
    for cut in (False, True):
        manifest, backup = tmp_path / "out/manifest.jsonl", tmp_path / f"backup {cut}.jsonl"
        if cut:
            manifest.write_bytes(manifest.read_bytes()[:-9])
        os.link(manifest, backup)
        before = backup.read_bytes()
        with PairWriter(tmp_path / "out", RUN, resume=True, growing=True) as writer:
            writer.write(**pair(writer.done, normals))
        assert backup.read_bytes() == before != manifest.read_bytes()
    assert [line["index"] for line in read_manifest(tmp_path / "out")] == [0, 1, 2]


def test_dropped_pairs_count_and_are_remembered(tmp_path, normals):
    root = tmp_path / "out"
    writer = PairWriter(root, RUN)
    writer.write(**pair(0, normals))
    with refused(got="out of order; the next to write is 1"):
        writer.drop(2, {"seed": 5})
    with refused(got="cannot be stored as JSON"):
        writer.drop(1, {"visibility": float("nan")})
    assert read_dropped(root) == []
    writer.drop(1, {"seed": 5})
    writer.write(**pair(2, normals))
    assert read_dropped(root) == [{"index": 1, "seed": 5}] and writer.done == 3
    assert [line["index"] for line in read_manifest(root)] == [0, 2]
    assert PairWriter(root, RUN, resume=True).done == 3
    (root / read_manifest(root)[0]["image"]).unlink()
    assert PairWriter(root, RUN, resume=True).done == 0 and read_dropped(root) == [{"index": 1, "seed": 5}]


def test_a_growing_folder_continues_after_its_last_pair_whatever_was_dropped_or_deleted(tmp_path, normals):
    root, growing = tmp_path / "out", {"resume": True, "growing": True}
    for index in range(6):  # opened anew for each, as a node does
        writer = PairWriter(root, RUN, **growing)
        assert writer.done == index
        writer.drop(index, {}) if index in (0, 2, 3, 5) else writer.write(**pair(index, normals))
    (root / "dropped.jsonl").write_bytes((root / "dropped.jsonl").read_bytes() + b'{"index": 6')
    assert PairWriter(root, RUN, **growing).done == 6
    for kept, done in (((3, 5), 6), ((), 5)):
        (root / "dropped.jsonl").write_text("".join(f'{{"index": {index}}}\n' for index in kept))
        assert PairWriter(root, RUN, **growing).done == done
        assert [[line["index"] for line in read(root)] for read in (read_manifest, read_dropped)] == [[1, 4], [*kept]]
    assert PairWriter(root, RUN, resume=True).done == 0, "a new run has no gaps"


def test_the_mean_is_over_what_was_written(tmp_path, normals):
    writer = PairWriter(tmp_path / "out", RUN)
    for index in range(4):
        writer.drop(index, {}) if index % 2 else writer.write(**pair(index, normals, record={"seconds": index}))
    assert writer.mean("seconds") == 1
