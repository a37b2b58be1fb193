"""Every image below a dataset's folder is read or reported: in sub-folders, with other suffixes, in other places, one
level too high or low."""

import os
import shutil

import numpy as np
import pytest
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.layouts import unread
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import check_samples, read_sample
from anomaly_synthesis.images.pictures import SUFFIXES, read_picture
from PIL import Image

from .refusals import refused


@pytest.fixture
def part(put, spot, tmp_path):
    """An object in MVTec layout: two normal images, one crack."""
    for name in ("train/good/0", "test/good/1", "test/crack/2"):
        put(f"part/{name}.png")
    put("part/ground_truth/crack/2_mask.png", spot())
    return tmp_path / "part"


def kinds(root, **how):
    return [(one.type, one.part, one.name) for one in read_dataset(root, **how)]


def reported(root):
    problems = find_dataset(root).problems
    assert not any(problem.unusable for problem in problems)
    return {problem.file: problem.what for problem in problems}


def test_sub_folders_are_read_with_their_masks(part, put, spot):
    put("part/train/good/lot2/0.png")
    put("part/train/good/lot2/deep/er/0.png")
    put("part/test/good/lot2/1.png")
    put("part/test/crack/lot2/2.png")
    put("part/ground_truth/crack/lot2/2_mask.png", spot((0, 2), (0, 2)))
    put("part/test/crack/lot3/9.png")
    put("part/ground_truth/crack/9.png", spot((0, 1), (0, 3)))  # flat, but its stem is the only one
    assert reported(part) == {}
    assert kinds(part) == [
        ("crack", "test", "test/crack/2.png"),
        ("crack", "test", "test/crack/lot2/2.png"),
        ("crack", "test", "test/crack/lot3/9.png"),
        ("good", "test", "test/good/1.png"),
        ("good", "test", "test/good/lot2/1.png"),
        ("good", "train", "train/good/0.png"),
        ("good", "train", "train/good/lot2/0.png"),
        ("good", "train", "train/good/lot2/deep/er/0.png"),
    ]
    areas = [int(read_sample(one)[1].sum()) for one in read_dataset(part) if one.mask is not None]
    assert areas == [15, 4, 3]


def test_a_lot_of_defects_without_masks_is_left_out_and_named(part, put):
    put("part/test/crack/lot2/2.png")
    put("part/test/crack/lot2/3.png")
    assert len(kinds(part)) == 3, "the mask of test/crack/2.png is not that of lot2/2.png"
    (what,) = reported(part).values()
    assert reported(part).keys() == {"test/crack/lot2"} and what.startswith("2 images without a mask, such as 2.png")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".WEBP", ".Jfif"])
def test_images_and_masks_of_every_suffix_are_read(part, put, spot, suffix):
    formats = {".jfif": "JPEG", ".jpe": "JPEG", ".pnm": "PPM", ".pgm": "PPM"}
    values = np.full((12, 16), 90, np.uint8)
    for name, pixels in (("train/good/x", values), ("test/crack/x", values + 9), ("ground_truth/crack/x", spot())):
        lossless = {"lossless": True} if suffix.lower() == ".webp" else {}
        image = Image.fromarray(pixels).convert("RGB" if suffix == ".ppm" else "1" if suffix == ".pbm" else "L")
        image.save(part / f"{name}{suffix}", formats.get(suffix.lower()), **lossless)
    assert reported(part) == {}
    assert {f"test/crack/x{suffix}", f"train/good/x{suffix}"} < {name for _, _, name in kinds(part)}
    (sample,) = (one for one in read_dataset(part) if one.name == f"test/crack/x{suffix}")
    assert abs(int(read_sample(sample)[1].sum()) - 15) <= 6 * (suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif"))


def test_sixteen_bit_colour_of_the_new_kinds_is_refused_not_cut(tmp_path):
    pixels = np.arange(24, dtype=">u2").tobytes()
    (tmp_path / "a.ppm").write_bytes(b"P6 # by hand\n4 # wide\n2\n65535\n" + pixels)
    with refused(subject="a.ppm", got="16-bit colour"):
        read_picture(tmp_path / "a.ppm")
    (tmp_path / "a.pgm").write_bytes(b"P5\n4 2\n65535\n" + pixels[:16])
    assert read_picture(tmp_path / "a.pgm").pixels.dtype == np.uint16
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(tmp_path / "a.jp2", irreversible=False)
    assert (read_picture(tmp_path / "a.jp2").pixels == 200).all()
    data = bytearray((tmp_path / "a.jp2").read_bytes())
    data[data.index(b"\xff\x4f\xff\x51") + 42] = 15
    (tmp_path / "b.jp2").write_bytes(data)
    with refused(subject="b.jp2", got="(16-bit colour|not a readable image)"):
        read_picture(tmp_path / "b.jp2")


PLACES = ["train/crack/a.png", "train/a.jpg", "a.webp", "test/a.bmp", "more/deep/a.tif", "ground_truth/a.png"]
PLACES += ["train/good/a.gif", "train/good/lot/a.HEIC", "ground_truth/good/0_mask.png", "validation/good/a.png"]


@pytest.mark.parametrize("name", PLACES)
def test_what_no_reader_takes_is_named_with_its_folder(part, name):
    (part / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(part / "train" / "good" / "0.png", part / name)
    assert len(kinds(part)) == 3
    folder, _, file = name.rpartition("/")
    (what,) = reported(part).values()
    assert reported(part).keys() == {folder or "."} and what.startswith(f"1 image not read, such as {file}: ")
    assert (".gif is not a supported format" in what) == name.endswith(".gif")


@pytest.mark.parametrize("layout", ["coco", "labelme", "stems", "index", "visa", "btad", "loco"])
def test_every_layout_names_what_it_does_not_read(put, spot, tmp_path, layout):
    if layout == "coco":
        put("images/0.png")
        content = '{"images": [{"id": 1, "file_name": "0.png"}], "annotations": [], "categories": []}'
        (tmp_path / "a.json").write_text(content)
    elif layout == "labelme":
        put("0.png").with_suffix(".json").write_text('{"shapes": [], "imagePath": "0.png"}')
    else:
        image, mask = {
            "btad": ("test/ko/0", "ground_truth/ko/0"),
            "visa": ("Data/Images/Anomaly/0", "Data/Masks/Anomaly/0"),
            "loco": ("test/x/0", "ground_truth/x/0/0"),
        }.get(layout, ("images/0", "masks/0"))
        put(f"{image}.png")
        put(f"{mask}.png", spot(value=1 if layout == "index" else 255))
        put("train/good/n.png" if layout == "loco" else "train/ok/n.png" if layout == "btad" else f"{image}0.png")
        if layout == "visa":
            put("Data/Masks/Anomaly/00.png", spot())
    before = read_dataset(tmp_path, layout=layout)
    put("notes/photos/p1.png")
    put("notes/photos/p2.png")
    assert read_dataset(tmp_path, layout=layout) == before
    (problem,) = (one for one in find_dataset(tmp_path, layout).problems if one.file == "notes/photos")
    assert problem.what.startswith("2 images not read, such as p1.png") and not problem.unusable


def test_what_systems_leave_is_passed_over(part, put):
    for name in (".hidden/a.png", "__MACOSX/part/a.png", "@eaDir/a.jpg", "train/good/._0.png", "train/__MACOSX/a.png"):
        put(f"part/{name}")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "notes.txt"):
        (part / "train" / "good" / name).write_bytes(b"x")
    (part / "test" / "__MACOSX").mkdir()
    (part / "manifest.jsonl").write_text("")
    put("part/sheet.png")
    assert reported(part) == {} and len(kinds(part)) == 3
    assert [problem.file for problem in inspect_dataset(part).problems] == ["part/crack"], "it has one group"


def test_the_search_is_bounded_and_never_goes_in_circles(part, put, monkeypatch):
    for number in range(30):
        put(f"part/more/{number:02}/a.png")
    (part / "again").symlink_to(part / "more")
    (part / "more" / "up").symlink_to(os.pardir)
    found = reported(part)
    assert len(found) == 21 and found["."] == "10 more images not read, in 10 more folders"
    monkeypatch.setattr(unread, "_MOST_FILES", 5)
    assert any("the search for images that were not read stopped" in what for what in reported(part).values())


def test_strict_reading_says_that_something_was_left_out(part, put, caplog):
    put("part/train/crack/a.png")
    read_dataset(part)
    assert "1 worth a look, such as train/crack: 1 image not read, such as a.png" in caplog.text


@pytest.mark.parametrize("word", ["Good", "OK", "normal", "no_defect"])
def test_folders_that_mean_normal_hold_normal_images(put, spot, tmp_path, word):
    for name in (f"train/{word}/0", f"test/{word}/1", "test/crack/2"):
        put(f"part/{name}.png")
    put("part/ground_truth/crack/2_mask.png", spot())
    assert sorted(kinds(tmp_path / "part")) == [
        ("crack", "test", "test/crack/2.png"),
        ("good", "test", f"test/{word}/1.png"),
        ("good", "train", f"train/{word}/0.png"),
    ]


def test_two_images_for_one_mask_and_two_masks_for_one_image_are_refused(part, put, spot):
    put("part/test/crack/2.jpg")
    with refused(got="two images have its stem, test/crack/2.jpg and test/crack/2.png"):
        read_dataset(part)
    (part / "test" / "crack" / "2.jpg").unlink()
    put("part/ground_truth/crack/2_mask.bmp", spot())
    with refused(got="two masks for test/crack/2.png: 2_mask.bmp and 2_mask.png"):
        read_dataset(part)


@pytest.mark.parametrize("above", ["mvtec", "data/mvtec", "a/b/c"])
def test_for_a_folder_above_the_dataset_the_error_names_the_right_one(part, tmp_path, above):
    place = tmp_path / "root" / above / "bottle"
    shutil.copytree(part, place)
    with refused(got=f"bottle is in MVTec layout: give {place.parent}, or {place} alone"):
        read_dataset(tmp_path / "root")
    assert len(read_dataset(place.parent)) == 3


@pytest.mark.parametrize("below", ["train", "test", "ground_truth", "train/good", "test/crack"])
def test_for_a_folder_inside_the_dataset_the_error_names_the_right_one(part, below):
    above = "the folder above it" if "/" not in below else "the folder two levels above it"
    with refused(got=f"it is a part of a folder in MVTec layout: give {above}"):
        read_dataset(part / below)


def test_a_folder_above_is_named_only_where_the_given_one_is_a_part_of_it(part, put):
    put("part/photos/a.png")
    with refused(subject="photos$", got="^not in any known layout; it holds a.png$", accepted="^one of:\n"):
        read_dataset(part / "photos")


@pytest.mark.parametrize("way", ["beside", "ended", "folders", "class numbers"])
def test_type_folders_beside_normal_images_are_one_object(put, spot, tmp_path, way):
    value = 1 if way == "class numbers" else 255
    image, mask = {"beside": ("{}.jpg", "{}.png"), "ended": ("{}.png", "{}_mask.png")}.get(
        way, ("images/{}.png", "masks/{}.png")
    )
    for number in range(3):
        put(f"part/good/{number}.png")
        for type in ("crack", "dent"):
            put(f"part/{type}/{image.format(number)}")
            put(f"part/{type}/{mask.format(number)}", spot(value=value))
    for root in (tmp_path, tmp_path / "part"):
        samples = read_dataset(root)
        assert {one.object for one in samples} == {"part"} and len(samples) == 9
        assert sum(one.type == "good" for one in samples) == 3
        check_samples(samples)
        if way != "class numbers":
            assert [one.type for one in samples] == ["crack"] * 3 + ["dent"] * 3 + ["good"] * 3
    assert find_dataset(tmp_path).problems == ()
