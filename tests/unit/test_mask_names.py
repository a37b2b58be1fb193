"""Which folder holds the masks, which mask belongs to which image: ambiguity is reported, never guessed away."""

import numpy as np
import pytest
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import check_samples, read_sample
from PIL import Image

from .refusals import refused


def found(root, **options):
    """{image: (type, area)} of what a strict reader takes."""
    samples = read_dataset(root, **options)
    masks = (read_sample(sample)[1] for sample in samples)
    return {s.name: (s.type, 0 if mask is None else int(mask.sum())) for s, mask in zip(samples, masks, strict=True)}


def lossy(path, values, quality=70):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, quality=quality)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "jfif"])
def test_lossy_masks_are_no_class_numbers(put, spot, tmp_path, suffix):
    for number in range(6):
        put(f"images/{number}.jpg", size=(48, 64))
        mask = spot((16, 32), (24, 48), 255 * (number > 2), (48, 64))
        lossy(tmp_path / "masks" / f"{number}.{suffix}", mask)
    assert find_dataset(tmp_path).layout.name == "stems"
    assert [sample.type for sample in read_dataset(tmp_path)] == ["good"] * 3 + ["damaged"] * 3
    areas = [int(read_sample(sample)[1].sum()) for sample in read_dataset(tmp_path)[3:]]
    assert all(abs(area - 384) < 20 for area in areas)
    inspection = inspect_dataset(tmp_path)
    assert not [one for one in inspection.problems if "mask" in one.what]
    with refused(got=f"masks/3.{suffix}: a lossy file, which does not keep class numbers"):
        read_dataset(tmp_path, layout="index")


def test_noise_in_some_masks_says_that_ones_in_others_are_no_classes(put, spot, tmp_path):
    random = np.random.default_rng(0)
    for number in range(4):
        put(f"images/{number}.png")
        values = random.integers(0, 21, (12, 16)) if number else np.ones((12, 16))
        put(f"masks/{number}.png", np.where(spot() > 0, random.integers(235, 256, (12, 16)), values))
    assert find_dataset(tmp_path).layout.name == "stems"


@pytest.mark.parametrize("file", ["classes.txt", "labels.txt", "labelmap.txt", "classes.json"])
@pytest.mark.parametrize("layout", [None, "stems"])
def test_a_class_list_beside_black_and_white_changes_nothing(put, spot, tmp_path, file, layout):
    for number in range(4):
        put(f"part/images/{number}.png")
    put("part/masks/0.png", spot())
    put("part/masks/1.png", spot(value=254))
    (tmp_path / "part" / file).write_text('{"defect": 0}' if file.endswith("json") else "defect\n")
    dataset = find_dataset(tmp_path, layout)
    assert dataset.layout.name == "stems" and f"part: {file} names nothing here" in dataset.notes[-1]
    assert [value for value in found(tmp_path, layout=layout).values()] == [("damaged", 15)] * 2 + [("good", 0)] * 2


def test_a_class_list_names_numbers_that_would_be_greys(put, spot, tmp_path):
    put("images/a.png")
    put("masks/a.png", spot(value=200))
    assert found(tmp_path) == {"images/a.png": ("damaged", 15)}
    (tmp_path / "classes.txt").write_text("200: crack\n")
    assert found(tmp_path) == {"images/a.png": ("crack", 15)}
    put("masks/a.png", spot(value=255))
    (tmp_path / "classes.txt").write_text("255: crack\n")
    assert found(tmp_path) == {"images/a.png": ("crack", 15)}, "a white that is named is a class"


def test_the_named_layout_overrides_the_content_of_masks(put, spot, tmp_path):
    put("images/a.png")
    put("masks/a.png", spot(value=1))
    assert find_dataset(tmp_path).layout.name == "index"
    with refused(got="masks/a.png: the mask's largest value is 1 of 255"):
        read_dataset(tmp_path, layout="stems")
    put("masks/a.png", spot())
    with refused(got="masks/a.png: black and white"):
        read_dataset(tmp_path, layout="index")


@pytest.mark.parametrize("folder", ["labels", "annotations", "label", "gt"])
@pytest.mark.parametrize("suffix", ["txt", "xml", "csv"])
def test_folders_of_other_files_are_no_masks(put, spot, tmp_path, folder, suffix):
    for number in range(4):
        put(f"part/images/{number}.jpg")
        path = tmp_path / "part" / folder / f"{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_text("0 0.5 0.5 0.1 0.1\n")
    put("part/masks/0.png", spot())
    for layout in (None, "stems"):
        assert [type for type, _ in found(tmp_path, layout=layout).values()] == ["damaged", "good", "good", "good"]
    assert inspect_dataset(tmp_path).unusable == 0


@pytest.mark.parametrize("second", ["labels", "annotations", "gt"])
def test_two_folders_of_masks_are_reported(put, spot, tmp_path, second):
    for folder in ("images", "masks", second):
        put(f"{folder}/a.png", None if folder == "images" else spot())
    with refused(got=f"{second}: it holds image files, and so does masks/"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("mask", ["mask_0", "mask-0", "0_mask", "0_gt", "gt_0", "0_MASK", "0_mask_7", "0_gt7"])
def test_names_of_masks(put, spot, tmp_path, mask):
    put("images/0.jpg")
    put("images/1.jpg")
    put(f"masks/{mask}.png", spot())
    assert found(tmp_path) == {"images/0.jpg": ("damaged", 15), "images/1.jpg": ("good", 0)}


def test_numbered_masks_are_joined(put, spot, tmp_path):
    put("images/0.jpg")
    put("masks/0_mask_0.png", spot((0, 2), (0, 2)))
    put("masks/0_mask_1.png", spot((5, 8), (5, 8)))
    assert found(tmp_path)["images/0.jpg"] == ("damaged", 4 + 9)
    put("other/images/0.jpg")
    put("other/masks/0/a.png", spot((0, 2), (0, 2)))
    put("other/masks/0/b.png", spot((1, 3), (1, 3)))
    assert found(tmp_path / "other") == {"images/0.jpg": ("damaged", 7)}


def test_numbered_class_masks_are_joined(put, spot, tmp_path):
    put("images/0.jpg")
    put("masks/0_mask_0.png", spot((0, 2), (0, 2), 1))
    put("masks/0_mask_1.png", spot((5, 8), (5, 8), 2))
    samples = read_dataset(tmp_path)
    assert [(s.type, int(read_sample(s)[1].sum())) for s in samples] == [("class 1", 4), ("class 2", 9)]


LAYOUTS = {  # folder of defect images, of their masks, of normal images
    "stems": ("images", "masks", "good"),
    "mvtec": ("test/crack", "ground_truth/crack", "train/good"),
    "visa": ("Data/Images/Anomaly", "Data/Masks/Anomaly", "Data/Images/Normal"),
    "btad": ("test/ko", "ground_truth/ko", "train/ok"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("masks", [("0.png", "0.bmp"), ("0_mask.png", "0.png"), ("0_mask.png", "0_mask.tif")])
def test_two_masks_of_one_image_are_reported(put, spot, tmp_path, layout, masks):
    images, truth, normal = LAYOUTS[layout]
    for name in (f"{images}/0.jpg", f"{images}/1.jpg", f"{normal}/n.jpg"):
        put(name)
    put(f"{truth}/1.png", spot())
    for name in masks:
        put(f"{truth}/{name}", spot())
    first, second = masks
    both = f"({first} and {second}|{second} and {first})"
    with refused(got=f"(two masks for {images}/0.jpg: {both}|{both} share a stem)"):
        read_dataset(tmp_path, layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_images_of_one_mask_are_reported(put, spot, tmp_path, layout):
    images, truth, normal = LAYOUTS[layout]
    for name in (f"{images}/0.jpg", f"{images}/0.png", f"{images}/1.jpg", f"{normal}/n.jpg"):
        put(name)
    for name in "01":
        put(f"{truth}/{name}.png", spot())
    words = f"(two images have its stem, {images}/0.jpg and {images}/0.png|0.jpg and 0.png share a stem)"
    with refused(got=words):
        read_dataset(tmp_path, layout=layout)


def test_two_normal_images_of_one_stem_are_worth_a_look(put, spot, tmp_path):
    for name in ("0.jpg", "1.jpg", "1.png"):
        put(f"images/{name}")
    put("masks/0.png", spot())
    assert len(read_dataset(tmp_path)) == 3
    assert ("images/1.png", False) in {(one.file, one.unusable) for one in find_dataset(tmp_path).problems}


def test_masks_that_match_no_image_are_named_with_both(put, spot, tmp_path):
    for number in range(3):
        put(f"part/images/{number}.jpg")
        put(f"part/masks/defect{number}x.png", spot())
    for layout in (None, "stems"):
        for root in (tmp_path, tmp_path / "part"):
            with refused(got="no mask has the stem of an image: images/0.jpg, masks/defect0x.png"):
                read_dataset(root, layout=layout)
    put("part/masks/0.png", spot())
    problems = [one for one in find_dataset(tmp_path).problems if "a mask for no image" in one.what]
    assert [one.file for one in problems] == [f"part/masks/defect{number}x.png" for number in range(3)]
    assert all("an image is part/images/1.jpg" in one.what for one in problems), "one that has no mask"


def test_flat_masks_of_type_folders(put, spot, tmp_path):
    for name in ("crack/c0", "crack/c1", "hole/h0", "good/g0"):
        put(f"images/{name}.jpg")
    for name in ("c0", "c1_mask", "h0", "g0"):
        put(f"masks/{name}.png", spot(value=0 if name == "g0" else 255))
    assert found(tmp_path) == {
        "images/crack/c0.jpg": ("crack", 15),
        "images/crack/c1.jpg": ("crack", 15),
        "images/hole/h0.jpg": ("hole", 15),
        "images/good/g0.jpg": ("good", 0),
    }
    put("images/hole/c0.jpg")
    with refused(got="masks/c0.png: two images have its stem, images/crack/c0.jpg and images/hole"):
        read_dataset(tmp_path)


def test_type_folders_of_masks_for_flat_images(put, spot, tmp_path):
    for number in range(3):
        put(f"images/{number}.jpg")
    put("masks/crack/0.png", spot())
    put("masks/hole/0.png", spot((0, 2), (0, 2)))
    put("masks/hole/1.png", spot(value=0))
    put("masks/hole/9.png", spot())
    assert [(s.name[-5], s.type) for s in find_dataset(tmp_path).samples] == [
        ("0", "crack"),
        ("0", "hole"),
        ("1", "good"),
        ("2", "damaged"),
    ]
    assert ("masks/hole/9.png", False) in {(one.file, one.unusable) for one in find_dataset(tmp_path).problems}
    put("masks/hole/1.png", spot((0, 1), (0, 1)))
    (tmp_path / "masks" / "hole" / "9.png").unlink()
    assert found(tmp_path) == {"images/0.jpg": ("hole", 4), "images/1.jpg": ("hole", 1), "images/2.jpg": ("good", 0)}


def test_parts_in_both_folders_may_hold_types(put, spot, tmp_path):
    for part in ("train", "test"):
        put(f"images/{part}/crack/0.jpg")
        put(f"images/{part}/good/1.jpg")
        put(f"masks/{part}/crack/0.png", spot())
    assert [(s.part, s.type) for s in read_dataset(tmp_path)] == [
        ("test", "crack"),
        ("test", "good"),
        ("train", "crack"),
        ("train", "good"),
    ]


@pytest.mark.parametrize("suffix", ["webp", "pgm", "ppm", "jfif", "tif"])
def test_images_of_other_suffixes(put, spot, tmp_path, suffix):
    for number in range(3):
        put(f"images/{number}.{suffix}")
    put("masks/0.png", spot())
    assert [type for type, _ in found(tmp_path).values()] == ["damaged", "good", "good"]


def colours(spot, first, second=None):
    values = spot()[..., None] / 255 * first
    return values if second is None else values + spot((8, 10), (0, 5))[..., None] / 255 * second


RED, BLUE = np.array([255, 0, 0]), np.array([0, 0, 128])


def test_colours_are_types_where_nothing_else_names_them(put, spot, tmp_path):
    for name in "abc":
        put(f"images/{name}.png")
    put("masks/a.png", colours(spot, BLUE))
    put("masks/b.png", colours(spot, BLUE, BLUE))
    assert found(tmp_path) == {
        "images/a.png": ("damaged", 15),
        "images/b.png": ("damaged", 25),
        "images/c.png": ("good", 0),
    }, "one colour"
    put("masks/b.png", colours(spot, RED, BLUE))
    samples = [(s.name[-5], s.type, int(read_sample(s)[1].sum())) for s in read_dataset(tmp_path)[:3]]
    assert samples == [("a", "colour 000080", 15), ("b", "colour 000080", 10), ("b", "colour ff0000", 15)]
    (problem,) = (one for one in inspect_dataset(tmp_path).problems if "colours" in one.what)
    assert "masks show 2 colours and nothing names them" in problem.what and not problem.unusable


def test_colours_in_a_type_s_folder_are_of_that_type(put, spot, tmp_path):
    put("images/crack/a.png")
    put("masks/crack/a.png", colours(spot, RED, BLUE))
    assert found(tmp_path) == {"images/crack/a.png": ("crack", 25)}
    (problem,) = (one for one in inspect_dataset(tmp_path).problems if "colours" in one.what)
    assert problem.file == "masks/crack/a.png" and "2 colours (#000080, #ff0000), and all of them count" in problem.what


def test_photographs_in_two_formats_are_no_masks(put, tmp_path):
    for number in range(3):
        put(f"{number}.jpg")
        put(f"{number}.png")
    with refused(got="0.png: 100 % of its pixels are neither black nor white"):
        read_dataset(tmp_path)


def test_masks_that_are_all_black_are_worth_a_look(put, spot, tmp_path):
    for number in range(3):
        put(f"images/{number}.jpg")
        put(f"masks/{number}.png", spot(value=0))
    assert {sample.type for sample in read_dataset(tmp_path)} == {"good"}
    assert any("all 3 masks of" in one.what and not one.unusable for one in find_dataset(tmp_path).problems)


@pytest.mark.parametrize("layout", [*LAYOUTS, "loco"])
def test_lossy_masks_in_every_layout(put, spot, tmp_path, layout):
    images, truth, normal = LAYOUTS.get(layout, ("test/crack", "ground_truth/crack/0", "train/good"))
    put(f"{images}/0.jpg", size=(48, 64))
    put(f"{normal}/1.jpg", size=(48, 64))
    lossy(tmp_path / truth / "0.jpg", spot((16, 32), (24, 48), 255, (48, 64)), 50)
    (sample,) = (one for one in read_dataset(tmp_path) if one.mask)
    check_samples([sample])
    assert abs(int(read_sample(sample)[1].sum()) - 384) < 20
