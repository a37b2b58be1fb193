"""A pair that was lost or damaged is made again alone: the folder ends with the bytes of an undisturbed run."""

import json
import logging
import os

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.pairs import PairWriter, read_dropped, read_manifest
from anomaly_synthesis.images.pictures import Picture, write_picture

from .refusals import refused

RUN, COUNT = {"seed": 3}, 10
DROPPED = (2, 5)


@pytest.fixture
def normals(tmp_path):
    """Two images of one name, a JPEG, and one that is no file."""
    paths = [tmp_path / "source" / folder / "n.png" for folder in "ab"]
    for value, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        write_picture(path, Picture(np.full((8, 9, 1), 50 + value, np.uint8)))
    photo = tmp_path / "source" / "photo.jpg"
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 9), np.uint8)).save(photo)
    return [*paths, photo, Picture(np.full((8, 9, 1), 90, np.uint8))]


def write(writer, index, normals):
    if index in DROPPED:
        writer.drop(index, {"seed": index})
        return
    mask = torch.zeros(8, 9, dtype=torch.bool)
    mask[index % 8, 1:4] = True
    writer.write(
        index=index,
        object="tile",
        type=("crack", "hole")[index % 2],
        stem=f"{index:04}",
        mask=mask,
        picture=Picture(np.full((8, 9, 1), index, np.uint8)),
        normal_source=normals[index % 4],
        record={"seed": index},
        refined_mask=mask & (torch.arange(9) < 3) if index % 4 == 0 else None,
    )


def run(root, normals, count=COUNT, resume=False, until=None):
    """Make pairs as synthesis.run.run does; return the indices that were made."""
    with PairWriter(root, RUN, resume=resume) as writer:
        for name, index in writer.lost_normals.items():
            writer.restore_normal(name, normals[index % 4])
        made = writer.missing(count)[:until]
        for index in made:
            write(writer, index, normals)
    return made


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _edit(root, name, change):
    lines = (root / name).read_bytes().splitlines(keepends=True)
    (root / name).write_bytes(b"".join(change(lines)))


def _line(root, index):
    return next(line for line in read_manifest(root) if line["index"] == index)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def _zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def _of(key, damage, index=4):
    return lambda root: damage(root / _line(root, index)[key])


def _lines(change, name="manifest.jsonl"):
    return lambda root: _edit(root, name, change)


def _other_size(path):
    write_picture(path, Picture(np.full((4, 4, 1), 255, np.uint8)))


def _outside(root):
    line = json.dumps(_line(root, 4) | {"image": "../source/a/n.png"}).encode() + b"\n"
    _edit(root, "manifest.jsonl", lambda lines: [*lines[:3], line, *lines[4:]])


# Line 3 of the manifest is pair 4, since 2 was dropped.
DAMAGES = {
    "image gone": (_of("image", os.unlink), [4]),
    "image cut": (_of("image", _truncate), [4]),
    "image zeros": (_of("image", _zero), [4]),
    "image of another size": (_of("image", _other_size), [4]),
    "mask gone": (_of("mask", os.unlink), [4]),
    "mask cut": (_of("mask", _truncate), [4]),
    "refined mask gone": (_of("refined_mask", os.unlink), [4]),
    "refined mask cut": (_of("refined_mask", _truncate), [4]),
    "refined mask of another size": (_of("refined_mask", _other_size), [4]),
    "mask empty file": (_of("mask", lambda path: path.write_bytes(b"")), [4]),
    "line gone": (_lines(lambda lines: lines[:3] + lines[4:]), [4]),
    "line garbled": (_lines(lambda lines: [*lines[:3], lines[3][:-9] + b"\n", *lines[4:]]), [4]),
    "line of zeros": (_lines(lambda lines: [*lines[:3], bytes(30) + b"\n", *lines[4:]]), [4]),
    "line is a list": (_lines(lambda lines: [*lines[:3], b"[1]\n", *lines[4:]]), [4]),
    "line nested deep": (_lines(lambda lines: [*lines[:3], b"[" * 99_999 + b"\n", *lines[4:]]), [4]),
    "line leads outside": (_outside, [4]),
    "line twice": (_lines(lambda lines: [*lines[:4], lines[3], *lines[4:]]), []),
    "lines swapped": (_lines(lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]]), []),
    "an empty line": (_lines(lambda lines: [*lines[:2], b"\n", *lines[2:]]), []),
    "last line cut": (_lines(lambda lines: [*lines[:-1], lines[-1][:15]]), [9]),
    "first line and last image": (
        lambda root: (_of("image", os.unlink, 8)(root), _edit(root, "manifest.jsonl", lambda lines: lines[1:])),
        [0, 8],
    ),
    "manifest gone": (lambda root: (root / "manifest.jsonl").unlink(), [0, 1, 3, 4, 6, 7, 8, 9]),
    "dropped line gone": (_lines(lambda lines: lines[1:], "dropped.jsonl"), [2]),
    "dropped line twice": (_lines(lambda lines: [lines[0], *lines], "dropped.jsonl"), []),
    "dropped line garbled": (_lines(lambda lines: [b"{{\n", lines[1]], "dropped.jsonl"), [2]),
    "dropped gone": (lambda root: (root / "dropped.jsonl").unlink(), [2, 5]),
    "normal gone": (_of("normal", os.unlink), []),
    "normal cut": (_of("normal", _truncate), []),
    "normal of two pairs gone": (_of("normal", os.unlink, 0), []),
    "both copies of a normal gone": (lambda root: [path.unlink() for path in root.rglob("n_2.png")], []),
    "both copies of a photo cut": (lambda root: [_truncate(path) for path in root.rglob("photo.jpg")], []),
    "all normals gone": (lambda root: [path.unlink() for path in root.rglob("good/*")], []),
    "test/good gone": (lambda root: [path.unlink() for path in root.glob("*/test/good/*")], []),
    "image, mask and normal": (
        lambda root: [path.unlink() for path in list(root.rglob("*0003*")) + list(root.rglob("normal_*"))],
        [3],
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_lost_in_the_middle_is_made_again_alone(tmp_path, normals, damage):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        run(root, normals)
    kept = {path: path.stat().st_mtime_ns for path in broken.rglob("*.png")}
    hurt, expected = DAMAGES[damage]
    hurt(broken)
    assert files(broken) != files(whole)
    assert run(broken, normals, resume=True) == expected
    assert files(broken) == files(whole)
    untouched = [path for path in kept if path.parent.name in ("crack", "hole") and int(path.stem[:4]) not in expected]
    assert all(path.stat().st_mtime_ns == kept[path] for path in untouched)
    assert run(broken, normals, resume=True) == []


def test_a_folder_from_before_refined_masks_is_resumed_as_it_is(tmp_path, normals):
    root = tmp_path / "old"
    run(root, normals)
    without = [{key: value for key, value in line.items() if key != "refined_mask"} for line in read_manifest(root)]
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in without))
    assert run(root, normals, resume=True) == [] and read_manifest(root) == without


def test_many_losses_and_a_kill_in_the_middle_of_making_them_again(tmp_path, normals):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole, normals)
    run(broken, normals, 8)
    for index in (0, 3, 6):
        (broken / _line(broken, index)["image"]).unlink()
    assert run(broken, normals, resume=True, until=2) == [0, 3], "stopped with a pair still lost"
    assert [line["index"] for line in read_manifest(broken)] == [0, 1, 3, 4, 7]
    writer = PairWriter(broken, RUN, resume=True)
    assert writer.done == 6 and list(writer.lost) == [6] and writer.end == 8
    write(writer, 8, normals)
    write(writer, 6, normals)
    del writer  # as after a kill, but without the lock
    assert run(broken, normals, resume=True) == [9]
    assert files(broken) == files(whole)


def test_a_kill_before_late_lines_are_in_place_loses_none(tmp_path, normals):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        run(root, normals)
    for index in (1, 4):
        (broken / _line(broken, index)["mask"]).unlink()
    writer = PairWriter(broken, RUN, resume=True)
    write(writer, 1, normals)
    assert [line["index"] for line in read_manifest(broken)] == [0, 3, 6, 7, 8, 9], "in order at any moment"
    (broken / "manifest.jsonl.late").write_bytes((broken / "manifest.jsonl.late").read_bytes() + b'{"index": 4, "im')
    del writer
    assert run(broken, normals, resume=True) == [4]
    assert files(broken) == files(whole)


def test_lost_pairs_are_named_and_an_index_that_is_not_lost_is_refused(tmp_path, normals, caplog):
    run(tmp_path / "out", normals)
    (tmp_path / "out" / _line(tmp_path / "out", 3)["image"]).unlink()
    with caplog.at_level(logging.WARNING):
        writer = PairWriter(tmp_path / "out", RUN, resume=True)
    assert "lost or damaged, to be made again: 3" in caplog.text
    for index in (4, 11, -1):
        with refused(got="out of order; the next to write is 3"):
            writer.drop(index, {})
    assert [line["index"] for line in read_dropped(tmp_path / "out")] == [*DROPPED]


def test_users_files_share_no_inode_with_the_folder_also_after_older_versions_linked_them(tmp_path, normals):
    root = tmp_path / "out"
    run(root, normals)
    inodes = [path.stat().st_ino for path in [*root.rglob("*"), *normals[:3]] if path.is_file()]
    assert len(set(inodes)) == len(inodes)
    before = normals[0].read_bytes()
    for place in ("train", "test"):
        old = root / f"tile/{place}/good/n.png"
        old.unlink()
        os.link(normals[0], old)
    assert run(root, normals, COUNT + 4, resume=True) == [10, 11, 12, 13]
    for place in ("train", "test"):
        (root / f"tile/{place}/good/n.png").write_bytes(b"changed by a tool")
    assert normals[0].read_bytes() == before
