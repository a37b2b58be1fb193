"""Masks in colours: every colour but the background is a class, soft edges and noise are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from .mask_raster import DARK, Raster, check_no_photograph, holds_alpha_mask, is_grey_palette, strongest, visible

Colour = tuple[int, int, int]

_FEW_COLOURS = 64  # more are those of noise or of soft edges
_RIM = 2  # px: how far a soft edge reaches
_LEVELS = np.array([0, 64, 128, 192, 255])  # to which the one colour of a lossy file is rounded


def code_of(colour: Sequence[int]) -> int:
    """A colour as one whole number, 0xrrggbb."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def colour_of(code: int) -> Colour:
    """The colour of a code."""
    return int(code) >> 16, int(code) >> 8 & 255, int(code) & 255


def codes_of(raster: Raster) -> np.ndarray | None:
    """[H, W] of colours as whole numbers (red, green, blue), 0 for the background; None for a grey mask."""
    if raster.palette is not None:
        return None if is_grey_palette(raster) else _index_codes(raster)
    if raster.values.ndim == 2 or holds_alpha_mask(raster):
        return None
    values = visible(raster)
    codes = code_of(np.moveaxis(values.astype(np.int32), -1, 0))
    found, counts = np.unique(codes, return_counts=True)
    if raster.lossy or len(found) > _FEW_COLOURS:
        return _one_colour(values, raster)
    if len(found) > 1 and found[0] != 0:
        shown = ", ".join(hexadecimal(colour_of(code)) for code in found[:4])
        raise raster.refuse(
            f"it has {len(found)} colours ({shown}{', ...' * (len(found) > 4)}) and none is black, so that any could "
            "be the background",
            "save the mask with a black background",
        )
    return _without_rims(codes, [int(code) for code in found[np.argsort(-counts, kind="stable")] if code])


def hexadecimal(colour: Colour) -> str:
    """A colour as #ff8000."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _index_codes(raster: Raster) -> np.ndarray:
    """Index 0 is the background, whatever its colour; other indices keep theirs, black becomes nearly black."""
    colours = code_of(raster.palette.astype(np.int64).T)
    colours[colours == 0] = 0x010101
    colours[0] = 0
    codes = colours[raster.values]
    return codes if raster.clear is None else np.where(raster.clear, 0, codes)


def _without_rims(codes: np.ndarray, by_count: Sequence[int]) -> np.ndarray:
    """Colours of soft edges become the colour that they lead to: rarer ones, between two others in colour and place."""
    kept = [0]  # colours that are none of an edge, the background among them
    near: dict[int, np.ndarray] = {}
    for code in by_count:
        for low, high in ((low, high) for high in kept[1:] for low in kept if low != high):
            if not _is_between(code, low, high):
                continue
            for end in {low, high} - near.keys():
                near[end] = _near(codes == end)
            if _mostly(near[low] & near[high], codes == code):
                codes = np.where(codes == code, high, codes)
                break
        else:
            kept.append(code)
    return codes


def _is_between(code: int, low: int, high: int) -> bool:
    middle, start, end = (np.array(colour_of(c), float) for c in (code, low, high))
    along = end - start
    place = float((middle - start) @ along / (along @ along))
    return 0 < place < 1 and bool(np.abs(start + place * along - middle).max() <= 12)


def is_rim(between: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether most pixels of `between` lie close to both other regions: an edge, not an area."""
    return bool(low.any() and high.any()) and _mostly(_near(low) & _near(high), between)


def _near(region: np.ndarray) -> np.ndarray:
    return binary_dilation(region, np.ones((2 * _RIM + 1, 2 * _RIM + 1)))


def _mostly(edge: np.ndarray, pixels: np.ndarray) -> bool:
    return bool(edge[pixels].mean() >= 0.9)


def _one_colour(values: np.ndarray, raster: Raster) -> np.ndarray:
    """Codes of a noisy colour mask, which may have one colour beside black."""
    strength = strongest(values)
    most = int(strength.max())
    if most <= 255 * DARK:
        return np.zeros(strength.shape, np.int64)
    check_no_photograph(values.mean(axis=2), raster)
    level = float(np.median(strength[strength > most / 2]))
    core = values[strength > 0.75 * level].astype(float)
    inner = binary_erosion(strength > 1.5 * 255 * DARK, np.ones((5, 5)))  # without edges, where colours mix
    if _differ(core, 0.05) or _differ(values[inner].astype(float), 0.02) or (strength[inner] < level / 2).any():
        why = "in a lossy file" if raster.lossy else "with noise or soft edges"
        raise raster.refuse(f"it has several colours {why}, which cannot be separated", "save them exactly, as PNG")
    colour = np.median(core, axis=0)
    rounded = [int(_LEVELS[np.abs(_LEVELS - value).argmin()]) for value in colour]
    return np.where(strength > level / 2, code_of(rounded), 0)


def _differ(colours: np.ndarray, share: float) -> bool:
    """Whether more than a share of colours [N, 3], none of them black, have another hue than most."""
    hues = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    middle = np.median(hues, axis=0) if len(hues) else 0
    return bool((np.linalg.norm(hues - middle, axis=1) > 0.35).sum() > share * len(hues))
