"""Masks as people give them: exact, a loose stroke of a brush, dabs of a brush, a box; each holds the whole defect."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from .fields import Rng, noise

KINDS = ("exact", "stroke", "dabs", "box")
_CHANCES = (0.4, 0.3, 0.2, 0.1)


def requested_mask(exact: np.ndarray, rng: Rng, kind: str | None = None) -> tuple[np.ndarray, str]:
    """A mask that a person might draw for a defect, and its kind; kind None: a random one.

    exact: bool [H, W], not empty. The result holds it, except that an image's border cuts both.
    """
    kind = kind or str(rng.choice(KINDS, p=_CHANCES))
    if kind == "exact":
        return exact.copy(), kind
    rows, columns = np.nonzero(exact)
    if kind == "box":
        spare = rng.integers(0, 7, 4)
        mask = np.zeros_like(exact)
        top, left = max(rows.min() - spare[0], 0), max(columns.min() - spare[1], 0)
        mask[top : rows.max() + 1 + spare[2], left : columns.max() + 1 + spare[3]] = True
        return mask, kind
    away = distance_transform_edt(~exact)
    length = max(np.ptp(rows), np.ptp(columns)) + 1
    radius = rng.uniform(1, 3 + 0.15 * length)
    if kind == "stroke":
        return exact | (away < radius * (1 + 0.25 * noise(exact.shape, rng, 6))), kind
    mask = exact | (away < 1.5)
    y, x = np.ogrid[: exact.shape[0], : exact.shape[1]]
    radius += 2
    for place in rng.integers(0, len(rows), int(np.clip(3 * length / radius, 3, 40))):
        dy, dx = rng.normal(0, 0.35 * radius, 2)
        mask |= (y - rows[place] - dy) ** 2 + (x - columns[place] - dx) ** 2 < radius**2
    return mask, kind
