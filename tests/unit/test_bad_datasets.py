"""Errors in datasets of every layout, found and named by the reader or by `inspect`."""

import json
import os

import numpy as np
import pytest
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.layouts import LAYOUTS
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import check_samples, read_sample
from anomaly_synthesis.datasets.split import check_leak, make_split
from anomaly_synthesis.errors import Refused
from PIL import Image

from .refusals import refused

FOLDERS = {  # normal image, defect image, its mask, a mask for no image
    "mvtec": ("train/good/n", "test/crack/d", "ground_truth/crack/d_mask", "ground_truth/crack/x_mask"),
    "loco": ("train/good/n", "test/crack/d", "ground_truth/crack/d/000", "ground_truth/crack/x/000"),
    "btad": ("train/ok/n", "test/ko/d", "ground_truth/ko/d", "ground_truth/ko/x"),
    "visa": ("Data/Images/Normal/n", "Data/Images/Anomaly/d", "Data/Masks/Anomaly/d", "Data/Masks/Anomaly/x"),
    "stems": ("images/n", "images/d", "masks/d", "masks/x"),
    "index": ("images/n", "images/d", "masks/d", "masks/x"),
}
OUTLINED = ("coco", "labelme")
SQUARE = [4, 3, 9, 3, 9, 6, 4, 6]


@pytest.fixture
def build(put, spot, tmp_path):
    """build(layout) lays out three defect and three normal images; returns the important files by their role."""

    def lay_out(layout, root="part"):
        if layout in OUTLINED:
            return _outlined(put, tmp_path / root, layout)
        normal, defect, mask, orphan = (f"{root}/{name}" for name in FOLDERS[layout])
        value = 1 if layout == "index" else 255
        for number in range(3):
            put(f"{normal}{number}.png")
            image = put(f"{defect}{number}.png")
            path = put(mask.replace("/d", f"/d{number}") + ".png", spot(value=value))
            if layout in ("stems", "index"):
                put(f"{root}/masks/n{number}.png", spot(value=0))
        return {"normal": put(f"{normal}0.png"), "image": image, "mask": path, "orphan": tmp_path / f"{orphan}.png"}

    return lay_out


def _outlined(put, root, layout):
    images = [put(root / "images" / f"{kind}{number}.png") for kind in "nd" for number in range(3)]
    if layout == "coco":
        boxes = [{"id": n, "image_id": n + 3, "category_id": 1, "segmentation": [SQUARE]} for n in range(3)]
        file = root / "annotations.json"
        file.write_text(
            json.dumps(
                {
                    "images": [
                        {"id": n, "file_name": path.name, "height": 12, "width": 16} for n, path in enumerate(images)
                    ],
                    "annotations": boxes,
                    "categories": [{"id": 1, "name": "crack"}],
                }
            )
        )
    else:
        points = [SQUARE[place : place + 2] for place in range(0, 8, 2)]
        for path in images[3:]:
            file = path.with_suffix(".json")
            shape = {"label": "crack", "points": points, "shape_type": "polygon"}
            content = {"shapes": [shape], "imagePath": path.name, "imageHeight": 12, "imageWidth": 16}
            file.write_text(json.dumps(content))
    return {"normal": images[0], "image": images[-1], "mask": file}


ALL = [*FOLDERS, *OUTLINED]  # test_every_layout has the others


@pytest.mark.parametrize("layout", ALL)
def test_a_sound_dataset_of_every_layout(build, tmp_path, layout):
    build(layout)
    for root in (tmp_path, tmp_path / "part"):
        assert find_dataset(root).layout.name == layout
        samples = read_dataset(root)
        assert {sample.object for sample in samples} == {"part"} and len(samples) == 6
        assert sum(sample.mask is None for sample in samples) == 3
        assert all(int(read_sample(sample)[1].sum()) >= 15 for sample in samples if sample.mask is not None)
        assert samples == read_dataset(root, layout=layout)
        split = make_split(samples, {sample.name: sample.name for sample in samples})
        check_leak(split)
        assert len(split.train) + len(split.held_back) == 6
        inspection = inspect_dataset(root)
        assert inspection.unusable == 0 and inspection.images == 6
        (part,) = inspection.objects.values()
        assert sum(part.normal.values()) == part.defective == 3 and part.formats == {"8-bit grey": 6}
        (masks,) = part.types.values()
        assert masks.images == masks.small == 3 and masks.area[2] >= 15 and masks.pieces == (1, 1)


@pytest.mark.parametrize("layout", FOLDERS)
def test_a_missing_mask(build, tmp_path, layout):
    build(layout)["mask"].unlink()
    with refused(got="1 defect images have no ground truth: part/.*d2.png", remedy="add <object>/"):
        read_dataset(tmp_path)
    (problem,) = (problem for problem in inspect_dataset(tmp_path).problems if problem.unusable)
    assert problem.file.endswith("d2.png") and "without a mask" in problem.what


@pytest.mark.parametrize("layout", FOLDERS)
def test_a_mask_for_no_image(build, put, spot, tmp_path, layout):
    orphan = build(layout)["orphan"]
    put(orphan, spot())
    assert len(read_dataset(tmp_path)) == 6, "it has no effect"
    problems = [problem for problem in inspect_dataset(tmp_path).problems if "mask for no image" in problem.what]
    assert len(problems) == 1 and not problems[0].unusable and "/x" in problems[0].file


@pytest.mark.parametrize("layout", ALL)
def test_an_image_of_another_size_than_its_mask(build, put, tmp_path, layout):
    files = build(layout)
    put(files["image"], size=(24, 16))
    with refused(got=r"12 x 16 .*d2.png is 24 x 16"):
        check_samples(read_dataset(tmp_path))
    inspection = inspect_dataset(tmp_path)
    assert inspection.unusable == 1 and "24 x 16" in inspection.problems[0].what
    assert inspection.problems[0].file == files["mask"].relative_to(tmp_path).as_posix()


@pytest.mark.parametrize("layout", ALL)
@pytest.mark.parametrize("victim", ["image", "normal"])
@pytest.mark.parametrize("content", [b"", b"cut", b"these are words"], ids=["zero bytes", "cut short", "no image"])
def test_a_damaged_image(build, tmp_path, layout, victim, content):
    path = build(layout)[victim]
    path.write_bytes(path.read_bytes()[:120] if content == b"cut" else content)
    with refused(got=f"{path.name}: not a readable image"):
        check_samples(read_dataset(tmp_path))
    inspection = inspect_dataset(tmp_path)
    name = path.relative_to(tmp_path).as_posix()
    assert [problem.file for problem in inspection.problems if problem.unusable] == [name]


@pytest.mark.parametrize("layout", ALL)
@pytest.mark.parametrize("content", [b"", b"cut", b"these are words"], ids=["zero bytes", "cut short", "no image"])
def test_a_damaged_mask(build, tmp_path, layout, content):
    path = build(layout)["mask"]
    path.write_bytes(path.read_bytes()[:60] if content == b"cut" else content)
    with refused(got=f"(?s){path.name}(: not a readable image|.* no readable JSON)"):
        check_samples(read_dataset(tmp_path))
    if layout != "coco":  # whose only annotation file this was
        problems = [problem.file for problem in inspect_dataset(tmp_path).problems if problem.unusable]
        assert problems == [path.relative_to(tmp_path).as_posix()]


@pytest.mark.parametrize("layout", FOLDERS)
def test_links_in_circles_and_to_nowhere(build, tmp_path, layout):
    files = build(layout)
    samples = read_dataset(tmp_path)
    for folder in {path.parent for path in files.values() if path.parent.is_dir()} | {tmp_path, tmp_path / "part"}:
        (folder / "loop").symlink_to(tmp_path)
        (folder / "up").symlink_to(os.pardir)
        (folder / "self").symlink_to("self")
    (files["image"].parent / "gone.png").symlink_to("nowhere.png")
    (files["image"].parent / "round.png").symlink_to("round.png")
    assert read_dataset(tmp_path) == samples
    inspection = inspect_dataset(tmp_path)
    assert inspection.unusable == 0
    assert {problem.file.split("/")[-1] for problem in inspection.problems if "link" in problem.what} == {
        "gone.png",
        "round.png",
    }


@pytest.mark.parametrize("layout", FOLDERS)
@pytest.mark.parametrize("name", ["with space", "dots.in.it", "two..dots", "Größe Ω 漆", "percent%20{name}"])
def test_names_of_all_kinds(build, tmp_path, layout, name):
    files = build(layout, root=name)
    for path in (files["image"], files["mask"] if layout != "loco" else files["mask"].parent):
        path.rename(path.with_name(path.name.replace("d2", name)))
    samples = read_dataset(tmp_path)
    assert len(samples) == 6 and {sample.object for sample in samples} == {name}
    check_samples(samples)
    assert inspect_dataset(tmp_path / name).unusable == 0


def test_an_image_of_100000_pixels_is_read_and_a_bomb_is_named(build, put, spot, tmp_path, monkeypatch):
    files = build("mvtec")
    mask = np.zeros((16, 100_000))
    mask[3:6, 99_000:] = 255
    put(files["image"], np.zeros((16, 100_000)))
    put(files["mask"], mask)
    masks = inspect_dataset(tmp_path).objects["part"].types["crack"]
    assert masks.area[-1] == 3000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)
    with refused(got="d2.png: too large .*; accepted is 1000000 pixels in all, or fewer; cut it into tiles"):
        check_samples(read_dataset(tmp_path))
    problems = [problem for problem in inspect_dataset(tmp_path).problems if problem.unusable]
    assert [(problem.file, problem.remedy) for problem in problems] == [("part/test/crack/d2.png", "cut it into tiles")]


def test_two_objects_of_one_name(build, tmp_path):
    build("mvtec", root="Tile")
    build("mvtec", root="tile")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system does not distinguish Tile from tile")
    with refused(got="two objects of one name: 'Tile', 'tile'; rename one"):
        read_dataset(tmp_path)


def test_types_that_differ_in_case_are_worth_a_look(build, tmp_path):
    build("mvtec")
    for name in ("test", "ground_truth"):
        folder = tmp_path / "part" / name
        (folder / "Crack").mkdir(exist_ok=True)
        for path in sorted((folder / "crack").glob("d0*")):
            path.rename(folder / "Crack" / path.name)
    assert len(read_dataset(tmp_path)) == 6
    problems = [str(problem) for problem in inspect_dataset(tmp_path).problems]
    assert any("differ in case alone: 'Crack', 'crack'" in problem for problem in problems)


def test_a_folder_in_two_layouts_is_refused_with_both(build, tmp_path):
    build("stems")
    build("coco")
    words = r"could be in 2 layouts: coco \(part: annotations.json .*stems \(part: images"
    with refused(got=words):
        read_dataset(tmp_path)
    assert len(read_dataset(tmp_path, layout="coco")) == 6
    build("mvtec", root="other")
    with refused(got="could be in 3 layouts"):
        read_dataset(tmp_path)
    assert {sample.object for sample in read_dataset(tmp_path, layout="mvtec")} == {"other"}


def test_a_folder_in_no_layout_is_refused_with_examples(put, tmp_path):
    put("a.png")
    (tmp_path / "docs").mkdir()
    with pytest.raises(Refused) as error:
        read_dataset(tmp_path)
    assert error.value.subject == str(tmp_path) and error.value.accepted.startswith("one of:\n")
    assert error.value.got == "not in any known layout; it holds a.png, docs/"
    assert all(f"\n  {layout.name}: " in error.value.accepted for layout in LAYOUTS)
    with refused(subject="layout", got="^'yolo9'$", accepted="^mvtec, loco"):
        read_dataset(tmp_path, layout="yolo9")
    with refused(got="not in BTAD layout"):
        read_dataset(tmp_path, layout="btad")


def test_files_beside_the_objects_are_reported(build, put, tmp_path):
    (tmp_path / "docs").mkdir()
    put("more/pictures/a.png")
    build("coco")
    (build("coco", root="other")["mask"]).write_text("{")
    with refused(got="1 problem in the dataset:\n  other/annotations.json: no readable JSON"):
        read_dataset(tmp_path)
    problems = {problem.file: problem.what for problem in find_dataset(tmp_path).problems}
    assert set(problems) == {"more", "other/annotations.json"} and "not in COCO layout; left out" in problems["more"]


def test_the_layout_and_its_reason_are_logged(build, tmp_path, caplog):
    caplog.set_level("INFO")
    build("btad")
    read_dataset(tmp_path)
    assert "BTAD (part: it holds train/ok)" in caplog.text


def test_many_problems_are_shown_in_part(put, tmp_path):
    put("a.png")
    for number in range(9):
        (tmp_path / f"{number}.json").write_text('{"shapes": [1], "imagePath": "a.png"}')
    got, remedy = r"(?s)^9 problems in the dataset:.*\n  and 4 more$", f"`anomaly-synthesis inspect {tmp_path}`"
    with refused(subject=str(tmp_path), got=got, remedy=remedy):
        read_dataset(tmp_path)
