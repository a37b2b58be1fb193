"""The report on a dataset: its figures, its problems, its command."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.groups import find_groups
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.inspection_text import as_text
from anomaly_synthesis.datasets.pairs import PairWriter, read_manifest
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.datasets.split import check_leak, make_split
from anomaly_synthesis.images.pictures import Picture
from PIL import Image

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def tile(put, spot, tmp_path):
    for number, size in enumerate(((12, 16), (20, 30), (16, 12))):
        put(f"tile/train/good/{number}.png", size=size)
    put("tile/test/good/9.png")
    for number, mask in enumerate((spot((0, 3), (0, 5)), spot((0, 10), (0, 10)), spot((0, 11), (0, 10)))):
        mask[11, 15] = 255  # a second piece
        put(f"tile/test/crack/{number}.png")
        put(f"tile/ground_truth/crack/{number}_mask.png", mask)
    return tmp_path / "tile"


def test_the_figures_are_those_of_the_files(tile):
    values = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    Image.fromarray(values).save(tile / "train" / "good" / "0.png")
    inspection = inspect_dataset(tile)
    one = inspection.objects["tile"]
    assert inspection.images == 7 and inspection.unusable == 0 and inspection.problems == ()
    assert one.normal == {"train": 3, "test": 1} and one.defective == 3
    assert (one.smallest, one.largest) == ((12, 16), (20, 30))
    assert one.formats == {"8-bit grey": 6, "8-bit colour": 1}
    crack = one.types["crack"]
    assert crack.area == (16, 33, 101, 109, 111) and crack.share == tuple(area / 192 for area in crack.area)
    assert (crack.images, crack.small, crack.tiny, crack.pieces) == (3, 1, 0, (2, 2))
    text = as_text(inspection)
    assert "tile: 4 normal (3 train, 1 test), 3 with a defect; 16 x 12 to 30 x 20 px; 6 8-bit grey, 1 8-bit" in text
    assert "crack       3        16    33     101   109      111" in text and text.endswith("no problems")


@pytest.mark.parametrize("with_key", [True, False])
def test_refined_masks_of_pairs_are_no_problem_nor_is_a_manifest_from_before_them(tmp_path, with_key):
    mask = np.zeros((12, 16), bool)
    mask[2:6, 2:9] = True
    picture, normal = (Picture(np.full((12, 16, 1), level, np.uint8)) for level in (90, 50))
    names = dict(index=0, object="tile", type="crack", stem="0")
    with PairWriter(tmp_path, {}) as writer:
        refined = mask & (np.arange(16) < 5) if with_key else None
        writer.write(**names, picture=picture, mask=mask, normal_source=normal, record={}, refined_mask=refined)
    if not with_key:
        line = read_manifest(tmp_path)[0]
        assert line.pop("refined_mask") is None
        (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    for folder in (tmp_path, tmp_path / "tile"):
        inspection = inspect_dataset(folder)
        assert inspection.objects["tile"].defective == 1
        assert "not read" not in as_text(inspection)


def test_an_empty_mask_and_equal_files_are_problems(tile, put, spot):
    put("tile/ground_truth/crack/0_mask.png", spot(value=0))
    (tile / "train" / "good" / "copy.png").write_bytes((tile / "test" / "crack" / "1.png").read_bytes())
    (tile / "test" / "crack" / "2.png").write_bytes((tile / "test" / "crack" / "0.png").read_bytes())
    (tile / "train" / "good" / "again.png").write_bytes((tile / "train" / "good" / "0.png").read_bytes())
    problems = {problem.file: problem for problem in inspect_dataset(tile).problems}
    assert "the mask is empty" in problems["ground_truth/crack/0_mask.png"].what
    contradiction = problems["test/crack/1.png"]
    assert contradiction.unusable and "one is normal, one has a defect" in contradiction.what
    assert "train/good/copy.png" in contradiction.what
    double = problems["train/good/0.png"]
    assert not double.unusable and double.what == "the same as train/good/again.png"
    assert "test/crack/0.png" not in problems, "it could not be read with its mask"


def test_possible_leaks_between_parts_are_reported(tile):
    (tile / "manifest.csv").write_text(
        "file,group\n"
        + "".join(
            f"{sample.name},{'a' if 'crack' in sample.name or sample.name.endswith('9.png') else sample.name}\n"
            for sample in read_dataset(tile)
        )
    )
    inspection = inspect_dataset(tile)
    assert f"4 of 7 images, from column 'group' of {tile / 'manifest.csv'}" in inspection.groups
    assert inspection.unusable == 0 and {problem.file for problem in inspection.problems} == {"tile/crack", "."}
    (tile / "manifest.csv").write_text("file,group\ntrain/good/0.png,a\n")
    assert "no groups can be made" in inspect_dataset(tile).problems[0].what


def test_the_command_prints_and_writes_the_report(tile, put, spot, tmp_path, capsys):
    out = tmp_path / "report.json"
    assert cli.main(["inspect", str(tile), "--json", str(out)]) == 0
    assert "MVTec layout (it holds train/good)" in capsys.readouterr().out
    stored = json.loads(out.read_text())
    assert stored["objects"]["tile"]["types"]["crack"]["area"] == [16, 33, 101, 109, 111]
    assert stored["quantiles"] == [0, 0.1, 0.5, 0.9, 1] and stored["problems"] == []
    put("tile/ground_truth/crack/0_mask.png", spot(value=0))
    assert cli.main(["inspect", str(tile), "--layout", "mvtec"]) == 1
    seen = capsys.readouterr()
    assert "1 to fix" in seen.out and "the mask is empty" in seen.out and "before it can be used: 1" in seen.err
    assert cli.main(["inspect", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert cli.main(["inspect", str(tile), "--layout", "coco"]) == 1
    assert "not in COCO layout" in capsys.readouterr().err


def test_the_report_streams(put, spot, tmp_path):
    """What is kept of an image is a few numbers: twice the images, not twice the memory."""
    import tracemalloc

    def peak():
        tracemalloc.start()
        inspect_dataset(tmp_path)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    def add(first, last):
        for number in range(first, last):
            put(f"images/{number}.png", size=(300, 300))
            put(f"masks/{number}.png", spot(size=(300, 300)))

    add(0, 5)
    few = peak()
    add(5, 20)
    assert peak() < few + 15 * 20_000, "an image of 90,000 pixels left more than 20 kB behind"


@pytest.mark.skipif(not DATA.is_dir(), reason="NO REAL DATA beside the repository")
@pytest.mark.parametrize("name", ["bsdata", "magnetic_tile", "mvtec_screw"])
def test_real_data_is_reported_as_its_manifest_has_it_and_split_without_a_leak(name):
    with (DATA / "manifest.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["dataset"] == name]
    images = [row for row in rows if "/ground_truth/" not in row["file"]]
    counts = Counter(row["class"] for row in images)
    inspection = inspect_dataset(DATA / name)
    (found,) = inspection.objects.values()
    assert inspection.unusable == 0 and inspection.images == len(images)
    assert {type: masks.images for type, masks in found.types.items()} | {"good": sum(found.normal.values())} == counts
    assert found.normal == Counter(row["file"].split("/")[1] for row in images if row["class"] == "good")
    assert found.defective == len(rows) - len(images), "every mask belongs to an image"
    assert inspection.groups.startswith(f"{len({row['group'] for row in images})} of {len(images)} images")
    samples = read_dataset(DATA / name)
    split = make_split(samples, find_groups(samples, DATA / name)[0])
    check_leak(split)
    assert len(split.train) + len(split.held_back) + len(split.dropped) == len(images)
