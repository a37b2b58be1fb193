"""The pixels that mask files of all kinds mark: grey, noisy, index, colour, alpha."""

import struct
import zlib

import numpy as np
import pytest
from anomaly_synthesis.datasets.regions import MaskFiles
from anomaly_synthesis.images.mask_files import colours_of, doubts, holds_numbers, read_labels, read_marked, read_mask
from PIL import Image

from .refusals import refused

SIZE = (48, 64)
BOX = np.zeros(SIZE, bool)
BOX[16:32, 24:48] = True  # 384 pixels
OTHER = np.zeros(SIZE, bool)
OTHER[36:44, 4:14] = True  # 80 pixels


def photo(seed=0, mean=110):
    return np.random.default_rng(seed).normal(mean, 25, (*SIZE, 3)).clip(0, 255).astype(np.uint8)


def noisy(shape):
    random = np.random.default_rng(0)
    return np.where(shape, random.integers(235, 256, SIZE), random.integers(0, 21, SIZE)).astype(np.uint8)


def soft():
    """The box shifted by half a pixel: its rim has values between."""
    large = np.kron(BOX, np.ones((4, 4)))
    return (np.roll(large, (2, 1), (0, 1)).reshape(SIZE[0], 4, SIZE[1], 4).mean((1, 3)) * 255).astype(np.uint8)


def painted(colour, shape=BOX):
    return (shape[..., None] * np.array(colour)).astype(np.uint8)


def palette(indices, colours):
    image = Image.new("P", SIZE[::-1])
    image.putdata(np.asarray(indices).astype(int).ravel().tolist())
    image.putpalette([value for colour in colours for value in colour])
    return image


@pytest.fixture
def save(tmp_path):
    def write(values, suffix="png", **options):
        path = tmp_path / f"m.{suffix}"
        image = values if isinstance(values, Image.Image) else Image.fromarray(values)
        image.save(path, **options)
        return path

    return write


def marks(path, shape=BOX):
    np.testing.assert_array_equal(read_mask(path).numpy(), shape)
    np.testing.assert_array_equal(MaskFiles((path,)).read(SIZE, path).numpy(), shape)


@pytest.mark.parametrize("value", [127, 128, 235, 254, 255])
def test_white_may_be_darker_than_255(save, value):
    marks(save((BOX * value).astype(np.uint8)))


@pytest.mark.parametrize("quality", [30, 70, 95])
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("value", [128, 255])
def test_a_lossy_mask_is_black_and_white(save, suffix, quality, value):
    for values in ((BOX * value).astype(np.uint8), painted((value,) * 3)):
        path = save(values, suffix, quality=quality)
        for mask in (read_mask(path).numpy(), read_marked(path), read_labels(path) == 255):
            assert (mask != BOX).mean() < 0.01 and abs(int(mask.sum()) - 384) < 20
        assert set(np.unique(read_labels(path))) == {0, 255} and holds_numbers(read_labels(path)) is None


@pytest.mark.parametrize("black", [0, 1, 7, 20])
def test_a_black_lossy_mask_is_empty(save, black):
    path = save(np.full(SIZE, black, np.uint8), "jpg", quality=70)
    assert not read_mask(path).any() and not read_marked(path).any() and not read_labels(path).any()
    assert colours_of(path) == ()


def test_noise_of_jpeg_in_a_png_is_no_defect(save):
    path = save(noisy(BOX))
    marks(path)
    assert holds_numbers(read_labels(path)) is False


def test_a_rim_of_127_is_neither_a_class_nor_void(save):
    rim = (np.roll(BOX, 1, 0) | np.roll(BOX, -1, 0) | np.roll(BOX, 1, 1)) & ~BOX
    path = save(np.where(BOX, 255, np.where(rim, 127, 0)).astype(np.uint8))
    assert holds_numbers(read_labels(path)) is False and colours_of(path) == ((255, 255, 255),)
    np.testing.assert_array_equal(read_mask(path), BOX)
    np.testing.assert_array_equal(read_marked(path), BOX | rim)
    low = save(np.where(BOX, 255, np.where(rim, 40, 0)).astype(np.uint8))
    assert holds_numbers(read_labels(low)) is False, "a rim of any grey"
    np.testing.assert_array_equal(read_mask(save(soft())), soft() > 127)


def test_void_around_a_class_is_no_rim(save):
    void = np.kron(np.ones((1, 1)), BOX) > 0
    inner = np.zeros(SIZE, bool)
    inner[20:28, 28:44] = True
    labels = read_labels(save(np.where(inner, 1, np.where(void, 255, 0)).astype(np.uint8)))
    assert holds_numbers(labels) is True and set(np.unique(labels)) == {0, 1, 255}


@pytest.mark.parametrize("dtype", [bool, np.uint16, np.int32, np.float32])
def test_masks_of_other_depths(save, dtype):
    white = {bool: 1, np.uint16: 65535, np.int32: 65535, np.float32: 1}[dtype]
    marks(save((BOX * white).astype(dtype), "tif"))
    if dtype is not bool:
        marks(save((BOX * 255).astype(dtype), "tif"))


@pytest.mark.parametrize("value", [np.nan, -1])
def test_a_float_mask_without_sense_is_refused(save, value):
    with refused(subject="m.tif", got="its values are negative or no numbers", remedy="save the mask as 8-bit grey"):
        read_mask(save(np.where(BOX, value, 0).astype(np.float32), "tif"))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_not_stretched(tmp_path, bits):
    path = tmp_path / "m.png"
    path.write_bytes(_grey_png((BOX * (2**bits - 1) + OTHER * (1 if bits > 1 else 0)).astype(np.uint8), bits))
    labels = read_labels(path)
    assert set(np.unique(labels)) == ({0, 255} if bits == 1 else {0, 1, 2**bits - 1})
    np.testing.assert_array_equal(read_mask(path), BOX)


def _grey_png(values, bits):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    per_byte = 8 // bits
    packed = sum(values[:, place::per_byte].astype(int) << (8 - bits * (place + 1)) for place in range(per_byte))
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in packed)
    head = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "colours",
    [
        [(0, 0, 0), (60, 0, 0)],  # dark red
        [(0, 0, 0), (255, 255, 255)],
        [(255, 255, 255), (0, 0, 0)],  # brighter outside
        [(0, 90, 0), (9, 9, 9)],
        [(0, 0, 0), (1, 1, 1)],
    ],
)
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_a_palette_is_read_by_index(save, colours, suffix):
    path = save(palette(BOX, colours), suffix)
    if suffix == "bmp" and colours[1] == (255, 255, 255):  # Pillow would read noise
        with refused(subject="m.bmp", got="a BMP of 8 bits a pixel with 2 colours cannot be decoded"):
            read_mask(path)
    else:
        marks(path)


def test_a_transparent_index_is_no_defect(save):
    marks(save(palette(BOX * 1 + OTHER * 2, [(0, 0, 0), (200, 0, 0), (0, 200, 0)]), transparency=2))


def test_a_palette_of_greys_is_grey(save):
    grey = Image.fromarray(soft()).convert("P")
    np.testing.assert_array_equal(read_mask(save(grey)), soft() > 127)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 128), (0, 0, 1), (30, 20, 10), (0, 255, 255), (255, 255, 254)])
@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_any_colour_is_defect_however_dark(save, colour, suffix):
    path = save(painted(colour), suffix)
    marks(path)
    assert colours_of(path) == (colour,)


@pytest.mark.parametrize(
    ("colour", "rounded"), [((255, 0, 0), (255, 0, 0)), ((0, 0, 128), (0, 0, 128)), ((0, 200, 60), (0, 192, 64))]
)
def test_one_colour_of_a_lossy_file(save, colour, rounded):
    path = save(painted(colour), "jpg", quality=80)
    assert (read_mask(path).numpy() != BOX).mean() < 0.02 and colours_of(path) == (rounded,)


@pytest.mark.parametrize("second", [(0, 0, 128), (0, 255, 0), (90, 0, 0)])
def test_several_colours_of_a_lossy_file_are_refused(save, second):
    with refused(subject="m.jpg", got="it has several colours in a lossy file, which cannot be separated"):
        read_mask(save(painted((255, 0, 0)) + painted(second, OTHER), "jpg", quality=80))


def test_several_colours_are_several_and_a_soft_edge_is_none(save):
    both = painted((255, 0, 0)) + painted((0, 0, 128), OTHER)
    path = save(both)
    marks(path, BOX | OTHER)
    assert colours_of(path) == ((0, 0, 128), (255, 0, 0))
    np.testing.assert_array_equal(MaskFiles((path,), (0, 0, 128)).read(SIZE, path), OTHER)
    edges = save((soft()[..., None] * np.array([1, 0, 0])).astype(np.uint8) + painted((0, 0, 128), OTHER))
    assert colours_of(edges) == ((0, 0, 128), (255, 0, 0))
    np.testing.assert_array_equal(MaskFiles((edges,), (255, 0, 0)).read(SIZE, edges), soft() > 0)
    dark = save(painted((255, 0, 0)) + painted((128, 0, 0), OTHER))
    assert colours_of(dark) == ((128, 0, 0), (255, 0, 0)), "an area between two colours is no edge"


def test_colours_without_black_are_refused(save):
    white = np.where(BOX[..., None], (255, 0, 0), (255, 255, 255)).astype(np.uint8)
    with refused(got="#ff0000, #ffffff.* none is black, so that any could be the background"):
        read_mask(save(white))


@pytest.mark.parametrize("mean", [30, 110, 200])
@pytest.mark.parametrize("grey", [False, True])
def test_the_alpha_channel_of_a_photograph_is_the_mask(save, mean, grey):
    """ComfyUI's mask editor: transparent where masked, its colours black there."""
    values = np.dstack([photo(mean=mean) * ~BOX[..., None], np.where(BOX, 0, 255)]).astype(np.uint8)
    path = save(values[..., 2:] if grey else values)
    marks(path)
    (doubt,) = doubts(path)
    assert doubt.kind == "alpha" and "transparent pixels (12 % of the image) are the defect" in doubt.what


def test_transparent_pixels_of_a_drawing_are_no_defect(save):
    marks(save(np.dstack([painted((200, 0, 0)), BOX * 255]).astype(np.uint8)))
    white = np.dstack([np.full(SIZE, 255), BOX * 255]).astype(np.uint8)
    marks(save(white))
    assert not doubts(save(white))
    assert not read_mask(save(np.zeros((*SIZE, 4), np.uint8))).any()


def test_black_with_a_shape_in_alpha_is_refused(save):
    with refused(got="only its alpha channel holds a shape", remedy="save the mask white on black"):
        read_mask(save(np.dstack([BOX * 0, BOX * 255]).astype(np.uint8)))


def test_a_photograph_is_no_mask(save):
    for values in (photo(), photo()[..., 0]):
        for suffix in ("png", "jpg"):
            with refused(subject=f"m.{suffix}$", got="% of its pixels are neither black nor white"):
                read_mask(save(values, suffix))


def test_what_is_assumed_is_known(save):
    def kinds(*values, **options):
        return [doubt.kind for doubt in doubts(save(*values, **options))]

    assert kinds((BOX * 255).astype(np.uint8)) == kinds(soft()) == kinds(painted((0, 0, 128))) == []
    assert kinds((BOX * 255 + OTHER * 85).astype(np.uint8)) == ["grey"]
    assert kinds((BOX * 255 + OTHER * 85).astype(np.uint8), "jpg") == ["grey"]
    assert kinds((BOX * 127).astype(np.uint8), "jpg") == []
    assert kinds(painted((255, 0, 0)) + painted((0, 0, 9), OTHER)) == ["colours"]
    assert kinds(palette(BOX, [(255, 255, 255), (0, 0, 0)])) == ["palette"]
    assert doubts(save((BOX * 255 + OTHER * 85).astype(np.uint8)), any_value=True) == [], "both are defect"


def test_class_numbers_end_at_50(save):
    assert [holds_numbers(read_labels(save((BOX * value).astype(np.uint8)))) for value in (1, 50, 51, 127)] == [
        True,
        True,
        False,
        False,
    ]
    with refused(got="largest value is 1 of 255", remedy="read class numbers as layout index"):
        read_mask(save((BOX * 1).astype(np.uint8)))
