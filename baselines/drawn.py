"""Drawn defects: the generator of `datasets.surfaces` on any photograph. No model, no training, at once."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..datasets.surfaces.defects import TYPES, draw_defect
from ..datasets.surfaces.region import Region
from ..datasets.surfaces.shapes import Place
from ..datasets.surfaces.surface import Surface, random_lamp
from ..errors import Refused
from ..images.components import pieces
from ..images.pictures import Picture
from ..seeds import derived_seed
from .blend import like, replaced, to_float

LINES = ("scratch", "crack", "cut", "fibre", "burr")  # they follow the length of a mask; all others fill its area
MARGIN = 24  # px of surface around a piece that decide its tone and texture
SHOWN = 4 / 255  # from which a pixel counts as changed
ATTEMPTS = 6
ENOUGH = 12 / 255  # mean change of the strongest quarter of the mask, beside a part of the surface's own spread
SHARP = 0.6  # px: no camera draws an edge sharper than this


def draw_defects(normal: Picture, mask: Tensor, type: str, seed: int) -> tuple[Picture, np.ndarray]:
    """The picture with a drawn defect in every piece of the mask; all other pixels stay.

    Args:
        normal: any size; mask: bool [H, W] of its size, not empty.
        type: one of `datasets.surfaces.defects.TYPES`.

    Returns:
        the picture, and the pixels of the mask that changed, bool [H, W].

    Raises:
        Refused: an unknown type, a mask of another size, an empty mask.
    """
    if type not in TYPES:
        raise Refused("type", repr(type), f"one of {', '.join(TYPES)}")
    if tuple(mask.shape) != normal.size:
        got = f"{tuple(mask.shape)}, and the image {normal.size} (height, width)"
        raise Refused("mask", got, remedy="give a mask of the image's size")
    if not mask.any():
        raise Refused("mask", "it is empty", "one pixel or more that is to become a defect")
    values, changed = to_float(normal), np.zeros(normal.size, bool)
    # The same light on all pieces of an image.
    lamp = random_lamp(np.random.default_rng(derived_seed(seed, 0, "lamp")))
    for number, (shape, (top, left)) in enumerate(pieces(mask.numpy())):
        rows = slice(max(top - MARGIN, 0), top + shape.shape[0] + MARGIN)
        columns = slice(max(left - MARGIN, 0), left + shape.shape[1] + MARGIN)
        area = values[rows, columns]
        inside = np.zeros(area.shape[:2], bool)
        inside[top - rows.start :, left - columns.start :][: shape.shape[0], : shape.shape[1]] = shape
        rng = np.random.default_rng(derived_seed(seed, number, "drawn defect"))
        drawn = _drawn(area, inside, type, lamp, rng)
        shown = inside & (np.abs(drawn - area).max(2) >= SHOWN)
        area[inside], changed[rows, columns] = drawn[inside], changed[rows, columns] | shown
    return replaced(normal, values, mask.numpy()), changed if changed.any() else mask.numpy().copy()


def _drawn(area: np.ndarray, inside: np.ndarray, type: str, lamp: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The area [h, w, C] with a defect: the first of some attempts that shows, else the strongest."""
    picture = like(area, 3).astype(np.float32)
    grey = area.shape[2] == 1 or bool(np.ptp(area, axis=2).max() < 1 / 255)
    surface = Surface(picture, None, lamp, rng.uniform(0.05, 0.3), grey=grey)
    region = Region(inside)
    reach = region.length / 2 if type in LINES else region.depth
    centre = region.spine[len(region.spine) // 2]
    way = region.spine[-1] - region.spine[0]
    place = Place(tuple(centre), max(reach, 1.5), float(np.arctan2(*way)), region)
    wanted = ENOUGH + 0.4 * float(picture[inside].mean(1).std())
    best, most = picture, 0.0
    for _ in range(ATTEMPTS):
        change = gaussian_filter(draw_defect(surface, type, place, rng) - picture, (SHARP, SHARP, 0))
        size = np.abs(change[inside]).max(1)
        strong = float(np.sort(size)[-max(1, len(size) // 4) :].mean())
        if strong > most:
            best, most = picture + change, strong
        if strong >= wanted:
            break
    return like(np.clip(best, 0, 1).astype(np.float64), area.shape[2])
