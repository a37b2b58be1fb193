"""Is a pair's mask exact? Whether the defect fills it, stays in it, and ends where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation
from torch import Tensor

from ..images.masks import mask_box

# Where no negatives were measured: a pixel that moved by more than the surface's own spread is no longer surface.
CHANGED_ABOVE = 1.0
TOLERANCE = 2  # px
DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a pair is judged by; over several parts of a mask, the mean by area.

    visibility, strength, excess, contrast: see `synthesis.visibility`; completeness, precision, boundary: 0 .. 1, see
    this file; seam: see `synthesis.seam`; nearest_real: see `synthesis.nearest_real`. None: excess without a control,
    nearest_real where no real defects are known.
    """

    visibility: float
    strength: float
    excess: float | None = None
    contrast: float
    completeness: float
    precision: float
    boundary: float
    seam: float
    nearest_real: float | None = None

    @property
    def entries(self) -> dict[str, float | None]:
        """For a line of the manifest."""
        values = {field.name: getattr(self, field.name) for field in fields(Scores)}
        return {name: value if value is None else round(value, DIGITS) for name, value in values.items()}


NOT_SCORED: dict[str, None] = dict.fromkeys(field.name for field in fields(Scores))


def mean_scores(scores: Sequence[Scores], areas: Sequence[float]) -> Scores:
    """Every score's mean by area, see `mean_known`."""
    return Scores(**{name: mean_known([getattr(one, name) for one in scores], areas) for name in NOT_SCORED})


def mean_known(values: Sequence[float | None], areas: Sequence[float]) -> float | None:
    """Mean by area over the values that there are; None without any."""
    known = [(value, area) for value, area in zip(values, areas, strict=True) if value is not None]
    return sum(value * area for value, area in known) / sum(area for _, area in known) if known else None


def change_levels(result: Tensor, roundtrip: Tensor, mask: Tensor, unit: float) -> Tensor:
    """How far every pixel of the mask is from the normal surface, [N], in spreads of that surface.

    The change is signed and averaged over the 3 x 3 neighbours inside the mask first, which takes out most of the
    autoencoder's own error and leaves a line of one pixel as it is.

    Args:
        result, roundtrip: [C, H, W] in 0 .. 1, the pair's image, and the normal image encoded and decoded.
        mask: bool [H, W], not empty.
        unit: see `visibility.unit`.
    """
    top, left, height, width = mask_box(mask)
    box = (..., slice(top, top + height), slice(left, left + width))
    inside = mask[box].to(result)
    total = F.avg_pool2d(((result - roundtrip)[box] * inside)[None], 3, 1, 1)[0]
    share = F.avg_pool2d(inside[None, None], 3, 1, 1)[0]
    return (total / share.clamp_min(1 / 9)).abs().mean(0)[mask[box]] / unit


def completeness(
    result: Tensor, roundtrip: Tensor, mask: Tensor, unit: float, changed_above: float = CHANGED_ABOVE
) -> float:
    """Share of the mask's pixels that the defect fills: those whose `change_levels` is above `changed_above`."""
    return (change_levels(result, roundtrip, mask, unit) > changed_above).float().mean().item()


def precision(made: Tensor, roundtrip: Tensor, mask: Tensor) -> float:
    """Share of the change, before composing, that lies inside the mask; 0 where nothing changed.

    What lies outside is cut off by composing: the pair's mask then ends where the defect does not.

    Args:
        made, roundtrip: a window with the anomaly and without, both decoded, [C, R, R].
        mask: bool [R, R].
    """
    change = (made - roundtrip).abs().mean(0).double()
    total = change.sum()
    return (change[mask].sum() / total).item() if total > 0 else 0.0


def changed_region(made: Tensor, roundtrip: Tensor, unit: float, changed_above: float = CHANGED_ABOVE) -> Tensor:
    """Pixels of a window that the defect changed before composing, bool [R, R]; smoothed as `change_levels` are."""
    everywhere = torch.ones(made.shape[1:], dtype=torch.bool)
    return (change_levels(made, roundtrip, everywhere, unit) > changed_above).view(made.shape[1:])


def boundary_agreement(region: Tensor, mask: Tensor, tolerance: float = TOLERANCE) -> float:
    """Boundary F-score of a region against the mask, both bool [H, W]: 1 is the same outline, 0 nowhere near.

    Harmonic mean of the shares of either outline that lie within `tolerance` px of the other one (the BF measure of
    Csurka et al., BMVC 2013). Boundary IoU (Cheng et al., CVPR 2021) was not taken: a mask that is thinner than its
    band, as most cracks are, makes it the plain IoU, which punishes one pixel on a thin line as a miss.
    Where the window's border cuts a shape, it has no outline there; two shapes without any agree if both are there.
    """
    ours, theirs = (_outline(shape.numpy()) for shape in (region, mask))
    if not ours.any() and not theirs.any():
        return float(bool(region.any()) == bool(mask.any()))
    if not ours.any() or not theirs.any():
        return 0.0
    reach = int(tolerance)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = rows**2 + columns**2 <= tolerance**2
    found = [binary_dilation(other, disk)[own].mean() for own, other in ((ours, theirs), (theirs, ours))]
    return float(2 * found[0] * found[1] / sum(found)) if sum(found) else 0.0


def _outline(shape: np.ndarray) -> np.ndarray:
    """A shape's pixels that have a neighbour (of 4) outside it."""
    padded = np.pad(shape, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return shape & ~inner
