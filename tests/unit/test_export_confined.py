"""An export writes and removes only below its own folder, and reads only below the pairs', whatever files say."""

import json
import os

import numpy as np
import pytest
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.exports import FORMATS
from anomaly_synthesis.datasets.exports.export import export_pairs
from anomaly_synthesis.datasets.pairs import PairWriter, read_manifest
from anomaly_synthesis.files.durable import open_atomic, write_atomic
from anomaly_synthesis.files.relative_path import below, check_relative
from anomaly_synthesis.images.pictures import Picture, write_picture
from anomaly_synthesis.synthesis.worst import worst_pairs

from .refusals import refused

COUNT = 4


@pytest.fixture
def pairs(tmp_path):
    normal = tmp_path / "user" / "n.png"
    normal.parent.mkdir()
    write_picture(normal, Picture(np.full((9, 9, 1), 70, np.uint8)))
    with PairWriter(tmp_path / "pairs", {}) as writer:
        for index in range(COUNT):
            writer.write(
                index=index,
                object="tile",
                type="crack",
                stem=f"{index:04}",
                normal_source=normal,
                picture=Picture(np.full((9, 9, 1), index, np.uint8)),
                mask=np.eye(9),
                record={"visibility": 1.0},
            )
    (tmp_path / "user" / "photo.png").write_bytes(normal.read_bytes())
    return tmp_path / "pairs"


def everything(root):
    return {
        path: (os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None)
        for path in root.rglob("*")
    }


ESCAPES = [
    "../user/photo.png",
    "/etc/hostname",
    "tile/../../user/photo.png",
    "C:/photo.png",
    "C:photo.png",
    "\\\\host\\x.png",
    "..\\user\\photo.png",
    "//host/x.png",
    "tile/test/a\0.png",
    "a\nb.png",
    "",
    ".",
    "..",
    "\ud800.png",
    "x" * 256,
    7,
    ["a"],
    {"a": 1},
    True,
    "tile/" + "é" * 130,
]


@pytest.mark.parametrize("name", ESCAPES, ids=lambda name: ascii(name)[:20])
@pytest.mark.parametrize("key", ["image", "mask", "normal"])
def test_a_manifest_that_leads_out_is_refused_by_its_line_before_anything_is_written(tmp_path, pairs, key, name):
    lines = read_manifest(pairs)
    lines[2][key] = name
    (pairs / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = everything(tmp_path)
    for act in (lambda: export_pairs(pairs, tmp_path / "out", "plain"), lambda: worst_pairs(pairs, "visibility", 2)):
        with refused(subject=f"manifest.jsonl, line 3: {key}$", accepted="a relative path"):
            act()
    assert everything(tmp_path) == before


@pytest.mark.parametrize("planted", ["file", "folder", "device", "pipe", "manifest", "run"])
def test_links_and_devices_among_the_pairs_are_not_read(tmp_path, pairs, planted):
    image = pairs / read_manifest(pairs)[1]["image"]
    if planted == "folder":
        image.parent.rename(tmp_path / "user" / "crack")
        image.parent.symlink_to(tmp_path / "user" / "crack")
    elif planted in ("manifest", "run"):
        path = pairs / {"manifest": "manifest.jsonl", "run": "run.json"}[planted]
        path.rename(tmp_path / "user" / "moved")
        path.symlink_to(tmp_path / "user" / "moved")
    else:
        image.unlink()
        os.mkfifo(image) if planted == "pipe" else image.symlink_to(
            {"file": "../../../../user/photo.png", "device": "/dev/zero"}[planted]
        )
    before = everything(tmp_path)
    line = {"manifest": "pairs$", "run": "pairs$", "folder": "line 1: image$"}.get(planted, "line 2: image$")
    with refused(subject=line, got="(a link that leads out of|a device, a pipe or a socket)"):
        export_pairs(pairs, tmp_path / "out", "plain")
    if planted not in ("run",):
        with refused(subject=line):
            worst_pairs(pairs, "visibility", 2)
    assert everything(tmp_path) == before


def test_links_that_stay_inside_and_a_folder_that_is_a_link_are_read(tmp_path, pairs):
    line = read_manifest(pairs)[1]
    (pairs / line["image"]).rename(pairs / "moved.png")
    (pairs / line["image"]).symlink_to(pairs / "moved.png")
    (tmp_path / "name").symlink_to(pairs)
    assert export_pairs(tmp_path / "name", tmp_path / "out", "plain").pairs == COUNT
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "line",
    [
        *map(json.dumps, ESCAPES),
        "{",
        "null",
        "[" * 99_999,
        '"export.json"',
        '"placed.jsonl"',
        '"./export.json"',
        '"EXPORT.json"',
        '".//placed.jsonl"',
    ],
    ids=lambda line: line[:20],
)
def test_a_journal_that_leads_out_is_refused_by_its_line_and_nothing_is_touched(tmp_path, pairs, format, line):
    out = tmp_path / "out"
    export_pairs(pairs, out, format)
    with (out / "placed.jsonl").open("a") as journal:
        journal.write(line + "\n")
    before, number = everything(tmp_path), (out / "placed.jsonl").read_bytes().count(b"\n")
    with refused(subject=rf"placed.jsonl, line {number}$"):
        export_pairs(pairs, out, format, resume=True)
    assert everything(tmp_path) == before


def test_the_command_names_the_line_and_leaves_the_users_file(tmp_path, pairs, capsys):
    out = tmp_path / "out"
    command = ["export", "--pairs", str(pairs), "--out", str(out), "--format", "coco", "--resume"]
    assert cli.main(command) == 0
    with (out / "placed.jsonl").open("a") as journal:
        journal.write('"../user/photo.png"\n')
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert "placed.jsonl, line" in error and "'../user/photo.png' leads out of the folder" in error
    assert (tmp_path / "user" / "photo.png").exists()


@pytest.mark.parametrize(
    ("format", "inner"),
    [*((format, "images") for format in FORMATS), ("yolo", "labels"), ("coco", "annotations"), ("plain", "masks")],
)
def test_a_folder_of_the_export_that_became_a_link_is_not_followed(tmp_path, pairs, format, inner):
    out, user = tmp_path / "out", tmp_path / "user"
    export_pairs(pairs, out, format)
    (out / inner).rename(user / inner)
    (out / inner).symlink_to(user / inner)
    (pairs / read_manifest(pairs)[0]["image"]).unlink()  # what a sweep would remove
    before = everything(user)
    with refused(got="is a link that leads out of"):
        export_pairs(pairs, out, format, resume=True)
    assert everything(user) == before


@pytest.mark.parametrize("format", FORMATS)
def test_files_of_the_export_that_became_links_are_replaced_not_followed(tmp_path, pairs, format):
    out, user = tmp_path / "out", tmp_path / "user"
    export_pairs(pairs, tmp_path / "whole", format)
    export_pairs(pairs, out, format)
    for number, path in enumerate(path for path in list(out.rglob("*")) if path.is_file()):
        if path.name in ("export.json", "placed.jsonl"):
            continue
        target = user / f"{number}"
        path.rename(target)
        path.symlink_to(target) if number % 2 else os.link(target, path)
        path.with_name(f".{path.name}.tmp").symlink_to(user / "photo.png")
    before = everything(user)
    try:
        export_pairs(pairs, out, format, resume=True)
    except ValueError as error:  # a link named in the journal is refused, by its line
        assert "is a link that leads out of" in str(error)
        for path in list(out.rglob("*")):
            if path.is_symlink():
                path.unlink()
        export_pairs(pairs, out, format, resume=True)
    assert everything(user) == before
    found, expected = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (out, tmp_path / "whole")
    )
    assert found == expected and not [path for path in out.rglob("*") if path.is_symlink()]


def test_a_backup_of_hard_links_keeps_its_journal(tmp_path, pairs):
    out, backup = tmp_path / "out", tmp_path / "backup.jsonl"
    export_pairs(pairs, out, "plain")
    (out / "placed.jsonl").write_text('"images/gone.png"\n"images/cut')
    os.link(out / "placed.jsonl", backup)
    assert export_pairs(pairs, out, "plain", resume=True).pairs == COUNT
    assert backup.read_text() == '"images/gone.png"\n"images/cut'


def test_a_journal_that_is_a_link_is_refused(tmp_path, pairs):
    out = tmp_path / "out"
    export_pairs(pairs, out, "plain")
    (out / "placed.jsonl").rename(tmp_path / "user" / "placed")
    (out / "placed.jsonl").symlink_to(tmp_path / "user" / "placed")
    before = everything(tmp_path / "user")
    with refused(subject="placed.jsonl", got="a link", remedy="remove it"):
        export_pairs(pairs, out, "plain", resume=True)
    assert everything(tmp_path / "user") == before


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("link", [False, True])
def test_no_file_of_an_export_shares_its_inode_without_the_option(tmp_path, pairs, format, link):
    out = tmp_path / "out"
    export_pairs(pairs, out, format)
    old = out / read_manifest(out)[0]["image"]
    old.unlink()
    os.link(pairs / read_manifest(pairs)[0]["image"], old)  # as older versions did
    export_pairs(pairs, out, format, resume=True, link=link)
    mine = {path.stat().st_ino for path in pairs.rglob("*") if path.is_file()}
    shared = {path.relative_to(out).parts[0] for path in out.rglob("*") if path.stat().st_ino in mine}
    assert shared == (({"images"} | ({"masks"} if format == "plain" else set())) if link else set())
    normals = [out / line["normal"] for line in read_manifest(out)]
    assert all(path.stat().st_nlink == 1 for path in normals)
    export_pairs(pairs, tmp_path / "copied", format)
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == {
        path.relative_to(tmp_path / "copied"): path.read_bytes()
        for path in (tmp_path / "copied").rglob("*")
        if path.is_file()
    }


def test_the_link_option_of_the_command(tmp_path, pairs):
    command = ["export", "--pairs", str(pairs), "--format", "plain", "--out"]
    assert cli.main([*command, str(tmp_path / "a"), "--link"]) == 0
    assert cli.main([*command, str(tmp_path / "b")]) == 0
    first = pairs / read_manifest(pairs)[0]["image"]
    assert (tmp_path / "a" / read_manifest(tmp_path / "a")[0]["image"]).samefile(first)
    assert not (tmp_path / "b" / read_manifest(tmp_path / "b")[0]["image"]).samefile(first)


def test_atomic_files_never_write_through_what_lies_under_their_temporary_name(tmp_path):
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    for plant in (lambda path: path.symlink_to(mine), lambda path: os.link(mine, path)):
        plant(tmp_path / ".new.tmp")
        write_atomic(tmp_path / "new", b"data")
        plant(tmp_path / ".new.tmp")
        with pytest.raises(ZeroDivisionError), open_atomic(tmp_path / "new") as file:
            file.write(b"half")
            1 / 0  # noqa: B018
        assert mine.read_bytes() == b"mine" and (tmp_path / "new").read_bytes() == b"data"


def test_paths_below_a_folder(tmp_path):
    (tmp_path / "a b").mkdir()
    for name in ("a b/ü.png", "a b/no/such/file", "...", "..a/b", "a..b", "x" * 255):
        assert check_relative(name, "") == name
        assert below(tmp_path, name, "") == tmp_path.resolve() / name
    for name in ("../" + tmp_path.name + "/a", "a/../b"):
        with refused(subject="^here", got=".*leads out of the folder", accepted="a relative path"):
            below(tmp_path, name, "here")
