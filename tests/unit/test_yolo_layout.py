"""YOLO segmentation: the ways it is laid out, what its lines may hold, and our own export read back."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.exports.export import export_pairs
from anomaly_synthesis.datasets.layouts.yolo_file import read_keys
from anomaly_synthesis.datasets.pairs import PairWriter
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import read_sample
from anomaly_synthesis.images.pictures import Picture, write_picture

from .refusals import refused

SQUARE = "0.25 0.25 0.5625 0.25 0.5625 0.5 0.25 0.5"  # rows 3 to 6, columns 4 to 9 of 12 x 16 pixels
NAMES = "names: [crack, hole]\n"


@pytest.fixture
def yolo(put, tmp_path):
    """yolo({image without suffix: text of its label, or None}, data.yaml) lays out images/ and labels/."""

    def lay_out(labels, yaml=NAMES, root="cast", suffix=".png"):
        for name, text in labels.items():
            put(f"{root}/{name}{suffix}")
            if text is not None:
                head, _, tail = name.rpartition("images")
                path = tmp_path / root / f"{head}labels{tail}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
        if yaml is not None:
            (tmp_path / root / "data.yaml").write_bytes(yaml if isinstance(yaml, bytes) else yaml.encode())
        return tmp_path / root

    return lay_out


def listed(root):
    return [(one.type, one.part, one.name) for one in read_dataset(root)]


def problems(root, layout=None):
    return {problem.file: problem for problem in find_dataset(root, layout).problems}


@pytest.mark.parametrize(
    "yaml",
    [
        "names: [crack, hole]",
        "names: ['crack', \"hole\"]  # two",
        "names:\n- crack\n- hole\nnc: 2",
        "names:\n  - crack\n  - hole",
        "names:\n  0: crack\n  1: hole",
        "names: {0: crack, 1: 'hole'}",
        "names: [crack,\n  hole\n]",
        "\ufeffnames:\r\n  0: crack\r\n\r\n  # c\r\n  1: hole\r\n",
        "---\ndownload: |\n  import os\n  names = {}: x\nnames:\n    0: crack\n    1: hole\n",
    ],
)
def test_names_in_every_style(yolo, yaml):
    root = yolo({"images/a": f"0 {SQUARE}", "images/b": f"1 {SQUARE}", "images/c": ""}, yaml)
    assert listed(root) == [("crack", "", "images/a.png"), ("hole", "", "images/b.png"), ("good", "", "images/c.png")]


def test_quotes_escapes_and_comments_of_data_yaml():
    text = """path: C:\\data # x\nnames: {0: 'a, b', 1: "c\\u00e9 \\"q\\"", 2: it''s, 3: x:y}\nval: [p, 'q']\ntest:\n"""
    assert read_keys(text, ("path", "names", "val", "test")) == {
        "path": "C:\\data",
        "names": {"0": "a, b", "1": 'cé "q"', "2": "it''s", "3": "x:y"},
        "val": ["p", "q"],
        "test": "",
    }


def test_roboflows_folders_and_their_paths_of_another_machine(yolo):
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\nnames: ['crack']\n"
    root = yolo({"train/images/a": f"0 {SQUARE}", "valid/images/b": "", "test/images/c": f"0 {SQUARE}"}, yaml)
    assert listed(root) == [
        ("crack", "test", "test/images/c.png"),
        ("crack", "train", "train/images/a.png"),
        ("good", "train", "valid/images/b.png"),
    ]


def test_parts_by_lists_of_images(yolo):
    yaml = "path: .\ntrain: train.txt\ntest: test.txt\nnames: [crack]\n"
    root = yolo({"images/a": f"0 {SQUARE}", "images/b": f"0 {SQUARE}", "images/c": None}, yaml)
    (root / "train.txt").write_text("data/images/a.png\n")
    (root / "test.txt").write_text("/home/else/data/images/b.png\n./images/c.png\n")
    assert listed(root) == [
        ("crack", "train", "images/a.png"),
        ("crack", "test", "images/b.png"),
        ("good", "test", "images/c.png"),
    ]


def test_classes_txt_and_no_names_at_all(yolo):
    root = yolo({"images/a": f"0 {SQUARE}", "images/b": f"1 {SQUARE}"}, None)
    assert [type for type, *_ in listed(root)] == ["class 0", "class 1"]
    (root / "labels" / "classes.txt").write_text("crack\nok\n")
    assert [type for type, *_ in listed(root)] == ["crack", "good"]
    (root / "labels" / "classes.txt").unlink()
    (root / "labels" / "b.txt").unlink()
    assert [type for type, *_ in listed(root)] == ["damaged", "good"]


def test_images_with_a_missing_or_empty_label_are_normal_and_reported(yolo):
    root = yolo({"images/a": f"0 {SQUARE}", "images/b": " \n\n", "images/c": None})
    assert [type for type, *_ in listed(root)] == ["crack", "good", "good"]
    assert find_dataset(root).notes == ("cast: 1 images without a label file count as normal",)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.2 0.2", "line 2: a box, and a box is no mask"),
        ("0 0.1 0.1 0.2 0.2 0.3", "line 2: 5 numbers behind the class"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "line 2: 7 numbers behind the class"),
        ("0", "line 2: 0 numbers"),
        ("x 0.1 0.1 0.2 0.2 0.3 0.3", "line 2: 'x 0.1 0.1 0.2 0.2 0.3 0.3' is no line of numbers"),
        ("0 0.1 0.1 0,2 0.2 0.3 0.3", "no line of numbers"),
        ("1.5 0.1 0.1 0.2 0.2 0.3 0.3", "line 2: the class is '1.5'"),
        ("-1 0.1 0.1 0.2 0.2 0.3 0.3", "the class is '-1'"),
        ("1e999 0.1 0.1 0.2 0.2 0.3 0.3", "the class is '1e999'"),
        ("7 0.1 0.1 0.2 0.2 0.3 0.3", "line 2: class 7 has no name"),
        ("0 10 10 20 20 30 30", "line 2: 10 is no share"),
        ("0 0.1 nan 0.2 0.2 0.3 0.3", "line 2: nan is no share"),
        ("0 0.1 inf 0.2 0.2 0.3 0.3", "line 2: inf is no share"),
    ],
)
def test_a_line_that_cannot_be_used_leaves_its_image_out(yolo, line, words):
    root = yolo({"images/a": f"0 {SQUARE}", "images/b": f"0 {SQUARE}\n{line}\n", "images/c": ""})
    assert listed(root) == [("crack", "", "images/a.png"), ("good", "", "images/c.png")]
    problem = problems(root)["labels/b.txt"]
    assert words in problem.what and "its image is left out" in problem.what and not problem.unusable


def test_a_set_of_boxes_is_refused(yolo):
    root = yolo({"images/a": "0 0.5 0.5 0.2 0.2", "images/b": "1 0.5 0.5 0.2 0.2", "images/c": ""})
    with refused(got="no label is a polygon; 2 images have boxes alone, and a box is no mask"):
        read_dataset(root)


def test_a_polygon_and_a_box_on_the_only_defect_image_leave_it_out(yolo):
    root = yolo({"images/a": f"0 {SQUARE}\n0 0.5 0.5 0.2 0.2", "images/b": ""})
    assert listed(root) == [("good", "", "images/b.png")]
    assert "line 2: a box" in problems(root)["labels/a.txt"].what and "." not in problems(root)


def test_key_points_are_boxes_too(yolo):
    root = yolo({"images/a": "0 0.5 0.5 0.2 0.2 0.1 0.1 0.3 0.3"}, "kpt_shape: [2, 2]\nnames: [part]\n")
    with refused(got="no label is a polygon"):
        read_dataset(root)


def test_outlines_that_all_have_four_corners_are_worth_a_look(yolo):
    root = yolo({f"images/{n}": f"0 {SQUARE}" for n in range(5)})
    assert "four corners" in problems(root)["."].what and len(read_dataset(root)) == 5


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("names: [crack, hole", "line 1: there is no ] that closes it"),
        ("names: crack", "names is 'crack'"),
        ("names:\n  a: crack", "names is"),
        ("names:\n  0 crack", "line 2 is '0 crack'"),
        (b"names: [cr\xe4ck]", "no UTF-8 text"),
    ],
)
def test_a_damaged_data_yaml_is_named(yolo, yaml, words):
    root = yolo({"images/a": f"0 {SQUARE}"}, yaml)
    assert words in problems(root)["data.yaml"].what and problems(root)["data.yaml"].unusable


def test_labels_that_are_no_text_or_for_no_image(yolo, put):
    root = yolo({"images/a": f"0 {SQUARE}", "images/b": b"0 \xff\xfe"})
    (root / "labels" / "x.txt").write_text("")
    (root / "labels" / "y.txt").write_text("")
    found = problems(root)
    assert "no UTF-8 text" in found["labels/b.txt"].what and not found["labels/b.txt"].unusable
    what = "this one and 1 more are label files for no image; the images are called a.png, ..."
    assert found["labels/x.txt"].what == what
    put("cast/images/a.jpg")
    assert "shares labels/a.txt with a.jpg" in problems(root, "yolo")["images/a.png"].what


def test_masks_beside_labels_are_preferred(yolo, put, spot):
    root = yolo({"images/a": f"0 {SQUARE}"}, None)
    (root / "labels").rename(root / "labels_yolo")
    put("cast/masks/a.png", spot())
    (root / "labels_yolo").rename(root / "tags")
    assert find_dataset(root).layout.name == "stems"


def test_a_size_that_is_not_known_before_the_image_is_read(yolo, put):
    root = yolo({"images/a": f"0 {SQUARE}"})
    put("cast/images/a.png", size=(24, 32))
    (sample,) = read_dataset(root)
    _, mask = read_sample(sample)
    rows, columns = np.nonzero(mask.numpy())
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 11, 8, 17)


@pytest.mark.parametrize("size", [(31, 40), (33, 3001)])
def test_our_export_reads_back_to_the_same_masks(tmp_path, size):
    """Rings with holes, pieces that touch at a corner, single pixels, the image's edges, two types."""
    writer, truth = PairWriter(tmp_path / "pairs", {"made_by": "test"}), {}
    write_picture(tmp_path / "n.png", Picture(np.full((*size, 3), 50, np.uint8)))
    for index in range(4):
        rng = np.random.default_rng(index)
        mask = np.zeros(size, bool)
        mask[:, :40] = rng.random((size[0], 40)) < (0.02 if index % 2 else 0.4)
        mask[:, -20:] = rng.random((size[0], 20)) < 0.05
        mask[3:12, 4:14], mask[6:9, 7:10], mask[7, 8] = True, False, True
        mask[20, 20], mask[21, 21], mask[-1, :9], mask[0, -1] = True, True, True, True
        type = ("crack", "hole")[index % 2]
        writer.write(
            index=index,
            object="tile",
            type=type,
            stem=f"{index:04}",
            mask=torch.from_numpy(mask),
            picture=Picture(rng.integers(0, 256, (*size, 3), np.uint8)),
            normal_source=tmp_path / "n.png",
            record={"seed": index, "visible": True, "seconds": 0.5},
        )
        truth[index] = type, mask
    export_pairs(tmp_path / "pairs", tmp_path / "out", "yolo")
    dataset = find_dataset(tmp_path / "out")
    assert dataset.layout.name == "yolo" and not dataset.problems
    defects = [sample for sample in dataset.samples if sample.type != "good"]
    assert len(defects) == len(truth) and {sample.part for sample in dataset.samples} == {""}
    for sample in defects:
        type, mask = truth[int(sample.image.stem[:6])]
        assert sample.type == type and np.array_equal(read_sample(sample)[1], mask)


def test_a_label_whose_name_differs_in_case_is_the_images(yolo):
    root = yolo({"images/a": f"0 {SQUARE}", "images/b": f"0 {SQUARE}"})
    (root / "labels" / "a.txt").rename(root / "labels" / "A.TXT")
    assert [type for type, _, _ in listed(root)] == ["crack", "crack"] and not problems(root)


def test_outlines_of_a_class_that_means_normal_are_counted(yolo):
    root = yolo({"images/a": f"0 {SQUARE}", "images/b": f"1 {SQUARE}"}, "names: [crack, Good]")
    assert listed(root) == [("crack", "", "images/a.png"), ("good", "", "images/b.png")]
    assert problems(root)["."].what == "1 annotation is of 'Good', which is no defect; left out"
