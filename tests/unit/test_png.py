"""A PNG's own compressed pixels: kept where that changes nothing, without text chunks."""

import io

import numpy as np
import pytest
from anomaly_synthesis.images.pictures import picture_of, png_picture_of, read_picture, write_picture
from anomaly_synthesis.images.png import bare_png
from PIL import Image, PngImagePlugin

from .refusals import refused


def _png(values, comment="", **options) -> bytes:
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("prompt", comment)
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(buffer, "PNG", pnginfo=info, **options)
    return buffer.getvalue()


def _values(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


PLAIN = {
    "grey": _values(9, 7),
    "colour": _values(9, 7, 3),
    "alpha": _values(9, 7, 4),
    "grey and alpha": _values(9, 7, 2),
    "16 bit": _values(9, 7, dtype=np.uint16),
    "several chunks": _values(200, 300, 3),
}


@pytest.mark.parametrize("values", PLAIN.values(), ids=PLAIN)
def test_what_is_written_has_the_same_pixels_and_no_comment(tmp_path, values):
    sent = _png(values, "a secret path", dpi=(72, 72), icc_profile=b"colours")
    write_picture(tmp_path / "kept.png", png_picture_of(sent, "sent"))
    kept = (tmp_path / "kept.png").read_bytes()
    with Image.open(io.BytesIO(kept)) as image:
        image.load()
        assert not image.info and np.array_equal(np.array(image), values)
    assert kept == bare_png(_png(values, "another comment"), "other") == bare_png(kept, "again")
    assert b"IDAT" in kept and kept[kept.index(b"IDAT") :][:200] == sent[sent.index(b"IDAT") :][:200]


OTHERS = {
    "palette": _png(Image.fromarray(_values(9, 7)).convert("P")),
    "one bit": _png(_values(9, 7) > 99),
    "transparent colour": _png(_values(9, 7, 3), transparency=(1, 2, 3)),
    "animation": _png(_values(9, 7, 3), save_all=True, append_images=[Image.fromarray(_values(9, 7, 3) // 2)]),
}


@pytest.mark.parametrize("sent", OTHERS.values(), ids=OTHERS)
def test_what_would_be_read_otherwise_is_compressed_anew(tmp_path, sent):
    picture = png_picture_of(sent, "sent")
    assert picture.png is None
    write_picture(tmp_path / "new.png", picture)
    again = read_picture(tmp_path / "new.png")
    assert np.array_equal(again.pixels, picture_of(sent, "sent").pixels)


def test_no_png_has_none(tmp_path):
    Image.fromarray(_values(9, 7, 3)).save(tmp_path / "a.jpg")
    assert bare_png((tmp_path / "a.jpg").read_bytes(), "a.jpg") is None


def test_other_pixels_have_no_png():
    picture = png_picture_of(_png(_values(9, 7, 3)), "sent")
    assert picture.with_pixels(picture.pixels // 2).png is None


@pytest.mark.parametrize("place", [-13, -40])  # the last check sum before the end's chunk, and within the pixels
def test_a_file_damaged_on_its_way_is_refused(place):
    sent = bytearray(_png(_values(9, 7, 3)))
    sent[place] ^= 1
    with refused(subject="sent", got="(damaged at byte|not a readable image)"):
        png_picture_of(bytes(sent), "sent")


@pytest.mark.parametrize("missing", [1, 5, 12])
def test_a_file_without_its_end_is_refused(missing):
    sent = _png(_values(9, 7, 3))
    with refused(subject="sent", got="damaged at byte"):
        bare_png(sent[:-missing], "sent")


def test_pixels_in_two_places_are_compressed_anew():
    sent = _png(_values(200, 300, 3))
    second = sent.index(b"IDAT", sent.index(b"IDAT") + 4) - 4
    other = _png(_values(3, 3))
    text = other[other.index(b"tEXt") - 4 : other.index(b"IDAT") - 4]
    assert bare_png(sent[:second] + text + sent[second:], "sent") is None
