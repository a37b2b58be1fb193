"""Read and write pictures and masks without changing depth, channels or pixels."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image

from .png import bare_png

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")  # of the files that a folder is searched for
_DIRECT = {"L": ("L", False), "LA": ("LA", True), "RGB": ("RGB", False), "RGBA": ("RGBA", True)}
_CONVERTED = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_BAND = 1 << 20  # px of an image that are converted at once
_EIGHT_OF_SIXTEEN = np.round(np.arange(65536, dtype=np.float32) / np.float32(65535) * np.float32(255)).astype(np.uint8)
_ACCEPTED = "8-bit grey, RGB, palette, CMYK (alpha is kept) or 16-bit grey"


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as its file stores it.

    pixels: [H, W, C] uint8 or uint16, C 1 (grey) or 3 (RGB).
    alpha: [H, W] of the same dtype, or None; carried through untouched.
    png: the bytes of a PNG of exactly these pixels, which then is written as it is, or None.
    Raises ValueError for any other shape or dtype.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    png: bytes | None = None

    def __post_init__(self) -> None:
        pixels, alpha = self.pixels, self.alpha
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"a picture got {pixels.dtype} pixels of shape {list(pixels.shape)}; accepted is uint8 or uint16 of "
                "shape [H, W, 1] or [H, W, 3]"
            )
        if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
            raise ValueError(
                f"a picture of shape {list(pixels.shape)}, {pixels.dtype} got alpha of shape {list(alpha.shape)}, "
                f"{alpha.dtype}; accepted is the same height, width and dtype"
            )

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

    1-bit becomes grey, palette and CMYK become RGB. Of a file with several frames the first is read. EXIF orientation
    is NOT applied: masks belong to the pixels as stored.
    Raises ValueError for a damaged file or a kind that would lose depth, OSError if the file cannot be opened.
    """
    return picture_of(Path(path).read_bytes(), path)


def picture_of(data: bytes, path: str | Path) -> Picture:
    """As `read_picture`, of a file's bytes; path: only what errors call it."""
    image = _decode(data, path)
    if _has_deep_colour(image, data):
        raise ValueError(
            f"{path}: 16-bit colour, which would be cut to 8 bit without a word; accepted is {_ACCEPTED}; "
            "convert it to 8-bit colour or to 16-bit grey without alpha"
        )
    if image.mode in _SIXTEEN:
        return Picture(_sixteen(image, path)[..., None])
    if image.mode not in _DIRECT:
        image = _convert(image, path)
    elif "transparency" in image.info:
        image = image.convert(image.mode if _DIRECT[image.mode][1] else image.mode + "A")
    values = _values(image)
    values = values[..., None] if values.ndim == 2 else values
    if not _DIRECT[image.mode][1]:
        return Picture(values)
    return Picture(np.ascontiguousarray(values[..., :-1]), np.ascontiguousarray(values[..., -1]))


def png_picture_of(data: bytes, path: str | Path) -> Picture:
    """As `picture_of`; a PNG that can stay as it is keeps its compressed pixels. Raises ValueError also for a wrong
    check sum in one."""
    return replace(picture_of(data, path), png=bare_png(data, path))


def read_mask(path: str | Path, size: tuple[int, int] | None = None, of: str | Path | None = None) -> torch.Tensor:
    """Read a mask of any mode as bool [H, W]: values above half of the range are defect.

    Of a colour mask the brightest channel counts; transparent pixels are no defect. size: the (height, width) it must
    have; of: the picture it belongs to, named in the error.
    Raises ValueError for another size, a damaged file, or values that are not 0 but all below half of the range (a
    label image); OSError if the file cannot be opened.
    """
    return mask_of(Path(path).read_bytes(), path, size, of)


def mask_of(
    data: bytes, path: str | Path, size: tuple[int, int] | None = None, of: str | Path | None = None
) -> torch.Tensor:
    """As `read_mask`, of a file's bytes; path: only what errors call it."""
    image = _decode(data, path)
    _check_size(image, path, size, of)
    values, top = _mask_values(image, path)
    if 0 < values.max() <= top / 2:
        raise ValueError(
            f"{path}: the mask's largest value is {values.max()} of {top}, so no pixel is above half of the range; "
            f"accepted is 0 for normal and {top} for defect; multiply the labels"
        )
    return torch.from_numpy(values > top / 2)


def read_labels(path: str | Path, size: tuple[int, int] | None = None, of: str | Path | None = None) -> np.ndarray:
    """Read a label image as its whole numbers, [H, W]: grey values, or a palette's indices; transparent pixels are 0,
    and white is 255 where there is nothing but black and white.

    size, of: as in `read_mask`.
    Raises ValueError for another size, a damaged file, or colours (labels as colours say nothing without their list);
    OSError if the file cannot be opened.
    """
    image = _decode(Path(path).read_bytes(), path)
    _check_size(image, path, size, of)
    if image.mode in ("1", "L", "P"):
        return np.array(image.convert("L") if image.mode == "1" else image)
    if image.mode in _SIXTEEN:
        return _sixteen(image, path)
    values = np.array(image.convert("RGBA"))
    if (values[..., :1] != values[..., 1:3]).any():
        raise ValueError(
            f"{path}: a mask in colours; accepted are grey values or a palette, whose numbers are the classes; "
            "export the mask with class numbers"
        )
    return np.where(values[..., 3] > 127, values[..., 0], 0)


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write a PNG of the picture's depth, channels and alpha, under a temporary name first.

    Raises ValueError for what PNG files written here cannot hold (16-bit colour or 16-bit alpha), OSError naming the
    path if it cannot be written; neither leaves a file behind.
    """
    if picture.png is not None:
        write_atomic(path, picture.png)
        return
    values = picture.pixels
    if values.dtype == np.uint16 and (values.shape[2] == 3 or picture.alpha is not None):
        raise ValueError(f"{path}: 16-bit colour or 16-bit alpha cannot be written; accepted is {_ACCEPTED}")
    if picture.alpha is not None:
        values = np.concatenate([values, picture.alpha[..., None]], axis=2)
    write_atomic(path, _png(values[..., 0] if values.shape[2] == 1 else values))


def write_mask(path: str | Path, mask: torch.Tensor | np.ndarray) -> None:
    """Write a mask [H, W] (bool, or non-zero for defect) as an 8-bit PNG of 0 and 255, under a temporary name first.

    Raises ValueError for another shape, OSError naming the path if it cannot be written.
    """
    values = np.asarray(mask.detach().cpu() if isinstance(mask, torch.Tensor) else mask)
    if values.ndim != 2:
        raise ValueError(f"{path}: a mask of shape {list(values.shape)}; accepted is [H, W]")
    write_atomic(path, _png((values != 0).astype(np.uint8) * np.uint8(255)))


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write bytes under a temporary name in the same folder, then rename; OSError names the path, nothing stays behind.

    The temporary name is fixed (".<name>.tmp"), so that a run made again after a kill overwrites what the kill left.
    """
    with open_atomic(path) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomic(path: str | Path) -> Iterator[BinaryIO]:
    """As `write_atomic`, for what is too long to be held: the file has its name once the block is left."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        remove_quietly(temporary)
        if error.errno is None or (error.filename is not None and str(error.filename) != str(temporary)):
            raise  # of something else, which the block uses
        raise OSError(error.errno, f"cannot write ({error.strerror})", str(path)) from error
    except BaseException:
        remove_quietly(temporary)
        raise


def remove_quietly(path: Path) -> None:
    """Remove a file if that is possible; used where another error is already on its way."""
    with contextlib.suppress(OSError):
        path.unlink()


def _check_size(
    image: Image.Image, path: str | Path, size: tuple[int, int] | None, of: str | Path | None
) -> None:
    if size is not None and (image.height, image.width) != tuple(size):
        picture = "its picture" if of is None else str(of)
        raise ValueError(
            f"{path}: the mask is {image.height} x {image.width} (height x width), but {picture} is "
            f"{size[0]} x {size[1]}; both must have the same size; re-export the mask from that picture"
        )


def _decode(data: bytes, path: str | Path) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path}: too large ({error}); accepted are {2 * Image.MAX_IMAGE_PIXELS} pixels in all; cut it into tiles"
        ) from error
    except Exception as error:  # Pillow raises many kinds: OSError, SyntaxError, struct.error
        cause = "no image format is recognised" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ValueError(
            f"{path}: not a readable image ({cause}; {len(data)} bytes); the file is damaged, cut short or of another "
            "kind; replace it"
        ) from error
    return image


def _has_deep_colour(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":  # IHDR: bit depth at byte 24, colour type at 25 (2 RGB, 4 grey + alpha, 6 RGBA)
        return data[24] == 16 and data[25] in (2, 4, 6)
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # BitsPerSample
        return len(bits) > 1 and max(bits) > 8
    return False


def _values(image: Image.Image) -> np.ndarray:
    """The pixels as an array, row by row of bands: `np.array` takes three copies of the whole at once."""
    rows = max(_BAND // image.width, 1)
    if image.height <= rows:
        return np.array(image)
    bands = ((top, min(top + rows, image.height)) for top in range(0, image.height, rows))
    values = None
    for top, bottom in bands:
        band = np.asarray(image.crop((0, top, image.width, bottom)))
        if values is None:
            values = np.empty((image.height, *band.shape[1:]), band.dtype)
        values[top:bottom] = band
    return values


def _sixteen(image: Image.Image, path: str | Path) -> np.ndarray:
    values = np.array(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"{path}: 32-bit values from {values.min()} to {values.max()}; accepted are 0 to 65535; "
            "convert it to 16-bit grey"
        )
    return values.astype(np.uint16)


def _convert(image: Image.Image, path: str | Path) -> Image.Image:
    if image.mode not in _CONVERTED:
        raise ValueError(f"{path}: mode {image.mode}; accepted is {_ACCEPTED}; convert it to one of them")
    target = _CONVERTED[image.mode]
    if "transparency" in image.info and target in ("L", "RGB"):
        target += "A"
    return image.convert(target)


def _mask_values(image: Image.Image, path: str | Path) -> tuple[np.ndarray, float]:
    if image.mode == "F":
        return np.array(image), 1.0
    if image.mode in _SIXTEEN:
        return _sixteen(image, path), 65535
    if image.mode not in _DIRECT or "transparency" in image.info:
        image = image.convert("RGBA")
    values = _values(image)
    if values.ndim == 2:
        return values, 255
    if not _DIRECT[image.mode][1]:
        return values.max(axis=2), 255
    return np.where(values[..., -1] > 127, values[..., :-1].max(axis=2), 0), 255


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    mode = "I;16" if values.dtype == np.uint16 else modes[1 if values.ndim == 2 else values.shape[2]]
    raw = np.ascontiguousarray(values, dtype="<u2" if mode == "I;16" else np.uint8).tobytes()
    # Level 4, as ComfyUI saves: 2.5 times as fast as Pillow's own 6 for files that are 8 % larger.
    Image.frombytes(mode, (values.shape[1], values.shape[0]), raw).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
