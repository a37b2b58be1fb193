"""Read and write pictures and masks without changing depth, channels or pixels."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import Refused
from ..files.durable import write_atomic
from .decoding import SIXTEEN, decode, orientation, pixel_values, sixteen_bit, stored_orientation, turn
from .png import bare_png

SUFFIXES = (  # of the files that a folder is searched for
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".bmp",
    ".tif",
    ".tiff",
    ".webp",
    ".pgm",
    ".ppm",
    ".pnm",
    ".pbm",
    ".jp2",
)
_DIRECT = {"L": ("L", False), "LA": ("LA", True), "RGB": ("RGB", False), "RGBA": ("RGBA", True)}
_CONVERTED = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
_EIGHT_OF_SIXTEEN = np.round(np.arange(65536, dtype=np.float32) / np.float32(65535) * np.float32(255)).astype(np.uint8)
_ACCEPTED = "8-bit grey, RGB, palette, CMYK (alpha is kept) or 16-bit grey"


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as its file stores it.

    pixels: [H, W, C] uint8 or uint16, C 1 (grey) or 3 (RGB).
    alpha: [H, W] of the same dtype, or None; carried through untouched.
    png: the bytes of a PNG of exactly these pixels, which then is written as it is, or None.
    Raises Refused for any other shape or dtype.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    png: bytes | None = None

    def __post_init__(self) -> None:
        pixels, alpha = self.pixels, self.alpha
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype not in (np.uint8, np.uint16):
            got = f"{pixels.dtype} of shape {list(pixels.shape)}"
            raise Refused("pixels", got, "uint8 or uint16 of shape [H, W, 1] or [H, W, 3]")
        if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
            got = f"{alpha.dtype} of shape {list(alpha.shape)}, for pixels of {pixels.dtype}, {list(pixels.shape)}"
            raise Refused("alpha", got, "the same height, width and dtype")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def image(self) -> torch.Tensor:
        """float32 [3, H, W] in 0..1; grey is repeated over the three channels."""
        planes = self.planes()
        return planes if len(planes) == 3 else planes.expand(3, -1, -1).contiguous()

    def planes(self) -> torch.Tensor:
        """float32 [C, H, W] in 0..1."""
        top, values = np.float32(np.iinfo(self.pixels.dtype).max), np.empty((self.pixels.shape[2], *self.size), "f4")
        for channel, plane in enumerate(values):  # in place: the floats are four times the picture
            np.divide(self.pixels[..., channel], top, out=plane)
        return torch.from_numpy(values)

    def eight_bit(self) -> torch.Tensor:
        """uint8 [3, H, W], `image()` rounded to 255ths; without floats of the picture's size."""
        pixels = self.pixels if self.pixels.dtype == np.uint8 else _EIGHT_OF_SIXTEEN[self.pixels]
        values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return values.expand(3, -1, -1).contiguous()

    def with_pixels(self, pixels: np.ndarray) -> Picture:
        """The same picture with other pixels ([H, W, C] as above) and this one's alpha."""
        return replace(self, pixels=pixels, png=None)


def read_picture(path: str | Path) -> Picture:
    """Read one image file; 8-bit or 16-bit depth, channels and alpha stay.

    1-bit becomes grey, palette and CMYK become RGB. Of a file with several frames the first is read. Pixels are turned
    by EXIF orientation, as viewers, annotation tools and ComfyUI's Load Image show them.
    Raises Refused for a damaged file or a kind that would lose depth, OSError if the file cannot be opened.
    """
    return picture_of(Path(path).read_bytes(), path)


def picture_of(data: bytes, path: str | Path) -> Picture:
    """As `read_picture`, of a file's bytes; path: only what errors call it."""
    image = decode(data, path)
    if _has_deep_colour(image, data):
        got = "16-bit colour, which would be cut to 8 bit without a word"
        raise Refused(path, got, _ACCEPTED, "convert it to 8-bit colour or to 16-bit grey without alpha")
    turned = orientation(image)
    if image.mode in SIXTEEN:
        return Picture(turn(sixteen_bit(image, path)[..., None], turned))
    if image.mode not in _DIRECT:
        image = _convert(image, path)
    elif "transparency" in image.info:
        image = image.convert(image.mode if _DIRECT[image.mode][1] else image.mode + "A")
    values = pixel_values(image)
    values = turn(values[..., None] if values.ndim == 2 else values, turned)
    if not _DIRECT[image.mode][1]:
        return Picture(values)
    return Picture(np.ascontiguousarray(values[..., :-1]), np.ascontiguousarray(values[..., -1]))


def png_picture_of(data: bytes, path: str | Path) -> Picture:
    """As `picture_of`; a PNG that can stay as it is keeps its compressed pixels. Raises Refused also for a wrong
    check sum in one."""
    png = bare_png(data, path)
    return replace(picture_of(data, path), png=png if stored_orientation(data) == 1 else None)


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write a PNG of the picture's depth, channels and alpha, under a temporary name first; its folder is not synced.

    Raises Refused for what PNG files written here cannot hold (16-bit colour or 16-bit alpha), OSError naming the
    path if it cannot be written; neither leaves a file behind.
    """
    if picture.png is not None:
        write_atomic(path, picture.png, folder=False)
        return
    values = picture.pixels
    if values.dtype == np.uint16 and (values.shape[2] == 3 or picture.alpha is not None):
        raise Refused(path, "16-bit colour or 16-bit alpha cannot be written", _ACCEPTED)
    if picture.alpha is not None:
        values = np.concatenate([values, picture.alpha[..., None]], axis=2)
    write_atomic(path, _png(values[..., 0] if values.shape[2] == 1 else values), folder=False)


def write_mask(path: str | Path, mask: torch.Tensor | np.ndarray) -> None:
    """Write a mask [H, W] (bool, or non-zero for defect) as an 8-bit PNG of 0 and 255, as `write_picture`.

    Raises Refused for another shape, OSError naming the path if it cannot be written.
    """
    values = np.asarray(mask.detach().cpu() if isinstance(mask, torch.Tensor) else mask)
    if values.ndim != 2:
        raise Refused(path, f"a mask of shape {list(values.shape)}", "[H, W]")
    write_atomic(path, _png((values != 0).astype(np.uint8) * np.uint8(255)), folder=False)


def _has_deep_colour(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":  # IHDR: bit depth at byte 24, colour type at 25 (2 RGB, 4 grey + alpha, 6 RGBA)
        return data[24] == 16 and data[25] in (2, 4, 6)
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # BitsPerSample
        return len(bits) > 1 and max(bits) > 8
    if image.format == "PPM":
        header = re.match(rb"P[36]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*(\d+)", data)
        return header is not None and int(header[1]) > 255
    if image.format == "JPEG2000":
        size = data.find(b"\xff\x4f\xff\x51")  # the code stream's SIZ: channels at byte 40, then each one's depth - 1
        return len(image.getbands()) > 1 and data[size + 42] & 127 > 7
    return False


def _convert(image: Image.Image, path: str | Path) -> Image.Image:
    if image.mode not in _CONVERTED:
        raise Refused(path, f"mode {image.mode}", _ACCEPTED, "convert it to one of them")
    target = _CONVERTED[image.mode]
    if "transparency" in image.info and target in ("L", "RGB"):
        target += "A"
    return image.convert(target)


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    mode = "I;16" if values.dtype == np.uint16 else modes[1 if values.ndim == 2 else values.shape[2]]
    raw = np.ascontiguousarray(values, dtype="<u2" if mode == "I;16" else np.uint8).tobytes()
    # Level 4, as ComfyUI saves: 2.5 times as fast as Pillow's own 6 for files that are 8 % larger.
    Image.frombytes(mode, (values.shape[1], values.shape[0]), raw).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
