"""Pairs in other formats: read back by the field's own readers and by ours, stopped and continued."""

import contextlib
import errno
import json
import os

import numpy as np
import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.exports import FORMATS
from anomaly_synthesis.datasets.exports.export import export_pairs
from anomaly_synthesis.datasets.pairs import PairWriter, read_manifest
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.datasets.sample import NORMAL, read_sample
from anomaly_synthesis.images.components import pieces
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import Picture, read_picture, write_picture

from .refusals import refused

KINDS = [("tile", "crack"), ("tile", "hole"), ("bottle", "crack")]
SIZE = 31, 40


def mask_of(index):
    """A ring with a hole, specks that touch at a corner, a line of one pixel, and noise."""
    rng = np.random.default_rng(index)
    mask = rng.random(SIZE) < 0.02
    mask[3:12, 4:14] = True
    mask[6:9, 7:10] = False
    mask[20, 20], mask[21, 21], mask[28, :9] = True, True, True
    return mask


def write(writer, index, kind, normal, refined_mask=None, **record):
    picture = Picture(np.random.default_rng(100 + index).integers(0, 256, (*SIZE, 3), np.uint8))
    record = {"seed": index, "visible": index % 3 != 2, "seconds": 0.5} | record
    writer.write(
        index=index,
        object=kind[0],
        type=kind[1],
        stem=f"{index:04}",
        picture=picture,
        mask=torch.from_numpy(mask_of(index)),
        normal_source=normal,
        record=record,
        refined_mask=refined_mask,
    )


@pytest.fixture
def normals(tmp_path):
    """Two normal images of one name."""
    paths = [tmp_path / "source" / folder / "n.png" for folder in "ab"]
    for value, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        write_picture(path, Picture(np.full((*SIZE, 3), 50 + value, np.uint8)))
    return paths


@pytest.fixture
def make(tmp_path, normals):
    """make(name, count, kinds) writes a folder of pairs, or adds to it."""

    def made(name="pairs", count=6, kinds=KINDS):
        writer = PairWriter(tmp_path / name, {"made_by": "test"}, resume=True, growing=True)
        for index in range(writer.done, count):
            write(writer, index, kinds[index % len(kinds)], normals[index % 2])
        return tmp_path / name

    return made


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def annotations(out):
    return json.loads((out / "annotations" / "instances.json").read_bytes())


@pytest.mark.parametrize("segmentation", ["rle", "polygon"])
def test_pycocotools_decodes_every_piece_to_the_masks_pixels(tmp_path, make, segmentation):
    coco = pytest.importorskip("pycocotools.coco")
    pairs, out = make(), tmp_path / "out"
    export_pairs(pairs, out, "coco", segmentation=segmentation)
    read = coco.COCO(str(out / "annotations" / "instances.json"))
    names = {one["id"]: (one["supercategory"], one["name"]) for one in read.loadCats(read.getCatIds())}
    assert sorted(names.values()) == [("bottle", "bottle_crack"), ("tile", "tile_crack"), ("tile", "tile_hole")]
    for source, line in zip(read_manifest(pairs), read_manifest(out), strict=True):
        mask = read_mask(pairs / source["mask"]).numpy()
        (image,) = read.loadImgs(line["image_id"])
        assert line["image"] == f"images/{image['file_name']}" and (image["height"], image["width"]) == SIZE
        found = read.loadAnns(read.getAnnIds(imgIds=image["id"]))
        decoded = [read.annToMask(one).astype(bool) for one in found]
        assert np.array_equal(np.sum(decoded, axis=0), mask.astype(int))  # no pixel missed, none twice
        assert len(found) == len(list(pieces(mask)))
        for one, region in zip(found, decoded, strict=True):
            rows, columns = np.nonzero(region)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert one["bbox"] == box and one["area"] == region.sum() and one["iscrowd"] == 0
            assert names[one["category_id"]] == (line["object"], f"{line['object']}_{line['type']}")
    normal = {line["normal"] for line in read_manifest(out)}
    bare = [one["file_name"] for one in read.dataset["images"] if not read.getAnnIds(imgIds=one["id"])]
    assert {f"images/{name}" for name in bare} == normal and len(bare) == 4  # two files, of two objects
    assert len({one["id"] for one in read.dataset["annotations"]}) == len(read.dataset["annotations"])


def _drawn(points):
    import cv2

    canvas = np.zeros(SIZE, np.uint8)
    scaled = points.astype(np.float32).reshape(-1, 2) * np.array(SIZE[::-1], np.float32)
    cv2.fillPoly(canvas, [scaled.astype(np.int32)], 1)  # as Ultralytics draws a label
    return canvas.astype(bool)


def test_yolo_labels_drawn_as_trainers_draw_them_are_the_masks(tmp_path, make):
    pytest.importorskip("cv2")
    pairs, out = make(), tmp_path / "out"
    done = export_pairs(pairs, out, "yolo")
    assert (done.pairs, done.normals, done.broken) == (6, 4, 0)
    for source, line in zip(read_manifest(pairs), read_manifest(out), strict=True):
        rows = [np.array(row.split(), float) for row in (out / line["mask"]).read_text().splitlines()]
        mask = read_mask(pairs / source["mask"]).numpy()
        assert np.array_equal(np.sum([_drawn(row[1:]) for row in rows], axis=0), mask.astype(int))
        number = [("bottle", "crack"), ("tile", "crack"), ("tile", "hole")].index((line["object"], line["type"]))
        assert {row[0] for row in rows} == {number} and all(len(row) > 6 for row in rows)
        assert (out / line["normal"].replace("images", "labels").replace(".png", ".txt")).read_bytes() == b""
    assert len(list((out / "labels").iterdir())) == len(list((out / "images").iterdir())) == 10


def test_supervision_which_rounds_up_reads_yolo_labels_to_a_pixel(tmp_path, make):
    supervision = pytest.importorskip("supervision")
    pairs, out = make(kinds=[("tile", 'a "b": c'), ("tile", "größe #1")]), tmp_path / "out"
    export_pairs(pairs, out, "yolo")
    read = supervision.DetectionDataset.from_yolo(str(out / "images"), str(out / "labels"), str(out / "data.yaml"))
    assert read.classes == ['a "b": c', "größe #1"] and len(read) == 8
    lines = {str(out / line["image"]): line for line in read_manifest(out)}
    for path, image, detections in read:
        line = lines.pop(path, None)
        if line is None:
            assert len(detections) == 0
            continue
        mask = read_mask(pairs / read_manifest(pairs)[line["index"]]["mask"]).numpy()
        drawn = np.any(detections.mask, axis=0)
        grown = mask | np.pad(mask, ((0, 0), (1, 0)))[:, :-1]
        grown |= np.pad(grown, ((1, 0), (0, 0)))[:-1]
        assert not (mask & ~drawn).any() and not (drawn & ~grown).any() and image.shape[:2] == SIZE
        assert {read.classes[number] for number in detections.class_id} == {line["type"]}
    assert not lines


def test_plain_pairs_share_a_name_and_are_the_same_files(tmp_path, make):
    pairs, out = make(), tmp_path / "out"
    export_pairs(pairs, out, "plain")
    for source, line in zip(read_manifest(pairs), read_manifest(out), strict=True):
        assert line["image"] == f"images/{line['index']:06d}_{line['object']}_{line['type']}.png"
        assert line["mask"] == line["image"].replace("images", "masks")
        for key in ("image", "mask", "normal"):
            assert (out / line[key]).read_bytes() == (pairs / source[key]).read_bytes()
        assert {key: line[key] for key in source if key not in ("image", "mask", "normal")} == {
            key: source[key] for key in source if key not in ("image", "mask", "normal")
        }
    assert len(list((out / "normals").iterdir())) == 4


@pytest.mark.parametrize(
    ("format", "segmentation", "layout"),
    [("coco", "rle", "coco"), ("coco", "polygon", "coco"), ("plain", None, "stems")],
)
def test_our_own_readers_take_the_export_for_the_dataset_that_it_is(tmp_path, make, format, segmentation, layout):
    pairs, out = make(kinds=KINDS[:2]), tmp_path / "tile"
    export_pairs(pairs, out, format, segmentation=segmentation)
    samples, lines = read_dataset(out), {line["image"]: line for line in read_manifest(out)}
    assert {one.name for one in samples if one.type == NORMAL} == {line["normal"] for line in lines.values()}
    assert len(samples) == 6 + 2 and {one.object for one in samples} == {"tile"}
    for sample in samples:
        if sample.type == NORMAL:
            continue
        line = lines.pop(sample.name)
        assert sample.type == (line["type"] if layout == "coco" else "damaged")
        picture, mask = read_sample(sample)
        source = read_manifest(pairs)[line["index"]]
        assert torch.equal(mask, read_mask(pairs / source["mask"]))
        assert np.array_equal(picture.pixels, read_picture(pairs / source["image"]).pixels)
    assert not lines


@pytest.mark.parametrize("format", FORMATS)
def test_visible_only_and_no_normals_leave_the_rest_unchanged(tmp_path, make, format):
    pairs = make()
    export_pairs(pairs, tmp_path / "all", format)
    done = export_pairs(pairs, tmp_path / "some", format, visible_only=True, normals=False)
    lines = read_manifest(tmp_path / "some")
    assert [line["index"] for line in lines] == [0, 1, 3, 4] and (done.pairs, done.normals) == (4, 0)
    assert all(line["normal"] is None for line in lines)
    some, every = files(tmp_path / "some"), files(tmp_path / "all")
    images = {name for name in some if name.startswith("images/")}
    assert images == {line["image"] for line in lines} and not any("good" in name for name in some)
    if format != "yolo":  # its classes depend on the pairs that are left
        assert all(some[name] == every[name] for name in images)


def test_pairs_of_unknown_visibility_are_not_known_to_be_visible(tmp_path, normals):
    writer = PairWriter(tmp_path / "pairs", {})
    for index, visible in enumerate((None, True)):
        write(writer, index, KINDS[0], normals[0], visible=visible)
    assert export_pairs(tmp_path / "pairs", tmp_path / "out", "plain", visible_only=True).pairs == 1


class _Stop(Exception):
    pass


def _stopped_after(pairs, out, format, count, **settings):
    """An export that ends as after kill -9, without any clean-up by Python."""
    if pid := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
        return

    def report(done, of):
        if done == count:
            os.kill(os.getpid(), 9)

    with contextlib.suppress(BaseException):
        export_pairs(pairs, out, format, report=report, **settings)
    os._exit(0)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("copied", [False, True])
def test_a_killed_export_continued_is_an_unbroken_one(tmp_path, make, monkeypatch, format, copied):
    if copied:
        monkeypatch.setattr(os, "link", _full)
    pairs, out = make(), tmp_path / "out"
    export_pairs(pairs, tmp_path / "whole", format)
    for count in (1, 3, 4):
        _stopped_after(pairs, out, format, count, resume=True)
        assert not (out / "manifest.jsonl").exists(), "a folder that is not complete must not look so"
        with refused(got="not empty", remedy="choose another folder"):
            export_pairs(pairs, out, format)
    (out / "images" / ".000005_bottle_crack.png.tmp").write_bytes(b"half")
    export_pairs(pairs, out, format, resume=True)
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_follows_pairs_that_came_went_and_changed(tmp_path, make, format):
    pairs, out = make(count=4), tmp_path / "out"
    export_pairs(pairs, out, format)
    make(count=7)
    lines = read_manifest(pairs)
    (pairs / lines[0]["image"]).unlink()  # as by hand; another pair uses the same normal image
    (pairs / lines[3]["mask"]).write_bytes((pairs / lines[3]["mask"]).read_bytes()[:50])
    os.replace(pairs / lines[5]["image"], pairs / lines[2]["image"])
    mine = [out / "images" / name for name in ("mine.png", "20240131_120000.png")]  # also the name of a camera's file
    for path in mine:
        path.write_bytes(b"mine")
    done = export_pairs(pairs, out, format, resume=True)
    assert (done.pairs, done.broken) == (4, 3) and "000003" not in "".join(files(out))
    assert "0003_mask.png: not a readable image" in done.summary() and "3 pairs are not whole" in done.summary()
    for path in mine:
        path.unlink()
    export_pairs(pairs, tmp_path / "new", format)
    assert files(out) == files(tmp_path / "new")


def test_an_export_that_is_stopped_while_it_follows_is_not_complete(tmp_path, make):
    pairs, out = make(count=4), tmp_path / "out"
    export_pairs(pairs, out, "plain")
    line = read_manifest(pairs)[1]
    (pairs / line["image"]).unlink()
    _stopped_after(pairs, out, "plain", 3, resume=True)
    assert not (out / "manifest.jsonl").exists()
    with (out / "placed.jsonl").open("a") as names:
        names.write('"images/00')  # as a full disk cuts it
    export_pairs(pairs, out, "plain", resume=True)
    export_pairs(pairs, tmp_path / "new", "plain")
    assert files(out) == files(tmp_path / "new")


def test_a_first_pair_that_was_made_anew_is_still_of_the_same_pairs(tmp_path, make):
    pairs, out = make(), tmp_path / "out"
    export_pairs(pairs, out, "yolo")
    first, *others = (pairs / "manifest.jsonl").read_text().splitlines(keepends=True)
    (pairs / "manifest.jsonl").write_text(json.dumps(json.loads(first) | {"seconds": 123.0}) + "\n" + "".join(others))
    assert export_pairs(pairs, out, "yolo", resume=True).pairs == len(others) + 1


def _full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["export.json", "000002_bottle_crack.png", "manifest.jsonl"])
def test_a_full_disk_is_reported_and_leaves_nothing_half_written(tmp_path, make, monkeypatch, format, name):
    pairs, out = make(), tmp_path / "out"
    export_pairs(pairs, tmp_path / "whole", format)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", _full)
        replace = os.replace
        patch.setattr(os, "replace", lambda a, b: _full() if b.name == name else replace(a, b))
        with pytest.raises(OSError, match=r"cannot write \(No space left on device\).*out") as error:
            export_pairs(pairs, out, format)
    assert error.value.errno == errno.ENOSPC
    assert not [left for left in files(out) if left.endswith(".tmp")] and not (out / "manifest.jsonl").exists()
    whole = files(tmp_path / "whole")
    assert all(whole[written] == data for written, data in files(out).items() if written != "placed.jsonl")
    export_pairs(pairs, out, format, resume=True)
    assert files(out) == whole


def test_folders_that_are_no_such_export_are_refused_and_left_alone(tmp_path, make):
    pairs, out = make(), tmp_path / "out"
    export_pairs(pairs, out, "coco")
    before = files(out)
    for settings, words in [
        ({"format": "yolo"}, "format: 'coco' there, 'yolo' now"),
        ({"format": "coco", "segmentation": "polygon"}, "segmentation: 'rle' there, 'polygon' now"),
        ({"format": "coco", "visible_only": True}, "visible_only: False there, True now"),
        ({"format": "coco", "labels": "refined"}, "labels: '-' there, 'refined' now"),
    ]:
        with refused(got=f"it holds another export, .*{words}", remedy="choose another folder"):
            export_pairs(pairs, out, resume=True, **settings)
    other = make("other", kinds=KINDS[1:])
    with refused(got="it holds another export, .*pairs: '"):
        export_pairs(other, out, "coco", resume=True)
    assert files(out) == before
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "photo.png").write_bytes(b"")
    with refused(got="no export to resume", remedy="choose another folder"):
        export_pairs(pairs, tmp_path / "foreign", "coco", resume=True)
    with refused(got="a file, not a folder"):
        export_pairs(pairs, tmp_path / "foreign" / "photo.png", "coco")
    for mixed in (pairs, pairs / "out", tmp_path):
        with refused(got="would mix with the pairs"):
            export_pairs(pairs, mixed, "plain", resume=True)


def test_what_holds_no_pairs_is_refused_before_anything_is_written(tmp_path, make):
    pairs, out = make(count=1, kinds=KINDS[1:]), tmp_path / "out"
    line = read_manifest(pairs)[0]
    (tmp_path / "empty").mkdir()
    cases = [
        (tmp_path / "empty", {}, {"subject": "empty$", "got": "no manifest.jsonl"}),
        (pairs, {"format": "voc"}, {"subject": "^format$", "got": "^'voc'$", "accepted": "^coco, yolo, plain$"}),
        (
            pairs,
            {"format": "yolo", "segmentation": "rle"},
            {"got": "'rle' with format yolo", "remedy": "only coco has"},
        ),
        (pairs, {"labels": "true"}, {"subject": "^labels$", "got": "^'true'$", "accepted": "^refined, requested$"}),
        (pairs, {"segmentation": "mask"}, {"got": "'mask' with format coco", "accepted": "^rle, polygon$"}),
    ]
    for place, (change, fields) in enumerate(
        [
            ({"visible": False}, {"got": "none of its pairs is known to be visible", "remedy": "export all of them"}),
            ({"object": "../up"}, {"subject": "line 1: object$", "got": "^'../up'$", "accepted": "without slash"}),
            ({"index": "0"}, {"subject": "line 1$", "got": "index '0'", "accepted": "in index order"}),
            ({"image": "gone.png"}, {"got": "none of its 1 pairs is whole", "remedy": "make others"}),
        ]
    ):
        changed = tmp_path / f"changed {place}"
        changed.mkdir()
        (changed / "manifest.jsonl").write_text(json.dumps(line | change) + "\n")
        cases.append((changed, {"visible_only": "visible" in change}, fields))
    for folder, settings, fields in cases:
        with refused(**fields):
            export_pairs(folder, out, **{"format": "coco"} | settings)
        assert not out.exists()


def test_classes_that_would_be_called_the_same_are_refused(tmp_path, make):
    pairs = make(count=2, kinds=[("a", "b_c"), ("a_b", "c")])
    with refused(got="would both be class 'a_b_c'", remedy="rename one"):
        export_pairs(pairs, tmp_path / "out", "yolo")


def test_the_command(tmp_path, make, capsys):
    pairs, out = make(), tmp_path / "out"
    command = ["export", "--pairs", str(pairs), "--out", str(out), "--format", "coco"]
    assert cli.main([*command, "--segmentation", "polygon"]) == 0
    assert capsys.readouterr().out == f"{out}: 6 pairs, 4 normal images\n"
    assert all(isinstance(one["segmentation"], list) for one in annotations(out)["annotations"])
    assert cli.main([*command, "--segmentation", "polygon"]) == 1 and "or use --resume" in capsys.readouterr().err
    assert cli.main([*command, "--resume"]) == 1 and "rle" in capsys.readouterr().err
    assert cli.main([*command, "--segmentation", "polygon", "--resume"]) == 0
    refined = [*command[:4], str(tmp_path / "refined"), *command[5:], "--labels", "refined"]
    assert cli.main(refined) == 0 and "6 pairs have no refined mask" in capsys.readouterr().out
    with pytest.raises(SystemExit) as usage:
        cli.main([*command[:-1], "voc"])
    assert usage.value.code == 2


@pytest.fixture
def refined(tmp_path, normals):
    """Pairs 0 and 2 with a refined mask, pair 1 without, pair 3 as written before there were any."""
    writer = PairWriter(tmp_path / "pairs", {"made_by": "test"})
    for index in range(4):
        kept = torch.from_numpy(mask_of(index))
        kept[:, 10:] = False
        write(writer, index, KINDS[0], normals[0], refined_mask=None if index % 2 else kept)
    lines = read_manifest(tmp_path / "pairs")
    assert lines[0]["refined_mask"] and lines[3].pop("refined_mask") is None
    (tmp_path / "pairs" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "pairs"


@pytest.mark.parametrize("format", FORMATS)
def test_refined_masks_are_exported_where_a_pair_has_one(tmp_path, refined, format):
    out = tmp_path / "tile"
    done = export_pairs(refined, out, format, labels="refined")
    assert (done.pairs, done.unrefined) == (4, 2) and "2 pairs have no refined mask and keep" in done.summary()
    sources, lines = read_manifest(refined), read_manifest(out)
    assert [line.get("refined_mask", "no key") for line in lines] == [
        lines[0]["mask"],
        None,
        lines[2]["mask"],
        "no key",
    ]
    if format == "yolo":
        sizes = [len((out / line["mask"]).read_bytes()) for line in lines]
        requested = tmp_path / "requested"
        export_pairs(refined, requested, format)
        before = [len((requested / line["mask"]).read_bytes()) for line in read_manifest(requested)]
        assert [now < then for now, then in zip(sizes, before, strict=True)] == [True, False, True, False]
        return
    found = {sample.name: read_sample(sample)[1] for sample in read_dataset(out) if sample.type != NORMAL}
    for source, line in zip(sources, lines, strict=True):
        assert torch.equal(found[line["image"]], read_mask(refined / (source.get("refined_mask") or source["mask"])))


@pytest.mark.parametrize("format", FORMATS)
def test_requested_masks_are_exported_by_default_as_from_a_folder_without_refined_ones(tmp_path, refined, format):
    export_pairs(refined, tmp_path / "out", format)
    lines = read_manifest(tmp_path / "out")
    assert [line.get("refined_mask") for line in lines] == [None] * 4, "a path that does not open from the export"
    (refined / read_manifest(refined)[0]["refined_mask"]).unlink()  # not read
    export_pairs(refined, tmp_path / "again", format)
    assert files(tmp_path / "again") == files(tmp_path / "out")
    assert "labels" not in json.loads((tmp_path / "out" / "export.json").read_bytes())


def test_a_pair_whose_refined_mask_is_lost_or_damaged_is_left_out_and_named(tmp_path, refined):
    first, _, third, _ = read_manifest(refined)
    (refined / first["refined_mask"]).unlink()
    (refined / third["refined_mask"]).write_bytes((refined / third["refined_mask"]).read_bytes()[:40])
    done = export_pairs(refined, tmp_path / "out", "plain", labels="refined")
    assert (done.pairs, done.broken, done.unrefined) == (2, 2, 2) and "refined/crack/0002_mask.png" in done.summary()


@pytest.mark.parametrize("format", FORMATS)
def test_blank_pairs_and_all_but_the_first_of_the_same_are_left_out(tmp_path, make, normals, format):
    pairs = make(count=3, kinds=KINDS[:1])
    writer = PairWriter(pairs, {"made_by": "test"}, resume=True, growing=True)
    first = read_manifest(pairs)[0]
    again = dict(
        picture=read_picture(pairs / first["image"]),
        mask=read_mask(pairs / first["mask"]),
        normal_source=normals[0],
        object="tile",
        record={"visible": True},
    )
    added = [{}, {"type": "hole"}, {"picture": read_picture(normals[0])}, {}]
    for index, change in enumerate(added, 3):
        writer.write(**{"type": "crack"} | again | change, index=index, stem=f"{index:04}")
    done = export_pairs(pairs, tmp_path / "out", format)
    assert [line["index"] for line in read_manifest(tmp_path / "out")] == [0, 1, 2, 4]
    assert (done.pairs, done.repeated, done.blank, done.broken) == (4, 2, 1, 0)
    assert "4 pairs" in done.summary() and "2 duplicates" in done.summary() and "1 blank pairs" in done.summary()


def test_a_folder_of_blank_pairs_alone_is_refused_before_anything_is_written(tmp_path, normals):
    writer = PairWriter(tmp_path / "pairs", {"made_by": "test"})
    for index in range(2):
        writer.write(
            index=index,
            object="tile",
            type="crack",
            stem=str(index),
            picture=read_picture(normals[0]),
            mask=mask_of(index),
            normal_source=normals[0],
            record={},
        )
    with refused(got="2 of its 2 pairs are blank", remedy="bypassed"):
        export_pairs(tmp_path / "pairs", tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()


def test_a_duplicate_replaces_an_incomplete_pair(tmp_path, make, normals):
    pairs = make(count=2, kinds=KINDS[:1])
    first = read_manifest(pairs)[0]
    PairWriter(pairs, {"made_by": "test"}, resume=True, growing=True).write(
        index=2,
        object="tile",
        type="crack",
        stem="again",
        picture=read_picture(pairs / first["image"]),
        mask=read_mask(pairs / first["mask"]),
        normal_source=normals[0],
        record={},
    )
    (pairs / first["image"]).unlink()
    done = export_pairs(pairs, tmp_path / "out", "plain")
    assert [line["index"] for line in read_manifest(tmp_path / "out")] == [1, 2] and done.repeated == 0
