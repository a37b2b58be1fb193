"""What a mask file marks: white on black, class numbers, a palette, colours, or a shape in its alpha channel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_erosion

from .mask_colours import Colour, code_of, codes_of, colour_of, hexadecimal, is_rim
from .mask_raster import DARK, MOST_CLASSES, NOISE, Raster, check_no_photograph, holds_alpha_mask, load, visible

WHITE = (255, 255, 255)


def read_mask(path: str | Path, size: tuple[int, int] | None = None, of: str | Path | None = None) -> torch.Tensor:
    """Read a mask of any kind as bool [H, W].

    Grey: values above half of the range are defect. A palette or colours: every index but 0 and every colour but black
    is defect, however dark. Transparent pixels are no defect, but where the colours are those of a photograph: then
    they are the defect, as ComfyUI's mask editor saves it. Black and white may be noisy, as JPEG leaves them.
    size: the (height, width) it must have once it is turned by EXIF; of: the picture it belongs to. A mask that fits
    the picture only as stored is turned as the picture is.
    Raises Refused for another size, a damaged file, grey values that are not 0 but all below half of the range (a
    label image), a photograph, or colours without black; OSError if the file cannot be opened.
    """
    return mask_of(Path(path).read_bytes(), path, size, of)


def mask_of(
    data: bytes, path: str | Path, size: tuple[int, int] | None = None, of: str | Path | None = None
) -> torch.Tensor:
    """As `read_mask`, of a file's bytes; path: only what errors call it."""
    return torch.from_numpy(_shape(load(data, path, size, of)))


def read_marked(path: str | Path, size: tuple[int, int] | None = None, of: str | Path | None = None) -> np.ndarray:
    """As `read_mask`, bool [H, W], but any grey value other than 0 is defect, unless black and white are noisy."""
    return _shape(load(Path(path).read_bytes(), path, size, of), any_value=True)


def read_labels(
    path: str | Path, size: tuple[int, int] | None = None, of: str | Path | None = None, exact: bool = False
) -> np.ndarray:
    """Read a label image as its whole numbers, [H, W]: grey values, or a palette's indices; transparent pixels are 0,
    and white is 255 where there is nothing but black and white.

    size, of: as in `read_mask`. Values of a lossy file are no numbers: it is read as black and white; exact: refused,
    where black would be what is left of small numbers.
    Raises Refused for another size, a damaged file, or colours (labels as colours say nothing without their list);
    OSError if the file cannot be opened.
    """
    raster = load(Path(path).read_bytes(), path, size, of)
    if raster.values.ndim == 3:
        raise raster.refuse(
            "a mask in colours",
            "export the mask with class numbers",
            "grey values or a palette, whose numbers are the classes",
        )
    if raster.lossy and exact:
        raise raster.refuse("a lossy file, which does not keep class numbers", "export the mask as PNG")
    if raster.lossy:
        return np.where(_shape(raster), 255, 0)
    values = raster.values
    if values.dtype.kind == "f":
        if (values % 1).any():
            raise raster.refuse("its values are fractions", "save it as 8-bit grey", "whole class numbers")
        values = values.astype(np.int64)
    elif raster.top == 1:  # one bit
        values = np.where(values > 0, 255, 0)
    return values if raster.clear is None else np.where(raster.clear, 0, values)


def read_colour(
    path: str | Path, colour: Colour, size: tuple[int, int] | None = None, of: str | Path | None = None
) -> np.ndarray:
    """Where a mask in colours shows one of `colours_of`, bool [H, W]. Raises as `read_mask`."""
    raster = load(Path(path).read_bytes(), path, size, of)
    codes = codes_of(raster)
    if codes is None:
        return _shape(raster) & (colour == WHITE)
    return codes == code_of(colour)


def colours_of(path: str | Path) -> tuple[Colour, ...]:
    """The colours that a mask shows beside its background, sorted; white alone for a grey one, none for an empty one.

    Soft edges are no colours of their own. Raises as `read_mask`.
    """
    return _colours(load(Path(path).read_bytes(), path))


def holds_numbers(labels: np.ndarray) -> bool | None:
    """Whether `read_labels` gave class numbers: small ones. None where black and white leave it open.

    255 beside them is void, as in Pascal VOC, unless what lies between it and 0 is a soft edge.
    """
    shown = (labels != 0) & (labels != 255)
    if not shown.any():
        return None
    return bool(labels[shown].max() <= MOST_CLASSES) and not is_rim(shown, labels == 0, labels == 255)


@dataclass(frozen=True)
class Doubt:
    """A way to read a mask that its file leaves open. kind: the same for all masks read so; what, remedy: in words."""

    kind: str
    what: str
    remedy: str


def doubts(path: str | Path, any_value: bool = False) -> list[Doubt]:
    """What `read_mask` (any_value: `read_marked`) assumed to read a file. Raises as they do."""
    raster = load(Path(path).read_bytes(), path)
    if holds_alpha_mask(raster):
        share = f"{100 * raster.clear.mean():.2g} % of the image"
        return [
            Doubt(
                "alpha",
                f"its colours are a photograph, so its alpha channel is read: transparent pixels ({share}) are "
                "the defect, as ComfyUI's mask editor saves it",
                "look at it on the sheet, or save the mask white on black",
            )
        ]
    codes = codes_of(raster)
    if codes is not None:
        return _of_colours(raster, [colour_of(code) for code in np.unique(codes) if code])
    return [] if any_value or raster.palette is not None else _of_grey_areas(raster)


def _of_colours(raster: Raster, colours: list[Colour]) -> list[Doubt]:
    found = []
    if len(colours) > 1:
        shown = ", ".join(map(hexadecimal, colours[:4])) + ", ..." * (len(colours) > 4)
        found.append(
            Doubt(
                "colours",
                f"it shows {len(colours)} colours ({shown}), and all of them count as this defect",
                "save a mask for each type if they are different types",
            )
        )
    if raster.palette is not None and raster.palette[0].any() and not raster.palette[raster.values].any(axis=2).all():
        found.append(
            Doubt(
                "palette",
                f"its palette shows index 0 as {hexadecimal(tuple(raster.palette[0]))} and another index as "
                "black, and index 0 counts as normal",
                "save the mask white on black if it is the other way round",
            )
        )
    return found


def _of_grey_areas(raster: Raster) -> list[Doubt]:
    """What is too dark to count as white, and too large for a soft edge."""
    shape, values = _shape(raster), visible(raster)
    grey = (values > raster.top * DARK) & ~shape
    inner = binary_erosion(grey, np.ones((5, 5))) if grey.any() else grey
    if not inner.any() or not shape.any():
        return []
    return [
        Doubt(
            "grey",
            f"it has areas of grey {np.median(values[inner]):g} of {raster.top:g}, which is not above half and "
            "counts as normal",
            "save defects as white, or class numbers as 1, 2, ...",
        )
    ]


def _colours(raster: Raster) -> tuple[Colour, ...]:
    codes = codes_of(raster)
    if codes is None:
        return (WHITE,) if _shape(raster).any() else ()
    return tuple(colour_of(code) for code in np.unique(codes) if code)


def _shape(raster: Raster, any_value: bool = False) -> np.ndarray:
    """bool [H, W]: the defect."""
    if holds_alpha_mask(raster):
        return raster.clear
    codes = codes_of(raster)
    if codes is not None:
        return codes != 0
    return _white(visible(raster), raster, any_value)


def _white(values: np.ndarray, raster: Raster, any_value: bool) -> np.ndarray:
    """bool [H, W] of grey values."""
    most, top = float(values.max()), raster.top
    if raster.lossy and most <= top * DARK:
        return np.zeros(values.shape, bool)
    check_no_photograph(values, raster)
    if any_value and not raster.lossy and not _is_noisy(values, top):
        return values > 0
    if 0 < most <= (0.4 * top if raster.lossy else top / 2):  # 127 in a JPEG file may be 126
        if not raster.lossy and most == top // 2 and not ((values > 0) & (values < most)).any():
            return values > 0  # 0 and 127: half of white, as signed bytes have it
        raise raster.refuse(
            f"the mask's largest value is {most:g} of {top:g}, so no pixel is above half of the range",
            "multiply the labels, or read class numbers as layout index",
            f"0 for normal and {top:g} for defect",
        )
    level = float(np.median(values[values > most / 2])) if raster.lossy else top
    return values > (top if level > 0.75 * top else level) / 2


def _is_noisy(values: np.ndarray, top: float) -> bool:
    """Whether black and white have several values each, as in a copy of a JPEG file."""
    found = np.unique(values)
    ends = (found > 0) & (found <= top * NOISE), found >= top * (1 - NOISE)
    return all(end.sum() > 1 for end in ends)
