"""What `inspect` reports as worth a look in readable data: large masks, assumptions, unused bits."""

import numpy as np
import pytest
from anomaly_synthesis.datasets.inspection import inspect_dataset
from PIL import Image


def look(root, word, layout=None):
    inspection = inspect_dataset(root, layout)
    found = [one for one in inspection.problems if word in one.what]
    assert not any(one.unusable for one in found)
    return found


@pytest.mark.parametrize("layout", ["mvtec", "stems", "index", "loco"])
def test_masks_of_more_than_half_of_the_image(put, spot, tmp_path, layout):
    image, truth, normal = {
        "mvtec": ("test/crack/{}.png", "ground_truth/crack/{}_mask.png", "train/good/n.png"),
        "loco": ("test/crack/{}.png", "ground_truth/crack/{}/0.png", "train/good/n.png"),
    }.get(layout, ("images/{}.png", "masks/{}.png", "images/n.png"))
    value = 1 if layout == "index" else 255
    put(normal)
    for number in range(4):
        put(image.format(number))
        put(truth.format(number), value - spot(value=value) if number in (1, 2) else spot(value=value))
    (problem,) = look(tmp_path, "more than half", layout)
    assert "2 of 4 masks of" in problem.what and "this one 92 %" in problem.what and "inverted" in problem.what
    assert problem.file == truth.format(1)
    put(truth.format(3), np.full((12, 16), value))
    (problem,) = look(tmp_path, "more than half", layout)
    assert problem.file == truth.format(3) and "3 of 4" in problem.what and "100 %" in problem.what


def test_outlines_of_more_than_half_of_the_image(put, tmp_path):
    put("a.png")
    put("b.png")
    shape = '{"label": "crack", "points": [[0, 0], [15, 11]], "shape_type": "rectangle"}'
    (tmp_path / "a.json").write_text(f'{{"shapes": [{shape}], "imagePath": "a.png"}}')
    (problem,) = look(tmp_path, "more than half")
    assert problem.file == "a.json" and "1 of 1" in problem.what


@pytest.mark.parametrize(
    ("rows", "columns", "inverted", "found"),
    [
        ((0, 6), (0, 16), False, False),
        ((1, 11), (2, 13), False, False),
        ((1, 11), (1, 14), False, True),
        ((2, 10), (2, 13), True, True),
        ((0, 12), (0, 16), False, True),
    ],
)
def test_what_counts_as_large(put, spot, tmp_path, rows, columns, inverted, found):
    """Above 60 % always, above half where the mask lies along the edges, as an inverted one does."""
    put("images/a.png")
    mask = spot(rows, columns)
    put("masks/a.png", 255 - mask if inverted else mask)
    assert bool(look(tmp_path, "more than half")) == found


def test_assumptions_are_reported_once_for_a_type(put, spot, tmp_path):
    for number in range(3):
        image = put(f"test/crack/{number}.png", np.random.default_rng(number).integers(60, 200, (12, 16, 3)))
        with Image.open(image) as opened:
            opened.putalpha(Image.fromarray(255 - spot()))
            path = tmp_path / "ground_truth" / "crack" / f"{number}_mask.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            opened.save(path)
    put("train/good/n.png")
    (problem,) = look(tmp_path, "alpha")
    assert problem.file == "ground_truth/crack/0_mask.png"
    assert "transparent pixels (7.8 % of the image)" in problem.what and "2 more masks of" in problem.what
    assert inspect_dataset(tmp_path).objects[tmp_path.name].types["crack"].area == (15,) * 5


def sixteen(path, most, least=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(path.name)).integers(least, most, (12, 16)).astype(np.uint16)
    values[0, 0] = most
    Image.fromarray(values).save(path)


@pytest.mark.parametrize(
    ("most", "bits", "share"),
    [
        (200, 8, "0.4"),
        (255, 8, "0.4"),
        (256, 10, "2"),
        (1023, 10, "2"),
        (3520, 12, "6"),
        (4095, 12, "6"),
        (4096, 14, "25"),
        (16383, 14, "25"),
        (16384, None, None),
        (65520, None, None),
    ],
)
def test_bits_that_16_bit_images_do_not_use(put, spot, tmp_path, most, bits, share):
    sixteen(tmp_path / "cast" / "images" / "a.tif", most)
    sixteen(tmp_path / "cast" / "images" / "b.png", max(most // 2, 1))
    put("cast/images/c.png")  # 8 bit
    put("cast/masks/a.png", spot())
    found = look(tmp_path, "of their range")
    assert len(found) == (bits is not None)
    if bits:
        assert f"the images use {share} % of their range ({bits} bit?)" in found[0].what
        assert f"2 16-bit images of cast is {most} of 65535" in found[0].what
        assert found[0].remedy == f"multiply the values by {2 ** (16 - bits)}"


def test_one_dark_image_among_bright_ones_is_no_finding(put, spot, tmp_path):
    sixteen(tmp_path / "images" / "a.png", 1000)
    sixteen(tmp_path / "images" / "b.png", 60000)
    put("masks/a.png", spot())
    assert not look(tmp_path, "of their range")


def test_objects_are_judged_apart(put, spot, tmp_path):
    for name, most in (("dark", 4000), ("bright", 60000)):
        sixteen(tmp_path / name / "images" / "a.png", most)
        put(f"{name}/masks/a.png", spot())
    (problem,) = look(tmp_path, "of their range")
    assert problem.file == "dark/images/a.png"


def test_a_few_hot_pixels_do_not_hide_that_bits_are_not_used(put, spot, tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (60, 80)).astype(np.uint16)
    values[5, 5:9] = 65535
    (tmp_path / "cast" / "images").mkdir(parents=True)
    Image.fromarray(values).save(tmp_path / "cast" / "images" / "a.png")
    put("cast/masks/a.png", spot(size=(60, 80)))
    (problem,) = look(tmp_path, "of their range")
    assert "the images use 6 % of their range (12 bit?)" in problem.what


@pytest.mark.parametrize(("bright", "count"), [(1, 1), (3, 0)])
def test_most_images_decide_whether_bits_are_not_used(put, spot, tmp_path, bright, count):
    for number in range(2 + bright):
        sixteen(tmp_path / "images" / f"{number}.png", 60000 if number < bright else 4000)
    put("masks/0.png", spot())
    assert len(look(tmp_path, "of their range")) == count
