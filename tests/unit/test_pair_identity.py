"""Which pairs are blank and which are equal, by the pixels as they are written."""

import json

import numpy as np
import pytest
from anomaly_synthesis.datasets.known_pairs import KnownPairs
from anomaly_synthesis.datasets.pair_identity import change, content, identity, pair_entries, same_inside
from anomaly_synthesis.datasets.pairs import PairWriter
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import Picture, read_picture

from .refusals import refused

SIZE = 30, 40


def normal(channels=3, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    return Picture(np.random.default_rng(seed).integers(top // 4, top // 2, (*SIZE, channels)).astype(dtype))


def mask_of(*boxes):
    mask = np.zeros(SIZE, bool)
    for top, left, bottom, right in boxes or [(5, 5, 25, 25)]:
        mask[top:bottom, left:right] = True
    return mask


def changed(picture, where, by):
    pixels = picture.pixels.copy()
    pixels[where] = (pixels[where].astype(int) + by).astype(pixels.dtype)
    return picture.with_pixels(pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_equal_pixels_in_the_mask_are_blank_whatever_is_outside(dtype, channels):
    picture, mask = normal(channels, dtype), mask_of()
    assert change(picture, picture, mask).entries == {"changed": 0.0, "changed_outside": 0.0, "unchanged_pieces": 1}
    found = change(changed(picture, ~mask, 9), picture, mask)
    assert found.blank and found.outside == 1 and found.entries["changed"] == 0


def test_a_grey_image_equals_its_normal_image_in_colour():
    grey = normal(1)
    assert change(grey, Picture(np.repeat(grey.pixels, 3, axis=2)), mask_of()).blank


@pytest.mark.parametrize(
    ("pixels", "by", "blank"), [(4, 1, True), (4, -1, True), (5, 1, False), (1, 2, False), (400, 1, False)]
)
def test_a_level_in_at_most_one_pixel_of_100_is_noise(pixels, by, blank):
    picture, mask = normal(), mask_of()  # of 400 pixels
    rows, columns = (axis[:pixels] for axis in np.nonzero(mask))
    found = change(changed(picture, (rows, columns, 1), by), picture, mask)
    assert (found.blank, found.inside) == (blank, pixels / 400)
    assert (found.entries["changed"] == 0) == blank


def test_one_pixel_of_a_mask_of_one_is_no_noise():
    picture, mask = normal(), mask_of((7, 7, 8, 8))
    assert not change(changed(picture, mask, 1), picture, mask).blank and change(picture, picture, mask).blank


def test_pieces_without_a_defect_are_counted():
    picture, mask = normal(), mask_of((1, 1, 5, 5), (10, 10, 20, 20), (25, 25, 27, 38))
    found = change(changed(picture, mask_of((10, 10, 20, 20)), 30), picture, mask)
    assert (found.pieces, found.unchanged, found.blank) == (3, 2, False)
    assert found.entries == {"changed": round(100 / 142, 4), "changed_outside": 0.0, "unchanged_pieces": 2}


def test_a_share_that_rounds_to_nothing_is_not_written_as_0():
    picture = Picture(np.zeros((300, 300, 1), np.uint8))
    mask = np.ones((300, 300), bool)
    mask[0] = False
    found = change(changed(changed(picture, (5, 5), 200), (0, 5), 1), picture, mask)
    assert not found.blank and found.entries["changed"] == 0.0001 == round(1e-4, 4) and found.outside == 1 / 300


def test_depths_that_differ_are_compared_at_the_shallower_one():
    deep = normal(1, np.uint16)
    shallow = Picture((deep.pixels // 257).astype(np.uint8))  # cut, where others round
    assert change(shallow, deep, mask_of()).blank
    assert not change(changed(shallow, mask_of((6, 6, 7, 7)), 3), deep, mask_of()).blank


def test_another_size_is_refused_with_both():
    with refused(got="30 x 40, its normal image 20 x 20"):
        change(normal(), Picture(np.zeros((20, 20, 3), np.uint8)), mask_of())


def test_an_identity_depends_on_content_object_and_type_and_equals_that_of_the_saved_files(tmp_path):
    picture, mask = normal(), mask_of()
    image = changed(picture, mask, 40)
    own = identity(image, picture, mask, "plate", "dent")
    others = [
        identity(changed(image, (9, 9, 0), 1), picture, mask, "plate", "dent"),
        identity(image, changed(picture, (0, 0, 0), 1), mask, "plate", "dent"),
        identity(image, picture, mask | mask_of((0, 0, 1, 1)), "plate", "dent"),
        identity(image, picture, mask, "plate", "pit"),
        identity(image, picture, mask, "bolt", "dent"),
        identity(image, picture, mask, "platedent", ""),
    ]
    assert len({own, *others}) == 7 and len(own) == 32
    writer = PairWriter(tmp_path / "pairs", {"made_by": "test"}, resume=True, growing=True)
    write(writer, image, picture, mask)
    files = [
        tmp_path / "pairs" / name
        for name in (
            "plate/test/dent/0.png",
            f"plate/train/good/normal_{content(picture)}.png",
            "plate/ground_truth/dent/0_mask.png",
        )
    ]
    read = read_picture(files[0]), read_picture(files[1]), read_mask(files[2]).numpy()
    assert identity(*read, "plate", "dent") == own


def write(writer, image, picture, mask, type="dent", seed=1, entries=True):
    record = {"seed": seed, **(pair_entries(image, picture, mask, "plate", type)[1] if entries else {})}
    record["settings"] = {"9": {"node": "Other", "identity": "f" * 32}}
    writer.write(
        index=writer.done,
        object="plate",
        type=type,
        stem=str(writer.done),
        picture=image,
        mask=mask,
        normal_source=picture,
        record=record,
    )


@pytest.fixture(params=[True, False], ids=["with identities", "from before identities"])
def folder(request, tmp_path):
    """A folder of three images on one normal image, and those."""
    picture, mask = normal(), mask_of()
    images = [changed(picture, mask, by) for by in (30, 40, 50)]
    writer = PairWriter(tmp_path / "pairs", {"made_by": "test"}, resume=True, growing=True)
    for seed, image in enumerate(images):
        write(writer, image, picture, mask, seed=seed, entries=request.param)
    return tmp_path / "pairs", images, picture, mask


def test_pairs_of_a_folder_are_found_and_others_are_not(folder):
    root, images, picture, mask = folder
    known = KnownPairs(root)
    assert [known.find(image, picture, mask, "plate", "dent", None)["index"] for image in images] == [0, 1, 2]
    strangers = [
        (changed(images[0], mask, 5), picture, mask, "plate", "dent"),
        (images[0], picture, mask, "plate", "pit"),
        (images[0], normal(seed=1), mask, "plate", "dent"),
        (images[0], picture, mask_of((5, 5, 25, 24)), "plate", "dent"),
    ]
    assert [known.find(*one, 0) for one in strangers] == [None] * 4


def test_a_pair_whose_files_are_gone_or_others_is_not_there(folder):
    root, images, picture, mask = folder
    (root / "plate/test/dent/0.png").unlink()
    (root / "plate/ground_truth/dent/1_mask.png").write_bytes((root / "plate/test/dent/2.png").read_bytes()[:50])
    found = [KnownPairs(root).find(image, picture, mask, "plate", "dent", seed) for seed, image in enumerate(images)]
    assert found[:2] == [None, None] and found[2]["index"] == 2


def test_the_last_bit_of_the_same_seed_is_the_same_pair(folder):
    root, images, picture, mask = folder
    near, known = changed(images[1], (9, 9, 0), 1), KnownPairs(root)
    assert same_inside(near, images[1], mask)
    assert known.find(near, picture, mask, "plate", "dent", 1)["index"] == 1
    assert known.find(near, picture, mask, "plate", "dent", 2) is None
    assert known.find(near, picture, mask, "plate", "dent", None) is None


def test_a_line_that_names_files_outside_of_the_folder_is_no_pair_of_it(folder):
    root, images, picture, mask = folder
    manifest = root / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("plate/test/dent/0.png", "../pairs/plate/test/dent/0.png/.."))
    assert KnownPairs(root).find(images[0], picture, mask, "plate", "dent", None) is None


@pytest.mark.parametrize("key", ["image", "mask", "normal", "object", "type"])
@pytest.mark.parametrize("value", ["a\0b", "\ud800", ["x"], {"x": 1}, None, 5, "other", "x" * 300])
def test_a_line_whose_values_are_no_pairs_hides_no_other_pair(folder, key, value):
    root, images, picture, mask = folder
    manifest = root / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[0][key] = value
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    known = KnownPairs(root)
    assert known.find(images[0], picture, mask, "plate", "dent", 0) is None
    assert known.find(images[1], picture, mask, "plate", "dent", 1)["index"] == 1


@pytest.mark.parametrize("identity", [["a"], {}, None, 5])
def test_a_dropped_line_of_another_identity_is_no_pair(folder, identity):
    root, images, picture, mask = folder
    (root / "dropped.jsonl").write_text(json.dumps({"index": 9, "identity": identity}) + "\n")
    known = KnownPairs(root)
    assert not known.was_dropped("a") and known.find(images[0], picture, mask, "plate", "dent", 0)["index"] == 0


def test_what_is_added_is_known_and_a_cut_line_is_not(tmp_path):
    picture, mask = normal(), mask_of()
    image = changed(picture, mask, 60)
    root = tmp_path / "pairs"
    writer, known = PairWriter(root, {"made_by": "test"}, resume=True, growing=True), KnownPairs(root)
    assert known.find(image, picture, mask, "plate", "dent", 1) is None
    write(writer, image, picture, mask)
    known.note(identity(image, picture, mask, "plate", "dent"), 0)
    assert known.find(image, picture, mask, "plate", "dent", 1)["index"] == 0
    (root / "manifest.jsonl").write_bytes((root / "manifest.jsonl").read_bytes()[:-1])
    assert KnownPairs(root).find(image, picture, mask, "plate", "dent", 1) is None
