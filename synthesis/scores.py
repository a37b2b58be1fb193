"""What a pair is judged by: whether its mask shows an anomaly, and whether the mask is exact.

Visible: `visibility`, `strength`, `excess` and `signed_contrast`, against the surface around the mask. Exact: whether
the defect fills its mask (`completeness`), stays in it (`precision`), and ends where it ends (`boundary_agreement`);
and `seam`, the step at the mask's edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation
from torch import Tensor

from ..images.masks import mask_box
from ..images.pictures import Picture
from ..images.windows import enlarge, image_part
from .compose import DecodedPart

# Where no negatives were measured: a pixel that moved by more than the surface's own spread is no longer surface.
CHANGED_ABOVE = 1.0

# Thresholds of `visible`. `synthesize` measures its own on normal surface, see `synthesis.negatives`: 1.6 to 1.9 for
# the bundled base. The others are for where nothing was measured; see `excess` for what surface alone reaches.
# make and Make Defects draw with more steps than their controls have: surface reaches 2.
PHOTOGRAPH_VISIBLE_ABOVE = 2.0
# Compose Pair's default, a mild test: a graph's controls may have as many steps as its pairs, so that surface reaches
# 1, and without controls `visibility` is compared.
COMPOSED_VISIBLE_ABOVE = 1.0

TOLERANCE = 2  # px
DIGITS = 4
FLOOR = 2 / 255
MIN_RING = 8
PERCENTILE = 0.99
STRONGEST = 0.25  # share of a mask's pixels that `strength` looks at
FINE = 9  # px


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a pair is judged by; over several parts of a mask, the mean by area.

    See the functions of these names; completeness, precision, boundary: 0 .. 1; nearest_real: see `synthesis.nearest`.
    None: excess without controls, nearest_real where no real defects are known.
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


class ScoredPart:
    """One part of a pair, with what its scores are read from, cut out once: the area that its window covers.

    result, normal: float32 [3, h, w] in 0 .. 1; roundtrip: the normal window encoded and decoded, there; mask: the
    part's, bool [h, w]; around: its `ring`; scale: its `unit`.
    """

    def __init__(self, result: Picture, normal: Picture, decoded: DecodedPart):
        part, *self.windows = decoded
        rows, columns = image_part(part.window, normal.size)
        area, self.mask = part.in_area(normal.size)
        self.part, self.shown = part, part.shown()
        self.result, self.normal = (Picture(picture.pixels[area]).image() for picture in (result, normal))
        self.roundtrip = enlarge(self.windows[1], part.window)[:, rows[1], columns[1]]
        self.around = ring(self.mask)
        self.scale = unit(self.normal, self.mask, self.around)

    def levels(self) -> Tensor:
        """`change_levels` of the part."""
        return change_levels(self.result, self.roundtrip, self.mask, self.scale)

    def excess(self, controls: np.ndarray) -> float:
        """`excess` of the part; controls: see `scores_of`."""
        return excess(self.result[:, self.mask], Picture(controls).image().movedim(1, 0))

    def scores(self, changed_above: float = CHANGED_ABOVE, controls: np.ndarray | None = None) -> Scores:
        """On the area of its window; before composing, at the window's own resolution. See `scores_of`."""
        seen, known, surface, mask, around = self.result, self.roundtrip, self.normal, self.mask, self.around
        return Scores(
            visibility=visibility(seen, known, surface, mask, around),
            strength=strength(seen, known, surface, mask, around),
            excess=None if controls is None else self.excess(controls),
            contrast=signed_contrast(seen, mask, surface, around),
            completeness=completeness(seen, known, mask, self.scale, changed_above),
            precision=precision(*self.windows, self.shown),
            boundary=boundary_agreement(changed_region(*self.windows, self.scale, changed_above), self.shown),
            seam=seam(seen, mask, around),
        )


def scores_of(
    result: Picture,
    normal: Picture,
    decoded: Sequence[DecodedPart],
    changed_above: float = CHANGED_ABOVE,
    controls: Sequence[np.ndarray | None] | None = None,
) -> Scores:
    """Scores of a result however it came about: means over the parts by area.

    Args:
        normal: the normal picture.
        decoded: the parts of its mask.
        changed_above: change above which a pixel counts as filled, see `completeness`.
        controls: for every part its mask's pixels, made again as normal surface several times, [k, N, C] of the
            picture's dtype; see `compose.composed_values` and `excess`.
    """
    controls = controls or [None] * len(decoded)
    parts = [ScoredPart(result, normal, one) for one in decoded]
    scores = [one.scores(changed_above, own) for one, own in zip(parts, controls, strict=True)]
    return mean_scores(scores, [one.part.inside.sum().item() for one in parts])


def change_levels(result: Tensor, roundtrip: Tensor, mask: Tensor, unit: float) -> Tensor:
    """How far every pixel of the mask is from the normal surface, [N], in spreads of that surface.

    The change is signed and averaged over the 3 x 3 neighbours inside the mask first, which takes out most of the
    autoencoder's own error and leaves a line of one pixel as it is.

    Args:
        result, roundtrip: [C, H, W] in 0 .. 1, the pair's image, and the normal image encoded and decoded.
        mask: bool [H, W], not empty.
        unit: see `unit`.
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


def ring(mask: Tensor) -> Tensor:
    """Pixels around a mask, bool [H, W]: the larger of 8 px and half the mask's extent wide.

    Where the mask leaves nothing around it, every pixel outside it; all pixels where it covers the image.
    """
    top, left, height, width = mask_box(mask)
    radius = max(MIN_RING, max(height, width) // 2)
    rows = slice(max(top - radius, 0), top + height + radius)
    columns = slice(max(left - radius, 0), left + width + radius)
    around = torch.zeros_like(mask)
    around[rows, columns] = _grown(_grown(mask[rows, columns], radius, 0), radius, 1)
    around &= ~mask
    return around if around.any() else torch.ones_like(mask)


def _grown(mask: Tensor, radius: int, axis: int) -> Tensor:
    """Set within `radius` along an axis of what is set; by running sums, so that a large radius costs no more."""
    length = mask.shape[axis]
    counts = torch.cat([torch.zeros_like(mask.narrow(axis, 0, 1), dtype=torch.long), mask.long().cumsum(axis)], axis)
    places = torch.arange(length)
    upper = counts.index_select(axis, (places + radius + 1).clamp_max(length))
    return upper > counts.index_select(axis, (places - radius).clamp_min(0))


def visibility(result: Tensor, roundtrip: Tensor, normal: Tensor, mask: Tensor, around: Tensor | None = None) -> float:
    """Mean over the mask of |result - roundtrip| / (c + 2/255), c the normal's standard deviation in the ring.

    Args:
        result, normal: [C, H, W] in 0 .. 1, the pair's image and the normal one.
        roundtrip: the normal image encoded and decoded, so that the autoencoder's own error is no defect.
        mask: bool [H, W], not empty; around: its `ring`, where it is known.
    """
    return (result - roundtrip).abs().mean(0)[mask].mean().item() / unit(normal, mask, around)


def unit(normal: Tensor, mask: Tensor, around: Tensor | None = None) -> float:
    """c + 2/255: what a change of a pixel is measured in; see `visibility`."""
    around = ring(mask) if around is None else around
    return normal.mean(0)[around].std(correction=0).item() + FLOOR


def strength(result: Tensor, roundtrip: Tensor, normal: Tensor, mask: Tensor, around: Tensor | None = None) -> float:
    """Mean change of the quarter of the mask's pixels that changed most, in units of what re-sampling changes.

    |result - normal| over the geometric mean of c + 2/255 and t + 1/255. t is the standard deviation, in the ring, of
    the roundtrip's fine texture (what differs from the mean of 9 x 9 px): re-sampled surface changes by about as much,
    while c also counts shading, under which a defect is seen all the same. The quarter, since a crack fills little of
    its mask. It separates real defects from re-sampled surface better than `visibility`: benchmarks/README.md.
    Arguments as there.
    """
    around = ring(mask) if around is None else around
    grey = roundtrip.mean(0)
    coarse = F.avg_pool2d(F.pad(grey[None, None], (FINE // 2,) * 4, mode="replicate"), FINE, 1)[0, 0]
    texture = (grey - coarse)[around].std(correction=0).item() + FLOOR / 2
    return _strongest(result[:, mask], normal[:, mask]) / math.sqrt(unit(normal, mask, around) * texture)


def excess(result: Tensor, controls: Tensor) -> float:
    """How far a pair is from its controls, over how far these are from each other.

    About 1 for surface that was re-sampled as the controls were, and 1.6 to 2 for surface of more steps than theirs.

    A distance is the mean difference of the quarter of the mask's pixels that differ most. Texture, light, and marks of
    the normal image that sampling does not bring back are in the controls, too, and so count for nothing; one grey
    level is added to their distance, for surface that is made again exactly.

    Args:
        result: the pixels of the mask, [C, N] in 0 .. 1.
        controls: the same of at least two images with this mask made again as normal surface, [k, C, N].
    """
    apart = fmean(_strongest(one, other) for one, other in combinations(controls, 2))
    return fmean(_strongest(result, one) for one in controls) / (apart + FLOOR / 2)


def _strongest(values: Tensor, others: Tensor) -> float:
    """Of the pixels of a mask, [C, N]."""
    change = (values - others).abs().mean(0)
    return change.topk(max(1, round(STRONGEST * len(change)))).values.mean().item()


def signed_contrast(image: Tensor, mask: Tensor, normal: Tensor | None = None, around: Tensor | None = None) -> float:
    """(mean inside the mask - mean of the ring) / standard deviation of the ring: negative is darker.

    `normal`: surface that the ring is read from; the image itself where None (real defects). `around`: the ring, where
    it is known.
    """
    grey, surface = image.mean(0), (image if normal is None else normal).mean(0)
    outside = surface[ring(mask) if around is None else around]
    return ((grey[mask].mean() - outside.mean()) / outside.std(correction=0).clamp_min(FLOOR / 2)).item()


def visible_above(negatives: Sequence[float]) -> float:
    """The 99th percentile over the scores of negatives: crops whose mask was made again as normal surface."""
    return torch.tensor(negatives, dtype=torch.float64).quantile(PERCENTILE).item()


def seam(image: Tensor, mask: Tensor, around: Tensor | None = None) -> float:
    """Mean gradient across the mask's edge over the mean gradient of the ring around it: 1 is no edge at all.

    image: [C, H, W] in 0 .. 1; mask: bool [H, W], not empty; around: its `ring`, where it is known. 1 where the mask
    leaves no edge or nothing around it.
    """
    grey = image.mean(0)
    down, across = (grey[1:] - grey[:-1]).abs(), (grey[:, 1:] - grey[:, :-1]).abs()
    edge = torch.cat([down[mask[1:] != mask[:-1]], across[mask[:, 1:] != mask[:, :-1]]])
    around = ring(mask) if around is None else around
    surface = torch.cat([down[around[1:] & around[:-1]], across[around[:, 1:] & around[:, :-1]]])
    if not len(edge) or not len(surface):
        return 1.0
    return float(edge.mean() / surface.mean().clamp_min(1 / 255))
