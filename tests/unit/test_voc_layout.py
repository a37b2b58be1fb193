"""CVAT's segmentation masks, Pascal VOC's and labelme2voc's: colours, palettes and numbers; lists of parts."""

import numpy as np
import pytest
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.layouts.voc import _palette
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import read_sample

from .layout_examples import OTHER, SIZE, SQUARE, Example
from .refusals import refused

VOC = [value for index in range(256) for value in _palette(index)]
MAP = "background:0,0,0::\ncrack:250,50,83::\nhole:61,61,245::\n"


@pytest.fixture
def cast(tmp_path):
    example = Example(tmp_path / "cast")
    example.picture("JPEGImages/n.jpg")
    example.picture("JPEGImages/d.jpg")
    example.save("SegmentationClass/n.png", np.zeros((*SIZE, 3)))
    return example


def colours(square=(250, 50, 83), other=(61, 61, 245)):
    values = np.zeros((*SIZE, 3), np.uint8)
    values[SQUARE], values[OTHER] = square, other
    return values


def indices(square=1, other=2):
    values = np.zeros(SIZE, np.uint8)
    values[SQUARE], values[OTHER] = square, other
    return values


def found(example, **options):
    """{(image's stem, type): where its mask begins and its pixels}."""
    read = {}
    for sample in read_dataset(example.root, **options):
        _, mask = read_sample(sample)
        place = None if mask is None else (*(int(axis.min()) for axis in np.nonzero(mask.numpy())), int(mask.sum()))
        read[sample.image.stem, sample.type] = place
    return read


BOTH = {("d", "crack"): (3, 4, 15), ("d", "hole"): (8, 1, 6), ("n", "good"): None}


def test_pascals_palette():
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        5: (128, 0, 128),
        8: (64, 0, 0),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {index: _palette(index) for index in known} == known


@pytest.mark.parametrize(
    ("values", "palette", "text"),
    [
        (colours(), None, MAP),
        (colours(), None, f"# label:color_rgb:parts:actions\r\n{MAP}"),
        (colours(), None, "\ufeffcrack : 250, 50, 83\nhole:61,61,245:head,foot:run"),
        (indices(), [0, 0, 0, 250, 50, 83, 61, 61, 245], MAP),
        (indices(2, 1), [0, 0, 0, 61, 61, 245, 250, 50, 83], MAP),  # colours of a palette count, not its numbers
        (indices(), None, MAP),
        (indices(), None, "crack:250,50,83::\nhole:61,61,245::\n"),  # 0 is the background that the list lacks
        (indices(), VOC, MAP),  # a palette of other colours: numbers count
    ],
    ids=[
        "colours",
        "a head",
        "spaces",
        "palette",
        "palette in another order",
        "grey numbers",
        "no background",
        "other palette",
    ],
)
def test_masks_in_colours_palettes_and_numbers(cast, values, palette, text):
    cast.save("SegmentationClass/d.png", values, palette=palette)
    cast.write("labelmap.txt", text)
    assert found(cast) == BOTH


def test_a_label_that_means_normal_is_no_defect_and_two_colours_of_one_name_are_one(cast):
    cast.save("SegmentationClass/d.png", colours())
    cast.write("labelmap.txt", "background:0,0,0::\nOK:250,50,83::\nhole:61,61,245::\n")
    assert found(cast) == {("d", "hole"): (8, 1, 6), ("n", "good"): None}
    cast.write("labelmap.txt", "background:0,0,0::\nhole:250,50,83::\nhole:61,61,245::\n")
    assert found(cast) == {("d", "hole"): (3, 1, 21), ("n", "good"): None}


def test_a_background_that_is_not_black(cast):
    values = np.full((*SIZE, 3), (0, 128, 0), np.uint8)
    cast.save("SegmentationClass/n.png", values)
    values[SQUARE] = (250, 50, 83)
    cast.save("SegmentationClass/d.png", values)
    cast.write("labelmap.txt", "background:0,128,0::\ncrack:250,50,83::\n")
    assert found(cast) == {("d", "crack"): (3, 4, 15), ("n", "good"): None}


def test_void_is_neither_class_nor_normal(cast):
    values = indices(1, 255)
    cast.save("SegmentationClass/d.png", values, palette=VOC)
    assert found(cast) == {("d", "damaged"): (3, 4, 15), ("n", "good"): None}
    cast.save("SegmentationClass/d.png", colours((128, 0, 0), (224, 224, 192)))
    assert found(cast) == {("d", "damaged"): (3, 4, 15), ("n", "good"): None}


def test_without_a_list_classes_have_pascals_numbers(cast):
    cast.save("SegmentationClass/d.png", indices(15, 2), palette=VOC)
    assert set(found(cast)) == {("d", "class 15"), ("d", "class 2"), ("n", "good")}


def test_labelme2voc(cast):
    cast.write("class_names.txt", "_background_\ncrack\nhole\n")
    cast.root.joinpath("SegmentationClass").rename(cast.root / "SegmentationClassPNG")
    cast.write("SegmentationClass/d.npy", b"\x93NUMPY")
    cast.save("SegmentationClassPNG/d.png", indices(), palette=VOC)
    assert found(cast) == BOTH


def test_annotations_in_a_folder_of_their_own(tmp_path):
    one = Example(tmp_path / "cast")
    one.picture("images/d.jpg")
    one.save("annotations/SegmentationClass/d.png", colours())
    one.write("annotations/labelmap.txt", MAP)
    assert set(found(one)) == {("d", "crack"), ("d", "hole")}


def test_lists_give_the_part_and_what_belongs_to_the_set(cast):
    cast.save("SegmentationClass/d.png", colours())
    cast.write("labelmap.txt", MAP)
    cast.picture("JPEGImages/deep/e.x.jpg")
    cast.picture("JPEGImages/unlisted.jpg")
    cast.write("ImageSets/Segmentation/train.txt", "n\n\n")
    cast.write("ImageSets/Segmentation/val.txt", "deep/e.x\nmissing\n")
    cast.write("ImageSets/Segmentation/test.txt", "JPEGImages/d.jpg 1\n")
    cast.write("ImageSets/Segmentation/trainval.txt", "n\nd\n")
    dataset = find_dataset(cast.root)
    assert {(one.name.split("/", 1)[1], one.type, one.part) for one in dataset.samples} == {
        ("n.jpg", "good", "train"),
        ("d.jpg", "crack", "test"),
        ("d.jpg", "hole", "test"),
        ("deep/e.x.jpg", "damaged", "train"),  # no mask, where normal images have an empty one
    }
    problems = {problem.file: problem.what for problem in dataset.problems}
    assert "line 2: there is no image 'missing'" in problems["ImageSets/Segmentation/val.txt"]
    assert "1 images are in no list of ImageSets/Segmentation (unlisted.jpg, ...)" in problems["JPEGImages"]


def test_an_image_in_two_parts_is_refused(cast):
    cast.save("SegmentationClass/d.png", colours())
    cast.write("labelmap.txt", MAP)
    cast.write("ImageSets/Segmentation/train.txt", "n\nd\n")
    cast.write("ImageSets/Segmentation/test.txt", "d\n")
    with refused(got="train.txt: line 2: d is in a list of the other part too"):
        read_dataset(cast.root)


@pytest.mark.parametrize(
    ("values", "text", "words"),
    [
        (colours((1, 2, 3)), MAP, "no class has its colour (1, 2, 3)"),
        (indices(7), MAP, "no class has its number"),
        (indices(255, 255), MAP, "black and white, where other masks hold classes"),
    ],
)
def test_a_mask_with_unknown_values_leaves_its_image_out(cast, values, text, words):
    cast.save("SegmentationClass/d.png", values)
    cast.picture("JPEGImages/e.jpg")
    cast.save("SegmentationClass/e.png", colours())
    cast.write("labelmap.txt", text)
    assert {stem for stem, _ in found(cast)} == {"n", "e"}
    (problem,) = find_dataset(cast.root).problems
    assert problem.file == "SegmentationClass/d.png" and words in problem.what and "left out" in problem.what


@pytest.mark.parametrize("line", ["crack", "crack:250,50", "crack:250,50,999::", ":1,2,3::", "crack;250;50;83"])
def test_a_damaged_line_of_the_labelmap_is_named(cast, line):
    cast.save("SegmentationClass/d.png", colours((0, 0, 0)))
    cast.write("labelmap.txt", f"background:0,0,0::\n{line}\nhole:61,61,245::\n")
    assert found(cast) == {("d", "hole"): (8, 1, 6), ("n", "good"): None}
    (problem,) = find_dataset(cast.root).problems
    assert problem.file == "labelmap.txt" and problem.what.startswith("line 2 is ")


def test_a_labelmap_in_another_encoding_and_two_classes_of_one_colour_are_refused(cast):
    cast.save("SegmentationClass/d.png", colours())
    cast.write("labelmap.txt", MAP.replace("hole", "Größe").encode("latin-1"))
    with refused(got="labelmap.txt: it is no UTF-8 text"):
        read_dataset(cast.root)
    cast.write("labelmap.txt", MAP + "dent:61,61,245::\n")
    with refused(got=r"line 4: another class has the colour \(61, 61, 245\) too"):
        read_dataset(cast.root)


def test_masks_for_no_image_and_of_another_size(cast):
    cast.save("SegmentationClass/d.png", np.repeat(colours(), 2, 0))
    cast.save("SegmentationClass/x.png", colours())
    cast.write("labelmap.txt", MAP)
    inspection = inspect_dataset(cast.root)
    problems = {problem.file: problem.what for problem in inspection.problems}
    assert "the mask is 24 x 16" in problems["SegmentationClass/d.png"]
    assert problems["SegmentationClass/x.png"] == "a mask for no image; the images are called d.jpg, ..."


def test_transparent_pixels_are_background(cast):
    values = np.zeros((*SIZE, 4), np.uint8)
    values[..., :3] = 250, 50, 83
    values[SQUARE] = 250, 50, 83, 255
    cast.save("SegmentationClass/d.png", values)
    cast.write("labelmap.txt", "background:0,0,0::\ncrack:250,50,83::\n")
    assert found(cast) == {("d", "crack"): (3, 4, 15), ("n", "good"): None}


def test_numbers_in_a_lossy_file_are_refused(cast):
    cast.save("SegmentationClass/d.jpg", indices())  # nothing of 1 and 2 is left
    cast.write("class_names.txt", "background\ncrack\nhole\n")
    with refused(got="SegmentationClass/d.jpg: a lossy file, which does not keep class numbers"):
        read_dataset(cast.root)
