import os
import struct
import zlib

import numpy as np
import pytest
import torch
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import Picture, read_picture, write_mask, write_picture
from PIL import Image

from .refusals import refused

KINDS = {  # Pillow mode -> channels, alpha
    "L": (np.uint8, 1, False),
    "LA": (np.uint8, 1, True),
    "RGB": (np.uint8, 3, False),
    "RGBA": (np.uint8, 3, True),
    "I;16": (np.uint16, 1, False),
}


def random_pixels(mode, height=5, width=7):
    dtype, channels, alpha = KINDS[mode]
    top = np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(0, top + 1, (height, width, channels + alpha)).astype(dtype)
    return values[..., 0] if values.shape[2] == 1 else values


def deep_colour_png(path, colour_type=2, channels=3):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(range(2 * channels * 4))) * 3
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, colour_type, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_what_is_read_is_written_bit_for_bit(tmp_path, mode, suffix):
    values = random_pixels(mode)
    Image.fromarray(values).save(tmp_path / f"in.{suffix}")
    picture = read_picture(tmp_path / f"in.{suffix}")
    dtype, channels, alpha = KINDS[mode]
    assert picture.pixels.dtype == dtype and picture.pixels.shape == (5, 7, channels) and picture.size == (5, 7)
    assert (picture.alpha is not None) == alpha
    write_picture(tmp_path / "out.png", picture)
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == mode
        np.testing.assert_array_equal(np.array(written), values)


def test_other_modes_become_grey_or_rgb(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)
    bits = Image.fromarray(grey > 127)
    bits.save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "bits.png").pixels[..., 0], (grey > 127) * 255)

    palette = Image.fromarray(grey % 3)
    palette.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3])
    palette.save(tmp_path / "palette.png")
    colours = np.array([[255, 0, 0], [0, 255, 0], [1, 2, 3]], np.uint8)
    np.testing.assert_array_equal(read_picture(tmp_path / "palette.png").pixels, colours[grey % 3])
    palette.save(tmp_path / "transparent.png", transparency=2)
    np.testing.assert_array_equal(read_picture(tmp_path / "transparent.png").alpha, np.where(grey % 3 == 2, 0, 255))

    cmyk = Image.fromarray(np.stack([grey] * 4, axis=-1), mode="CMYK")
    cmyk.save(tmp_path / "cmyk.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "cmyk.tif").pixels, np.array(cmyk.convert("RGB")))


def test_32_bit_file_counts_as_16_bit_if_its_values_fit(tmp_path):
    values = np.array([[0, 65535], [7, 300]], np.int32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels[..., 0], values)
    Image.fromarray(values + 1).save(tmp_path / "a.tif")
    with refused(got="65536", remedy="16-bit grey"):
        read_picture(tmp_path / "a.tif")


def test_image_is_scaled_by_depth_and_grey_repeated():
    for dtype in (np.uint8, np.uint16):
        pixels = np.array([[[0], [np.iinfo(dtype).max]]], dtype)
        image = Picture(pixels).image()
        assert image.dtype == torch.float32
        torch.testing.assert_close(image, torch.tensor([[[0.0, 1.0]]]).expand(3, 1, 2))


def test_with_pixels_keeps_alpha():
    alpha = np.full((2, 2), 9, np.uint8)
    picture = Picture(np.zeros((2, 2, 1), np.uint8), alpha).with_pixels(np.ones((2, 2, 1), np.uint8))
    assert picture.pixels.all() and picture.alpha is alpha
    with refused(accepted="same height, width and dtype"):
        picture.with_pixels(np.ones((2, 3, 1), np.uint8))


@pytest.mark.parametrize("colour_type, channels", [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_png_is_refused(tmp_path, colour_type, channels):
    deep_colour_png(tmp_path / "deep.png", colour_type, channels)
    with Image.open(tmp_path / "deep.png") as image:
        assert np.array(image).dtype == np.uint8  # what Pillow makes of it
    with refused(subject="deep.png", got="16-bit colour", remedy="convert"):
        read_picture(tmp_path / "deep.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_truncated_file_is_an_error_that_names_it(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with refused(subject=f"cut.{suffix}$", got=r"not a readable image \(.+\)", remedy="replace it"):
        read_picture(path)
    path.write_bytes(b"")
    with refused(got="0 bytes"):
        read_mask(path)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_mask_of_any_mode(tmp_path, mode):
    want = np.random.default_rng(0).random((5, 7)) > 0.5
    if mode in ("I", "I;16"):
        image = Image.fromarray(want.astype(np.int32 if mode == "I" else np.uint16) * 65535)
    elif mode == "F":
        image = Image.fromarray(want.astype(np.float32))
    else:
        image = Image.fromarray(want).convert("L")
        image = image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)
    image.save(tmp_path / "m.tif")
    mask = read_mask(tmp_path / "m.tif", (5, 7))
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask.numpy(), want)


def test_mask_threshold_and_colour(tmp_path):
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[False, False, True, True]]
    Image.fromarray(np.array([[[0, 0, 0], [255, 0, 0]]], np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[False, True]]
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "m.png")
    with refused(got="largest value is 1 of 255"):
        read_mask(tmp_path / "m.png")


def test_mask_of_another_size_names_both(tmp_path):
    write_mask(tmp_path / "m.png", torch.ones(5, 7, dtype=torch.bool))
    with refused(subject="m.png", got="the mask is 5 x 7 .*but p.png is 7 x 5"):
        read_mask(tmp_path / "m.png", (7, 5), of="p.png")


def test_mask_round_trip_is_0_and_255(tmp_path):
    mask = torch.rand(5, 7) > 0.5
    write_mask(tmp_path / "m.png", mask)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "L" and set(np.unique(np.array(image))) == {0, 255}
    assert torch.equal(read_mask(tmp_path / "m.png"), mask)
    with refused(accepted=r"\[H, W\]"):
        write_mask(tmp_path / "m.png", mask[None])


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.png", Picture(np.zeros((2, 2, 1), np.uint8)))
    before = (tmp_path / "a.png").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left on device.*a.png"):
        write_picture(tmp_path / "a.png", Picture(np.ones((2, 2, 1), np.uint8)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before
    with pytest.raises(FileNotFoundError, match="missing"):
        write_mask(tmp_path / "missing" / "m.png", np.ones((2, 2), bool))


def test_16_bit_colour_cannot_be_written(tmp_path):
    with refused(got="16-bit colour"):
        write_picture(tmp_path / "a.png", Picture(np.zeros((2, 2, 3), np.uint16)))
    assert not list(tmp_path.iterdir())
