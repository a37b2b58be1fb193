"""The content of a mask file: grey values, indices of a palette or colours, and where it is transparent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import Refused
from .decoding import SIXTEEN, bit_depth, decode, fitting_turn, is_lossy, orientation, pixel_values, sixteen_bit, turn

MOST_CLASSES = 50  # numbers above are grey levels: 85 is a third of white, 127 half of it
NOISE = 20 / 255  # of the range: how far black and white go astray in JPEG
DARK, BRIGHT = 40 / 255, 215 / 255  # of the range: greys between are neither black nor white
FEW_GREYS = 16  # values of a drawing; a photograph has more


@dataclass(frozen=True, eq=False)
class Raster:
    """A mask file's content, turned by EXIF.

    values: grey [H, W] from 0 to `top`, colours [H, W, 3], or indices [H, W] of `palette` [n, 3]; clear: [H, W], where
    it is transparent, or None; lossy: whether the format changes values.
    """

    path: str | Path
    values: np.ndarray
    top: float
    clear: np.ndarray | None
    palette: np.ndarray | None
    lossy: bool

    def refuse(self, got: str, remedy: str, accepted: str = "") -> Refused:
        return Refused(self.path, got, accepted, remedy)


def load(data: bytes, path: str | Path, size: tuple[int, int] | None = None, of: str | Path | None = None) -> Raster:
    """A mask file's content; size, of: as in `mask_files.read_mask`. Raises Refused for a damaged file, one of
    another size, or values that are negative or no numbers."""
    image = decode(data, path)
    lossy, palette, top, clear = is_lossy(image, data), None, 255.0, None
    if image.mode == "F" or image.mode in SIXTEEN:
        values = np.array(image) if image.mode == "F" else sixteen_bit(image, path)
        if not np.isfinite(values).all() or values.min() < 0:
            raise Refused(path, "its values are negative or no numbers", remedy="save the mask as 8-bit grey")
        most = values.max()  # files of 16 bit or float often hold 8-bit values
        top = 1.0 if image.mode == "F" and most <= 1 else 255.0 if most <= 255 else 65535.0
    elif image.mode in ("P", "PA"):
        values, clear = _indices(image)
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette = np.pad(palette, ((0, 256 - len(palette)), (0, 0)))
    elif image.mode == "1" and "transparency" not in image.info:
        values, top = np.array(image).astype(np.uint8), 1.0
    else:
        depth = bit_depth(image, data)
        values, clear = _channels(image, lossy)
        if depth < 8:
            top = 2.0**depth - 1
            values = values // np.uint8(255 // int(top))
    turned = _turned(image, values.shape[:2], path, size, of)
    values, clear = turn(values, turned), None if clear is None else turn(clear, turned)
    return Raster(path, values, top, clear, palette, lossy)


def _turned(
    image: Image.Image, stored: tuple[int, int], path: str | Path, size: tuple[int, int] | None, of: str | Path | None
) -> int:
    """How the mask has to be turned: by its own EXIF, or as its picture where it fits only so."""
    own = orientation(image)
    shown = stored if own < 5 else stored[::-1]
    if size is None or shown == tuple(size):
        return own
    its = fitting_turn(stored, size, of) if own == 1 else 1
    if its != 1:
        return its
    picture = "its picture" if of is None else str(of)
    got = f"the mask is {shown[0]} x {shown[1]} (height x width), but {picture} is {size[0]} x {size[1]}"
    raise Refused(path, got, "the same size for both", "export the mask again from that picture")


def _indices(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    values = np.array(image)
    if values.ndim == 3:
        return values[..., 0], values[..., 1] <= 127
    transparency = image.info.get("transparency")
    if transparency is None:
        return values, None
    if isinstance(transparency, int):
        return values, values == transparency
    alphas = np.frombuffer(transparency.ljust(256, b"\xff"), np.uint8)
    return values, alphas[values] <= 127


def _channels(image: Image.Image, lossy: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Grey [H, W] or colours [H, W, 3], and where it is transparent."""
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        values = pixel_values(image.convert("RGBA"))
        values, clear = values[..., :3], values[..., 3] <= 127
    else:
        values, clear = pixel_values(image if image.mode in ("L", "RGB") else image.convert("RGB")), None
    if values.ndim == 3:
        red, green, blue = np.moveaxis(values if clear is None or clear.all() else values[~clear], -1, 0)
        most, least = (pick(pick(red, green), blue) for pick in (np.maximum, np.minimum))
        if (most - least).max() <= (255 * NOISE if lossy else 0):
            values = strongest(values)
    return np.ascontiguousarray(values), clear


def strongest(values: np.ndarray) -> np.ndarray:
    """The largest channel of colours [..., 3]; much faster than max over the last axis."""
    return np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])


def visible(raster: Raster) -> np.ndarray:
    """Values with 0 where they are transparent; a palette of greys as grey."""
    values = raster.values if raster.palette is None else strongest(raster.palette)[raster.values]
    if raster.clear is None or not raster.clear.any():
        return values
    kept = values[~raster.clear]
    empty = not len(kept) and values.max() - values.min() <= raster.top * NOISE
    if kept.any() or empty:
        return np.where(raster.clear if values.ndim == 2 else raster.clear[..., None], 0, values)
    raise raster.refuse(
        "only its alpha channel holds a shape, and what is transparent could be the defect as well as what is not",
        "save the mask white on black",
    )


def holds_alpha_mask(raster: Raster) -> bool:
    """Whether the colours are a photograph, so that the shape is in the alpha channel."""
    if raster.clear is None or raster.clear.all() or not raster.clear.any():
        return False
    values = raster.values if raster.palette is None else raster.palette[raster.values]
    kept = values[~raster.clear]
    greys = kept if kept.ndim == 1 else kept.mean(axis=1).astype(np.uint8)
    counts = np.bincount(greys.astype(np.int64), minlength=256)
    return (counts > 0).sum() > FEW_GREYS and np.sort(counts)[-2:].sum() < 0.8 * len(greys)


def check_no_photograph(values: np.ndarray, raster: Raster) -> None:
    """Raise Refused where most of the grey values [H, W] are neither black nor white, and many."""
    grey = (values > raster.top * DARK) & (values < raster.top * BRIGHT)
    if grey.mean() > 0.5 and len(np.unique(values[grey])) > FEW_GREYS:
        raise raster.refuse(
            f"{100 * grey.mean():.0f} % of its pixels are neither black nor white: this is a photograph, no mask",
            "put the mask there",
        )


def is_grey_palette(raster: Raster) -> bool:
    """Whether a palette encodes a grey image: its indices are grey values, or it has many greys."""
    used = np.unique(raster.values)
    colours = raster.palette[used]
    if (colours != colours[:, :1]).any():
        return False
    as_they_are = (colours[:, 0] == used).all() and used[-1] > MOST_CLASSES
    return bool(as_they_are or len(used) > FEW_GREYS)
