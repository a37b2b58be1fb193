"""EXIF orientation: pictures, masks and outlines are turned in the same way, and no output needs turning."""

import json

import numpy as np
import pytest
from anomaly_synthesis.datasets.exports.source import whole_size
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.pairs import PairWriter
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.datasets.sample import read_sample
from anomaly_synthesis.images.decoding import fitting_turn, orientation, shown_size, stored_orientation, turn
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import png_picture_of, read_picture
from PIL import Image, ImageOps

from .refusals import refused

SIZES = {"long": (48, 80), "square": (64, 64)}
TURNS = [2, 3, 4, 5, 6, 7, 8]


def exif(number):
    data = Image.Exif()
    data[0x0112] = number
    return data


def defect(size):
    """A picture as shown, with a bright defect off its centre, and the defect's mask."""
    mask = np.zeros(size, bool)
    mask[8:20, 12:36] = True
    values = np.random.default_rng(0).integers(20, 60, (*size, 3)).astype(np.uint8)
    values[mask] = 230
    return values, mask


def stored(values, number):
    """The pixels that a camera stores so that orientation `number` shows `values`."""
    back = {6: 8, 8: 6}.get(number, number)
    return turn(values, back)


@pytest.fixture
def photograph(tmp_path):
    """photograph(name, size, number) writes a picture that EXIF turns; the mask of its defect as shown."""

    def write(name, size, number):
        values, mask = defect(size)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stored(values, number)).save(path, exif=exif(number), quality=95)
        return path, mask

    return write


def fits(picture, mask):
    """Whether the mask lies on the bright pixels."""
    bright = picture.pixels.max(axis=2) > 140
    return mask.shape == bright.shape and (bright != np.asarray(mask)).mean() < 0.01


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("number", [1, *TURNS])
def test_a_picture_is_turned_as_viewers_show_it(photograph, number, suffix):
    path, mask = photograph(f"a.{suffix}", (48, 80), number)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_picture(path).pixels, np.array(ImageOps.exif_transpose(image)))
    assert fits(read_picture(path), mask)
    assert stored_orientation(path.read_bytes()) == number
    with Image.open(path) as image:
        assert shown_size(image, path.read_bytes()) == whole_size(path) == (48, 80)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16", "P"])
def test_every_kind_of_picture_is_turned(tmp_path, mode):
    values = np.arange(12, dtype=np.uint16 if mode == "I;16" else np.uint8).reshape(3, 4)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([value // 3 for value in range(36)])
    elif mode != "I;16":
        image = image.convert(mode)
        if "A" in mode:
            image.putalpha(Image.fromarray((values * 9).astype(np.uint8)))
    image.save(tmp_path / "a.png", exif=exif(6))
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels[..., 0], np.rot90(values, -1))
    if "A" in mode:
        np.testing.assert_array_equal(picture.alpha, np.rot90(values * 9, -1))


@pytest.mark.parametrize("value", [0, 9, "six", (6, 6)])
def test_an_orientation_that_is_none_turns_nothing(value):
    class Odd(Image.Image):
        def getexif(self):
            return {0x0112: value}

    assert orientation(Odd()) == 1
    assert stored_orientation(b"no image") == stored_orientation(b"") == 1


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("number", TURNS)
def test_outlines_of_labelme_and_coco_lie_on_the_picture_as_shown(photograph, tmp_path, number, size):
    for root in ("labelme", "coco"):
        path, mask = photograph(f"{root}/d.jpg", size, number)
        photograph(f"{root}/n.jpg", size, number)
    height, width = size
    (tmp_path / "labelme" / "d.json").write_text(
        json.dumps(
            {
                "shapes": [{"label": "crack", "points": [[12, 8], [35, 19]], "shape_type": "rectangle"}],
                "imagePath": "d.jpg",
                "imageHeight": height,
                "imageWidth": width,
            }
        )
    )
    polygon = [12, 8, 36, 8, 36, 20, 12, 20]
    content = {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "height": height, "width": width} for n, name in enumerate("dn")
        ],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": [polygon]}],
        "categories": [{"id": 1, "name": "crack"}],
    }
    (tmp_path / "coco" / "a.json").write_text(json.dumps(content))
    for root in ("labelme", "coco"):
        sample = read_dataset(tmp_path / root)[0]
        picture, mask = read_sample(sample)
        assert sample.type == "crack" and fits(picture, mask)
        problems = [one for one in inspect_dataset(tmp_path / root).problems if "EXIF" in one.what]
        unclear = number < 5 or size[0] == size[1]
        assert len(problems) == unclear and not any(one.unusable for one in problems)


@pytest.mark.parametrize("number", [5, 6, 7, 8])
def test_outlines_of_the_size_as_stored_are_turned(photograph, tmp_path, number):
    _, mask = photograph("d.jpg", (48, 80), number)
    photograph("n.jpg", (48, 80), number)
    rows, columns = np.nonzero(stored(mask, number))
    box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    polygon = [box[0], box[1], box[2], box[1], box[2], box[3], box[0], box[3]]
    (tmp_path / "a.json").write_text(
        json.dumps(
            {
                "images": [
                    {"id": n, "file_name": f"{name}.jpg", "height": 80, "width": 48} for n, name in enumerate("dn")
                ],
                "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": [polygon]}],
                "categories": [{"id": 1, "name": "crack"}],
            }
        )
    )
    picture, drawn = read_sample(read_dataset(tmp_path)[0])
    assert fits(picture, drawn)
    assert not [one for one in inspect_dataset(tmp_path).problems if "EXIF" in one.what], "the size settles it"


@pytest.mark.parametrize("number", TURNS)
@pytest.mark.parametrize("layout", ["mvtec", "stems", "index"])
def test_mask_files_as_shown_and_as_stored(photograph, tmp_path, number, layout):
    image, mask_of, normal = {"mvtec": ("test/crack/d.jpg", "ground_truth/crack/d_mask.png", "train/good/n.jpg")}.get(
        layout, ("images/d.jpg", "masks/d.png", "images/n.jpg")
    )
    path, mask = photograph(image, (48, 80), number)
    photograph(normal, (48, 80), number)
    truth = tmp_path / mask_of
    truth.parent.mkdir(parents=True)
    value = 1 if layout == "index" else 255

    def defective():
        (sample,) = (one for one in read_dataset(tmp_path, layout=layout) if one.mask)
        return read_sample(sample)

    def reported():
        return [one for one in inspect_dataset(tmp_path, layout).problems if "EXIF" in one.what]

    Image.fromarray((mask * value).astype(np.uint8)).save(truth)
    assert fits(*defective()) and len(reported()) == (number < 5)
    Image.fromarray((stored(mask, number) * value).astype(np.uint8)).save(truth, exif=exif(number))
    assert fits(*defective()) and not reported(), "a mask that EXIF turns as well"
    if number >= 5:
        Image.fromarray((stored(mask, number) * value).astype(np.uint8)).save(truth)
        assert fits(*defective()) and not reported(), "it fits as stored alone"
    Image.fromarray((mask[:, 1:] * value).astype(np.uint8)).save(truth)
    with refused(got=r"the mask is 48 x 79 .* is 48 x 80"):
        defective()


def test_a_mask_of_swapped_size_is_refused_where_exif_does_not_swap_it(photograph, tmp_path):
    path, mask = photograph("a.jpg", (48, 80), 3)
    Image.fromarray(mask.T).save(tmp_path / "m.png")
    with refused(subject="m.png", got="the mask is 80 x 48 .*a.jpg is 48 x 80"):
        read_mask(tmp_path / "m.png", (48, 80), of=path)
    assert fitting_turn((80, 48), (48, 80), None) == fitting_turn((80, 48), (48, 80), tmp_path / "none.jpg") == 1


@pytest.mark.parametrize("number", [1, 3, 6])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_pairs_hold_pictures_that_need_no_turning(photograph, tmp_path, number, suffix):
    """Not every trainer looks at EXIF: normal image, pair and mask must fit for those too."""
    path, mask = photograph(f"n.{suffix}", (48, 80), number)
    picture = read_picture(path)
    changed = picture.with_pixels(np.where(mask[..., None], 9, picture.pixels).astype(np.uint8))
    writer = PairWriter(tmp_path / "pairs", {"seed": 0})
    for index in range(2):
        writer.write(
            index=index,
            object="part",
            type="crack",
            stem=str(index),
            picture=changed,
            mask=mask,
            normal_source=path,
            record={},
        )
    normals = sorted((tmp_path / "pairs" / "part" / "train" / "good").iterdir())
    assert len(normals) == 1 and stored_orientation(normals[0].read_bytes()) == 1
    with Image.open(normals[0]) as plain, Image.open(tmp_path / "pairs/part/test/crack/0.png") as pair:
        np.testing.assert_array_equal(np.array(plain), picture.pixels)
        np.testing.assert_array_equal(np.array(pair), changed.pixels)
    if number == 1:
        assert normals[0].read_bytes() == path.read_bytes() and normals[0].name == path.name
    sample = next(one for one in read_dataset(tmp_path / "pairs") if one.mask)
    np.testing.assert_array_equal(read_sample(sample)[1], mask)


def test_a_png_that_exif_turns_is_compressed_anew(photograph):
    path, mask = photograph("a.png", (48, 80), 6)
    picture = png_picture_of(path.read_bytes(), path)
    assert picture.png is None and fits(picture, mask)
    path, _ = photograph("b.png", (48, 80), 1)
    assert png_picture_of(path.read_bytes(), path).png is not None
