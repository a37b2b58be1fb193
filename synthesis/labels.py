"""Labels that follow the picture: the part of a mask that its defect fills.

A person paints a wide stroke, and the base draws a thin crack in it. The requested mask then calls normal surface a
defect. The refined mask keeps the pixels that are unlike all controls (see `synthesis.controls`), which are the same
mask filled with normal surface.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from ..images.components import EIGHT_NEIGHBOURS
from ..images.masks import mask_box
from ..images.pictures import Picture
from .windows import Part

# Hysteresis, as of Canny's edges: a piece of the refined mask has a pixel that changed by SURE spreads of the
# controls, and all of its pixels changed by LIKELY. FAINT is the least spread, in levels of 255.
SURE, LIKELY, FAINT = 2.0, 1.0, 3.0
SPREAD = 0.99  # quantile of the controls' own differences that counts as their spread


def refined_mask(result: Picture, parts: Sequence[Part], controls: Sequence[np.ndarray]) -> np.ndarray:
    """The pixels of a pair's mask that its defect fills, bool [H, W]; nothing where no defect shows.

    Args:
        result: the pair's image.
        parts: of its mask.
        controls: of every part, the pixels of its mask made again as normal surface, [k, N, C] of the picture's dtype.
    """
    filled = np.zeros(result.size, bool)
    for part, own in zip(parts, controls, strict=True):
        area, inside = part.in_area(result.size)
        filled[area] |= _filled(result.pixels[area], inside.numpy(), own)
    return filled


def changed_mask(result: Picture, normal: Picture, mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask, bool [H, W], that differ from the normal picture; for pictures painted without a model."""
    filled = np.zeros_like(mask)
    top, left, height, width = mask_box(torch.from_numpy(mask))
    area = slice(top, top + height), slice(left, left + width)
    inside = mask[area]
    filled[area] = _filled(result.pixels[area], inside, normal.pixels[area][inside][None])
    return filled


def refined_picture(result: Picture, normal: Picture, refined: np.ndarray) -> Picture:
    """The pair's image under its refined mask: every pixel outside that mask is the normal picture's."""
    return normal.with_pixels(np.where(refined[..., None], result.pixels, normal.pixels))


def _filled(pixels: np.ndarray, inside: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """`refined_mask` of one part: pixels [h, w, C] of its area, inside bool [h, w]."""
    scale = np.iinfo(pixels.dtype).max / 255
    again = controls.astype(np.float32) / scale
    mean = again.mean(0)
    change = _change(pixels[inside] / scale - mean, inside)
    # k controls differ from their own mean by less than from a further draw.
    apart = [_change(one - mean, inside) for one in again]
    spread = np.quantile(apart, SPREAD) * (len(again) / max(len(again) - 1, 1)) ** 0.5
    grid = np.zeros(inside.shape, np.float32)
    grid[inside] = change / max(float(spread), FAINT)
    likely = grid > LIKELY
    labels, count = ndimage.label(likely, EIGHT_NEIGHBOURS)
    sure = ndimage.maximum(grid, labels, np.arange(1, count + 1)) > SURE if count else np.zeros(0, bool)
    filled = np.append(False, sure)[labels]
    # One pixel more all around: the soft edge belongs to the defect.
    grown = ndimage.binary_dilation(ndimage.binary_fill_holes(filled), EIGHT_NEIGHBOURS)
    return grown & inside


def _change(difference: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Signed differences [N, C] of the pixels inside, averaged over their 3 x 3 neighbours inside, as one size [N]."""
    total = np.zeros((*inside.shape, difference.shape[1]), np.float32)
    total[inside] = difference
    total = ndimage.uniform_filter(total, (3, 3, 0), mode="constant")
    share = ndimage.uniform_filter(inside.astype(np.float32), 3, mode="constant")
    return np.abs(total[inside] / share[inside, None]).mean(1)
