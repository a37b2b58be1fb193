"""COCO and LabelMe: outlines from JSON files."""

import json

import numpy as np
import pytest
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import read_sample, whole_images
from anomaly_synthesis.datasets.split import make_split, part_of

from .refusals import refused

BOX = [4, 3, 9, 3, 9, 6, 4, 6]  # 15 pixels


def annotation(number, image, category, segmentation):
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation}


def coco(path, annotations, names=("a.png", "b.png", "c.png"), categories=("crack", "hole"), changes=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "images": [{"id": i, "file_name": name, "height": 12, "width": 16} for i, name in enumerate(names)],
                "annotations": annotations,
                "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
            }
            | (changes or {})
        )
    )


@pytest.fixture
def part(put, tmp_path):
    """An object's folder with three images; the first has a crack and a hole, the second a crack."""
    for name in "abc":
        put(f"part/images/{name}.png")
    runs = {"size": [12, 16], "counts": [0, 12, 180]}
    coco(
        tmp_path / "part" / "annotations" / "instances_default.json",
        [
            annotation(1, 0, 0, [BOX]),
            annotation(2, 0, 0, [[0, 0, 2, 0, 2, 2, 0, 2]]),
            annotation(3, 0, 1, runs),
            annotation(4, 1, 0, [BOX]),
        ],
    )
    return tmp_path / "part"


def areas(samples):
    return [0 if mask is None else int(mask.sum()) for _, mask in map(read_sample, samples)]


def test_coco_gives_a_sample_per_image_and_type(part):
    samples = read_dataset(part.parent)
    assert find_dataset(part).layout.name == "coco"
    assert [(one.object, one.type, one.part, one.name) for one in samples] == [
        ("part", "crack", "", "part/images/a.png"),
        ("part", "hole", "", "part/images/a.png"),
        ("part", "crack", "", "part/images/b.png"),
        ("part", "good", "", "part/images/c.png"),
    ]
    assert areas(samples) == [15 + 4, 12, 15, 0]
    assert len({hash(one) for one in samples}) == 4 and sorted(samples) == sorted(samples[::-1])
    assert read_dataset(part.parent) == samples
    assert [one.type for one in read_dataset(part, types=["hole"])] == ["hole", "good"]


def test_types_of_one_image_stay_on_one_side_and_join_for_the_segmenter(part):
    samples = read_dataset(part)
    split = make_split(samples, {one.name: one.name for one in samples})
    assert sorted([*split.train, *split.held_back]) == ["images/a.png", "images/b.png", "images/c.png"]
    for side in ("train", "held_back"):
        assert {one.name for one in part_of(split, samples, side)} == set(getattr(split, side))
    joined = whole_images(samples)
    assert [one.type for one in joined] == ["crack + hole", "crack", "good"]
    assert areas(joined) == [15 + 4 + 12 - 2, 15, 0]
    assert joined[1:] == samples[2:] and joined[0].files == samples[0].files


@pytest.mark.parametrize(
    ("file", "images", "part"),
    [
        ("train/_annotations.coco.json", "train", "train"),
        ("valid/_annotations.coco.json", "valid", "train"),
        ("test/_annotations.coco.json", "test", "test"),
        ("annotations/instances_train2017.json", "train2017", "train"),
        ("annotations/instances_test2017.json", "images/test2017", "test"),
        ("latest.json", ".", ""),
    ],
)
def test_images_are_found_where_tools_put_them(put, tmp_path, file, images, part):
    for name in "abc":
        put(f"{images}/{name}.png")
    coco(tmp_path / file, [annotation(1, 0, 0, [BOX])])
    assert [(one.type, one.part) for one in read_dataset(tmp_path)] == [("crack", part), ("good", part), ("good", part)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": [annotation(7, 0, 9, [BOX])]}, "category 9, which 'categories' does not name"),
        ({"annotations": [annotation(7, 0, None, [BOX])]}, "category None"),
        ({"annotations": [annotation(7, 0, [1], [BOX])]}, "category .1."),
        ({"annotations": [annotation(7, 8, 0, [BOX])]}, "image 8, which 'images' does not list"),
        ({"annotations": [annotation(7, 0, 0, [])]}, "a box alone is no mask"),
        ({"annotations": [annotation(7, 0, 0, None)]}, "annotation 7 on a.png cannot be used"),
        ({"annotations": [annotation(7, 0, 0, [[1, 2]])]}, "3 points or more"),
        ({"annotations": [annotation(7, 0, 0, [[1, 2, 3, 4, 5, "x"]])]}, "3 points or more"),
        ({"annotations": [annotation(7, 0, 0, {"size": [12, 16], "counts": [9]})]}, "do not fill"),
        ({"annotations": {"1": 2}}, "'annotations' is no list"),
        ({"categories": [3]}, "'categories' is no list of objects"),
        ({"images": [{"id": 0, "file_name": "z.png"}]}, "image 'z.png' is not there"),
        ({"images": [{"id": 0, "file_name": "../../a.png"}]}, "no path inside the dataset"),
        ({"images": [{"id": 0, "file_name": "C:\\a.png"}]}, "no path inside the dataset"),
        ({"images": [{"id": 0, "file_name": None}]}, "no path inside the dataset"),
    ],
)
def test_missing_parts_of_coco_are_named(part, changes, words):
    coco(part / "annotations" / "instances_default.json", [], changes=changes)
    with refused(got=f"(?s)instances_default.json: .*{words}"):
        read_dataset(part)


def test_a_category_may_not_be_good_or_a_path(part):
    coco(part / "annotations" / "instances_default.json", [annotation(1, 0, 0, [BOX])], categories=("good", "x"))
    assert {one.type for one in read_dataset(part)} == {"good"}
    assert "no defect; left out" in str(find_dataset(part).problems)
    coco(part / "annotations" / "instances_default.json", [annotation(1, 0, 0, [BOX])], categories=("../up", "x"))
    with refused(got="type '../up'"):
        read_dataset(part)


def test_outlines_of_another_size_and_damaged_files_are_refused(part):
    coco(
        part / "annotations" / "instances_default.json",
        [annotation(1, 0, 0, [BOX])],
        changes={"images": [{"id": 0, "file_name": "a.png", "height": 24, "width": 16}]},
    )
    with refused(got="drawn on 24 x 16 .*a.png is 12 x 16"):
        read_sample(read_dataset(part)[0])
    assert "2 images stand in no annotation file" in str(find_dataset(part).problems)
    (part / "annotations" / "more.json").write_text('{"images": [')
    with refused(got="more.json: no readable JSON"):
        read_dataset(part)
    (part / "annotations" / "instances_default.json").write_bytes(b"")
    with refused(got="(?s)any known layout.*instances_default.json is no readable JSON"):
        read_dataset(part)


def test_an_image_that_is_listed_twice_is_one(part):
    twice = [{"id": 0, "file_name": "a.png", "height": 12, "width": 16}, {"id": 5, "file_name": "../images/a.png"}]
    coco(
        part / "annotations" / "instances_default.json",
        [annotation(1, 0, 0, [BOX]), annotation(2, 5, 0, [BOX])],
        changes={"images": twice},
    )
    (sample,) = read_dataset(part)
    assert sample.type == "crack" and areas([sample]) == [15]


def test_two_files_may_not_list_one_image(part):
    coco(part / "annotations" / "again.json", [])
    with refused(got="images/a.png: it stands in two annotation files"):
        read_dataset(part)


def labelme(path, shapes, image="a.png", **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": "5.5.0", "shapes": shapes, "imagePath": image, "imageHeight": 12, "imageWidth": 16}
    path.write_text(json.dumps(content | changes))


def shape(label, points, kind="polygon"):
    return {"label": label, "points": points, "shape_type": kind, "flags": {}}


CORNERS = [[4, 3], [8, 3], [8, 5], [4, 5]]  # 15 pixels, the corners' own included


def test_labelme_beside_its_images(put, tmp_path):
    for name in ("a.png", "b.b.png", "c.png", "d.png"):
        put(name)
    labelme(
        tmp_path / "a.json",
        [shape("crack", CORNERS), shape("hole", [[0, 0], [1, 1]], "rectangle"), shape("_background_", CORNERS)],
    )
    labelme(tmp_path / "b.b.json", [shape("hole", [[6, 6], [6, 8]], "circle")], image="..\\photos\\b.b.png")
    labelme(tmp_path / "d.json", [], image="d.png")
    dataset = find_dataset(tmp_path)
    assert dataset.layout.name == "labelme" and "1 images without a JSON file count as normal" in dataset.notes[0]
    samples = read_dataset(tmp_path)
    assert [(one.type, one.name) for one in samples] == [
        ("crack", "a.png"),
        ("hole", "a.png"),
        ("hole", "b.b.png"),
        ("good", "c.png"),
        ("good", "d.png"),
    ]
    assert areas(samples)[:2] == [15, 4] and np.isclose(areas(samples)[2], np.pi * 4, rtol=0.7)


def test_labelme_in_folders_of_images_and_annotations(put, tmp_path):
    put("cast/img/a.png")
    put("cast/good/n.png")
    labelme(tmp_path / "cast" / "ann" / "a.json", [shape("crack", CORNERS)])
    assert [(one.object, one.type, one.name) for one in read_dataset(tmp_path)] == [
        ("cast", "good", "cast/good/n.png"),
        ("cast", "crack", "cast/img/a.png"),
    ]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([shape("crack", CORNERS[:2])], "shape 1 cannot be used: it has .* 3 points or more"),
        ([shape("crack", CORNERS), shape("", CORNERS)], "shape 2 cannot be used: it has no label"),
        ([shape("crack", [[1, 2], [3, 4]], "line")], "a line has no area"),
        ([shape("crack", [[1, 2, 3]])], "no pair of numbers"),
        ([shape("crack", [[1, 2]], "mask")], "its bitmap is no image"),
        ([shape("crack", CORNERS, ["polygon"])], "has no area"),
        ([3], "no points"),
        ({}, "no points"),
    ],
)
def test_labelme_shapes_that_cannot_be_used_are_named(put, tmp_path, shapes, words):
    put("a.png")
    labelme(tmp_path / "a.json", shapes)
    with refused(got=f"a.json: .*{words}"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("image", ["z.png", "../../z.png", "/etc/z.png", None, ""])
def test_a_labelme_file_for_no_image_is_named(put, tmp_path, image):
    put("other.png")
    labelme(tmp_path / "a.json", [shape("crack", CORNERS)], image=image)
    with refused(got="a.json: its image .* is not in the dataset"):
        read_dataset(tmp_path)


def test_two_labelme_files_for_one_image_are_named(put, tmp_path):
    put("a.png")
    for name in ("a.json", "b.json"):
        labelme(tmp_path / name, [shape("crack", CORNERS)])
    with refused(got="b.json: a.png has another file, a.json"):
        read_dataset(tmp_path)
