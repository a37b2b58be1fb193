"""Decode image files: damage is named, and pixels are turned as EXIF says, so that all of us see one picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import Refused

SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow's modes of 16-bit grey
_ORIENTATION = 0x0112  # EXIF: 1 as stored, 2 to 8 mirrored or turned
_LOSSY_TIFF = (6, 7, 33003, 33005, 34712, 34892, 50001, 50002)  # Compression: JPEG, JPEG 2000, WebP, JPEG XL
_BAND = 1 << 20  # px of an image that are converted at once
_LOSSY = ("JPEG", "MPO", "JPEG2000", "AVIF", "HEIF")


def decode(data: bytes, path: str | Path) -> Image.Image:
    """The image of a file's bytes, loaded; `orientation` of it is still to be applied. Raises Refused about path
    for damage, another kind of file, or more pixels than Pillow takes."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Image.DecompressionBombError as error:
        most = f"{2 * Image.MAX_IMAGE_PIXELS} pixels in all, or fewer"
        raise Refused(path, f"too large ({error})", most, "cut it into tiles") from error
    except Exception as error:  # Pillow raises many kinds: OSError, SyntaxError, struct.error
        cause = "no image format is recognised" if isinstance(error, Image.UnidentifiedImageError) else error
        got = f"not a readable image ({cause}; {len(data)} bytes); the file is damaged, cut short or of another kind"
        raise Refused(path, got, remedy="replace it") from error
    if image.format == "BMP" and image.mode == "1" and data[28] > 1:  # bits a pixel; Pillow takes them for 1
        got = f"a BMP of {data[28]} bits a pixel with 2 colours cannot be decoded"
        raise Refused(path, got, remedy="save it as PNG")
    return image


def pixel_values(image: Image.Image) -> np.ndarray:
    """The pixels as an array, row by row of bands: `np.array` takes three copies of the whole at once."""
    rows = max(_BAND // image.width, 1)
    if image.height <= rows:
        return np.array(image)
    values = None
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        band = np.asarray(image.crop((0, top, image.width, bottom)))
        if values is None:
            values = np.empty((image.height, *band.shape[1:]), band.dtype)
        values[top:bottom] = band
    return values


def orientation(image: Image.Image) -> int:
    """How a decoded image still has to be turned: EXIF's number, 1 to 8; 1 also where there is none or a wrong one."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data do no harm to pixels; Pillow raises many kinds
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """[H, W, ...] pixels as stored -> as shown, for EXIF's orientation 1 to 8."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def stored_orientation(data: bytes) -> int:
    """As `orientation`, of a file's bytes whose pixels are not needed; 1 also for what is no image."""
    if data.startswith(b"\x89PNG") and not (b"eXIf" in data or b"XML:com.adobe.xmp" in data):
        return 1  # Pillow would decode the pixels to look behind them
    try:
        with Image.open(io.BytesIO(data)) as image:
            return orientation(image)
    except Exception:  # Pillow raises many kinds; reading the pixels says what is wrong
        return 1


def fitting_turn(drawn: tuple[int, int], size: tuple[int, int], of: str | Path | None) -> int:
    """The orientation that turns what has size `drawn` (H, W) to `size`, that of picture file `of` as it is shown.

    1 where they are equal, and where `of` was not turned so.
    """
    if tuple(drawn) == tuple(size) or tuple(drawn)[::-1] != tuple(size) or of is None or not Path(of).is_file():
        return 1
    turned = stored_orientation(Path(of).read_bytes())
    return turned if turned >= 5 else 1


def shown_size(image: Image.Image, data: bytes) -> tuple[int, int]:
    """(height, width) of an opened image of these bytes as it is shown; its pixels are not decoded."""
    size = (image.height, image.width)
    if image.format == "TIFF":  # some versions of Pillow swap the size of these
        size = (image.tag_v2.get(257, size[0]), image.tag_v2.get(256, size[1]))
    return size if stored_orientation(data) < 5 else size[::-1]


def is_lossy(image: Image.Image, data: bytes) -> bool:
    """Whether the file's format changes values a little: a mask's black may be 3, its white 251."""
    if image.format == "TIFF":
        return image.tag_v2.get(259) in _LOSSY_TIFF
    if image.format == "WEBP":
        return b"VP8 " in data
    return image.format in _LOSSY


def bit_depth(image: Image.Image, data: bytes) -> int:
    """Bits of a grey value where Pillow has stretched 2 or 4 bits to 8; 8 for all others."""
    if image.mode != "L":
        return 8
    if image.format == "PNG":  # IHDR: bit depth at byte 24
        return data[24] if data[24] in (2, 4) else 8
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (8,))[0]
        return bits if bits in (2, 4) else 8
    return 8


def sixteen_bit(image: Image.Image, path: str | Path) -> np.ndarray:
    """uint16 [H, W] of an image of mode `SIXTEEN`. Raises Refused for values outside of 0 to 65535."""
    values = np.array(image)
    if values.min() < 0 or values.max() > 65535:
        got = f"32-bit values from {values.min()} to {values.max()}"
        raise Refused(path, got, "0 to 65535", "convert it to 16-bit grey")
    return values.astype(np.uint16)
