"""Layouts made of folders and mask files: MVTec LOCO, BTAD, VisA, images and masks of one stem, index masks."""

import unicodedata

import numpy as np
import pytest
from anomaly_synthesis.datasets.layouts.found import Found, Problem
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import check_samples, read_sample
from anomaly_synthesis.datasets.split import check_leak, load_split, make_split, part_of, save_split
from anomaly_synthesis.errors import Refused
from PIL import Image

from .refusals import refused


def listed(samples):
    return [(one.object, one.type, one.part, one.name) for one in samples]


def areas(samples):
    return [0 if mask is None else int(mask.sum()) for _, mask in map(read_sample, samples)]


def splits(samples, path):
    """A split by image holds every image once, comes back from its file, and leaks nothing."""
    split = make_split(samples, {sample.name: sample.name for sample in samples})
    check_leak(split)
    save_split(split, path)
    train, held_back = (part_of(load_split(path), samples, part) for part in ("train", "held_back"))
    assert sorted([*train, *held_back]) == sorted(samples)
    assert not {one.name for one in train} & {one.name for one in held_back}
    return train, held_back


def test_loco_has_a_folder_of_masks_per_image(put, spot, tmp_path):
    for name in (
        "train/good/000",
        "validation/good/000",
        "test/good/000",
        "test/logical_anomalies/000",
        "test/logical_anomalies/001",
        "test/structural_anomalies/000",
    ):
        put(f"box/{name}.png")
    put("box/ground_truth/logical_anomalies/000/000.png", spot((0, 2), (0, 2), 240))
    put("box/ground_truth/logical_anomalies/000/001.png", spot((1, 3), (1, 3), 255))
    put("box/ground_truth/logical_anomalies/001/000.png", spot((4, 5), (4, 5), 1))
    put("box/ground_truth/structural_anomalies/000/000.png", spot())
    dataset = find_dataset(tmp_path)
    assert dataset.layout.name == "loco" and "ground_truth/logical_anomalies/000 is a folder of masks" in dataset.why
    samples = read_dataset(tmp_path)
    assert listed(samples) == [
        ("box", "good", "test", "box/test/good/000.png"),
        ("box", "logical_anomalies", "test", "box/test/logical_anomalies/000.png"),
        ("box", "logical_anomalies", "test", "box/test/logical_anomalies/001.png"),
        ("box", "structural_anomalies", "test", "box/test/structural_anomalies/000.png"),
        ("box", "good", "train", "box/train/good/000.png"),
        ("box", "good", "train", "box/validation/good/000.png"),
    ]
    assert sum(areas(samples)) == 7 + 1 + 15
    assert len(samples[1].files) == 3 and all(file.is_file() for one in samples for file in one.files)
    splits(samples, tmp_path / "split.json")


def test_btad_names_its_defects_damaged(put, spot, tmp_path):
    for name in (
        "01/train/ok/0000.bmp",
        "01/test/ok/0000.bmp",
        "01/test/ko/0001.bmp",
        "01/test/ko/0002.bmp",
        "03/train/ok/0.png",
        "03/test/ko/1.bmp",
    ):
        put(name)
    put("01/ground_truth/ko/0001.png", spot())
    put("01/ground_truth/ko/0002.bmp", spot())
    put("03/ground_truth/ko/1.bmp", spot())
    assert find_dataset(tmp_path).layout.name == "btad"
    samples = read_dataset(tmp_path)
    assert {(one.object, one.type) for one in samples} == {(o, t) for o in ("01", "03") for t in ("good", "damaged")}
    assert [one.part for one in samples if one.type == "good"] == ["test", "train", "train"]
    check_samples(samples)
    splits(samples, tmp_path / "split.json")


def visa(put, spot, tmp_path, extra=""):
    rows = ["object,split,label,image,mask"]
    for name in ("candle", "pcb1"):
        for number in range(3):
            rows.append(f"{name},{'train' if number else 'test'},normal,{name}/Data/Images/Normal/{number:04}.JPG,")
            put(rows[-1].split(",")[3])
        for number in range(2):
            image = f"{name}/Data/Images/Anomaly/{number:03}.JPG"
            rows.append(f"{name},test,anomaly,{image},{name}/Data/Masks/Anomaly/{number:03}.png")
            put(image)
            put(rows[-1].split(",")[4], spot(value=number + 1))
    (tmp_path / "split_csv").mkdir(exist_ok=True)
    (tmp_path / "split_csv" / "1cls.csv").write_text("\n".join(rows) + "\n" + extra)


def test_visa_by_its_table_and_by_its_folders(put, spot, tmp_path):
    visa(put, spot, tmp_path)
    samples = read_dataset(tmp_path)
    kinds = (("good", "train"), ("good", "test"), ("anomaly", "test"))
    assert {(one.object, one.type, one.part) for one in samples} == {
        (name, *kind) for name in ("candle", "pcb1") for kind in kinds
    }
    assert sum(areas(samples)) == 4 * 15, "masks of VisA hold 1, 2, ... instead of 255"
    splits(samples, tmp_path / "split.json")
    plain = read_dataset(tmp_path / "candle")
    assert [one.type for one in plain] == ["anomaly"] * 2 + ["good"] * 3 and {one.part for one in plain} == {""}
    assert areas(plain) == [15, 15, 0, 0, 0]


def test_visas_table_as_a_spreadsheet_saves_it(put, spot, tmp_path):
    visa(put, spot, tmp_path)
    before = read_dataset(tmp_path)
    table = tmp_path / "split_csv" / "1cls.csv"
    text = table.read_text().replace("normal", "OK")
    table.write_bytes(text.replace(",", "\t").replace("object", "Object").encode("utf-16"))
    assert read_dataset(tmp_path) == before
    table.write_bytes(text.replace("anomaly,", "pr\u00e4gung,").encode("cp1252"))
    with refused(got="1cls.csv: line 5 is no UTF-8 text .*; save it as UTF-8"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("candle,test,anomaly,candle/Data/Images/Anomaly/9.JPG,x.png", "line 12: the image .* is not there"),
        ("candle,test,anomaly,../../secret.png,x.png", "line 12: the image .* is no path inside the dataset"),
        ("candle,test,anomaly,/etc/passwd,x.png", "no path inside"),
        ("candle,test,normal,candle/../../other/a.JPG,", "no path inside"),
        ("candle,test,anomaly,candle/Data/Images/Normal/../Normal/0000.JPG,", None),
        (",test,anomaly,a.JPG,", "line 12"),
        ("candle,test,anomaly", "line 12"),
    ],
)
def test_lines_of_visas_table_that_cannot_be_used_are_named(put, spot, tmp_path, row, words):
    visa(put, spot, tmp_path, extra=row)
    put("a.JPG")
    if words is None:  # inside the dataset after all, and listed already
        assert any("listed twice" in problem.what for problem in find_dataset(tmp_path).problems)
    else:
        with refused(got=rf"1cls.csv: .*{words}"):
            read_dataset(tmp_path)


def test_a_table_without_its_columns_is_refused(put, tmp_path):
    put("a.png")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text("image,label\na.png,normal\n")
    with refused(got="no column object, split, mask"):
        read_dataset(tmp_path)


def test_two_folders_of_images_and_masks(put, spot, tmp_path):
    for number in range(4):
        put(f"part/images/{number}.jpg")
    put("part/masks/0.png", spot())
    put("part/masks/1_mask.png", spot())
    put("part/good/n.jpg")
    dataset = find_dataset(tmp_path)
    assert dataset.layout.name == "stems" and "images/0.jpg and masks/0.png share a stem" in dataset.why
    samples = read_dataset(tmp_path)
    assert [(one.type, one.part) for one in samples] == [("good", "")] + [("damaged", "")] * 2 + [("good", "")] * 2
    assert dataset.notes == ("part: 2 images without a mask count as normal",)
    train, held_back = splits(samples, tmp_path / "split.json")
    assert {one.type for one in train} == {one.type for one in held_back} == {"good", "damaged"}


def test_where_normal_images_have_an_empty_mask_a_missing_one_is_reported(put, spot, tmp_path):
    for number, mask in enumerate((spot(), spot(value=0), None)):
        put(f"images/{number}.png")
        if mask is not None:
            put(f"masks/{number}.png", mask)
    with refused(got="1 defect images have no ground truth: images/2.png", remedy="add <object>/masks"):
        read_dataset(tmp_path)
    assert [one.type for one in find_dataset(tmp_path).samples] == ["damaged", "good", "damaged"]


def test_folders_among_the_images_are_types_parts_or_normal_images(put, spot, tmp_path):
    for name in ("crack/1", "good/2", "train/3", "test/4"):
        put(f"images/{name}.png")
    for name in ("crack/1", "test/4"):
        put(f"masks/{name}.png", spot())
    assert [one[1:3] for one in listed(read_dataset(tmp_path))] == [
        ("crack", ""),
        ("good", ""),
        ("damaged", "test"),
        ("good", "train"),
    ]
    put("images/crack/5.png")
    with refused(got="images/crack/5.png"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(("image", "mask"), [("1.png", "1_GT.png"), ("1.jpg", "1.png"), ("P.0.jpg", "P.0_label.bmp")])
def test_images_and_masks_side_by_side(put, spot, tmp_path, image, mask):
    for part in ("train", "test"):
        put(f"{part}/{image}")
        put(f"{part}/{mask}", spot())
        put(f"{part}/2.jpg")
        put(f"{part}/3_mask.png", spot())
    dataset = find_dataset(tmp_path)
    assert [(one.type, one.part) for one in dataset.samples if one.name.endswith(image)] == [
        ("damaged", "test"),
        ("damaged", "train"),
    ]
    assert len(dataset.samples) == 4 and {one.object for one in dataset.samples} == {tmp_path.name}
    assert [(one.file, one.unusable) for one in dataset.problems] == [
        ("test/3_mask.png", False),
        ("train/3_mask.png", False),
    ]
    assert read_dataset(tmp_path) == list(dataset.samples)


def index(put, tmp_path, classes=None):
    values = np.zeros((12, 16), np.uint8)
    values[:2, :3], values[5:6, :4], values[9:, 9:] = 1, 2, 255
    put("images/a.png")
    put("masks/a.png", values)
    put("images/b.png")
    put("masks/b.png", np.where(values == 1, 1, 0))
    put("images/c.png")
    put("masks/c.png", np.zeros((12, 16)))
    if classes is not None:
        (tmp_path / classes[0]).write_text(classes[1])


@pytest.mark.parametrize(
    "classes",
    [
        ("classes.txt", "crack\nhole\n"),
        ("classes.txt", "background\ncrack\nhole\n"),
        ("classes.txt", "2: hole\n1: crack\n"),
        ("labelmap.txt", "0 background\n1 crack\n2 hole"),
        ("classes.json", '{"crack": 1, "hole": 2}'),
        ("classes.json", '{"1": "crack", "2": "hole"}'),
    ],
)
def test_index_masks_give_a_sample_per_class_in_an_image(put, tmp_path, classes):
    index(put, tmp_path, classes)
    assert find_dataset(tmp_path).layout.name == "index"
    samples = read_dataset(tmp_path)
    assert [(one.type, one.name) for one in samples] == [
        ("crack", "images/a.png"),
        ("hole", "images/a.png"),
        ("crack", "images/b.png"),
        ("good", "images/c.png"),
    ]
    assert areas(samples) == [6, 4, 6, 0]
    split = make_split(samples, {sample.name: sample.name for sample in samples})
    assert sorted([*split.train, *split.held_back]) == ["images/a.png", "images/b.png", "images/c.png"]


def test_index_masks_without_names(put, tmp_path):
    index(put, tmp_path)
    assert {one.type for one in read_dataset(tmp_path)} == {"class 1", "class 2", "good"}
    (tmp_path / "masks" / "a.png").unlink()
    assert {one.type for one in find_dataset(tmp_path).samples} == {"damaged", "good"}, "a single class has no number"


def test_palette_masks_count_by_their_indices(put, tmp_path):
    index(put, tmp_path, ("classes.txt", "crack\nhole\n"))
    image = Image.open(tmp_path / "masks" / "a.png")
    image.putpalette([value for index in range(256) for value in (index * 37 % 256, 90, 255 - index)])
    image.save(tmp_path / "masks" / "a.png")
    assert areas(read_dataset(tmp_path))[:2] == [6, 4]


def test_a_class_without_a_name_and_a_damaged_list_are_reported(put, tmp_path):
    index(put, tmp_path, ("classes.txt", "crack\n"))
    with refused(got="classes.txt: it has no name for value 2"):
        read_dataset(tmp_path)
    (tmp_path / "classes.txt").rename(tmp_path / "classes.json")
    with refused(got="classes.json: no list of class names"):
        read_dataset(tmp_path)


def test_a_mask_in_colours_is_refused_as_an_index_mask(put, tmp_path):
    index(put, tmp_path, ("classes.txt", "crack\nhole\n"))
    colours = np.zeros((12, 16, 3), np.uint8)
    colours[:2, :3] = (128, 0, 0)
    put("masks/b.png", colours)
    with refused(got="masks/b.png: a mask in colours"):
        read_dataset(tmp_path)


def test_black_and_white_among_class_numbers_is_refused_not_taken_for_normal(put, spot, tmp_path):
    index(put, tmp_path)
    put("masks/b.png", spot())
    with refused(got="masks/b.png: black and white, where other masks hold class numbers"):
        read_dataset(tmp_path)


def test_masks_of_one_bit_are_black_and_white(put, spot, tmp_path):
    put("images/a.png")
    Image.fromarray(spot() > 0).save(put("masks/a.png"))
    assert Image.open(tmp_path / "masks" / "a.png").mode == "1"
    assert find_dataset(tmp_path).layout.name == "stems" and areas(read_dataset(tmp_path)) == [15]


def test_stems_compare_in_any_unicode_form(put, spot, tmp_path):
    name = "Größe é"
    put(f"images/{unicodedata.normalize('NFD', name)}.png")
    put(f"masks/{unicodedata.normalize('NFC', name)}.png", spot())
    assert [one.type for one in read_dataset(tmp_path)] == ["damaged"]


def test_class_numbers_in_a_lossy_file_are_refused(put, tmp_path):
    index(put, tmp_path, ("classes.txt", "crack\nhole\n"))
    put("images/d.png")
    put("masks/d.jpg", np.zeros((12, 16)))
    with refused(got="masks/d.jpg: a lossy file, which does not keep class numbers"):
        read_dataset(tmp_path)


def test_a_mask_that_cannot_be_read_leaves_its_image_out_and_is_named(tmp_path):
    found, masks = Found(tmp_path), [tmp_path / "masks" / name for name in ("a.png", "a_2.png")]
    for error in (
        Refused(masks[1], "too dark", "0 to 255", "scan it again"),
        PermissionError(13, "Permission denied", str(masks[1])),
        ValueError("odd"),
    ):
        found.unreadable(tmp_path / "images" / "a.png", masks, error)
    remedy = "replace it, or take it and its image away"
    assert found.problems == [
        Problem("masks/a_2.png", "too dark; accepted is 0 to 255", remedy),
        Problem("masks/a_2.png", "it cannot be opened (Permission denied)", remedy),
        Problem("masks/a.png", "odd", remedy),
    ]
    assert found.passed == {"images/a.png"}
