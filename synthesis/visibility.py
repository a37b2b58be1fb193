"""Does the mask show an anomaly? Visibility against the surface around it, and the sign of the contrast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images.masks import mask_box

FLOOR = 2 / 255
MIN_RING = 8
PERCENTILE = 0.99
STRONGEST = 0.25  # share of a mask's pixels that `strength` looks at
FINE = 9  # px


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


def visibility(result: Tensor, roundtrip: Tensor, normal: Tensor, mask: Tensor) -> float:
    """Mean over the mask of |result - roundtrip| / (c + 2/255), c the normal's standard deviation in the ring.

    Args:
        result, normal: [C, H, W] in 0 .. 1, the pair's image and the normal one.
        roundtrip: the normal image encoded and decoded, so that the autoencoder's own error is no defect.
        mask: bool [H, W], not empty.
    """
    return (result - roundtrip).abs().mean(0)[mask].mean().item() / unit(normal, mask)


def unit(normal: Tensor, mask: Tensor) -> float:
    """c + 2/255: what a change of a pixel is measured in; see `visibility`."""
    return normal.mean(0)[ring(mask)].std(correction=0).item() + FLOOR


def strength(result: Tensor, roundtrip: Tensor, normal: Tensor, mask: Tensor) -> float:
    """Mean change of the quarter of the mask's pixels that changed most, in units of what re-sampling changes.

    |result - normal| over the geometric mean of c + 2/255 and t + 1/255. t is the standard deviation, in the ring, of
    the roundtrip's fine texture (what differs from the mean of 9 x 9 px): re-sampled surface changes by about as much,
    while c also counts shading, under which a defect is seen all the same. The quarter, since a crack fills little of
    its mask. It tells real defects from re-sampled surface better than `visibility`: benchmarks/README.md. Arguments as
    there.
    """
    grey = roundtrip.mean(0)
    coarse = F.avg_pool2d(F.pad(grey[None, None], (FINE // 2,) * 4, mode="replicate"), FINE, 1)[0, 0]
    texture = (grey - coarse)[ring(mask)].std(correction=0).item() + FLOOR / 2
    return _strongest(result, normal, mask) / math.sqrt(unit(normal, mask) * texture)


def excess(result: Tensor, controls: Sequence[Tensor], mask: Tensor) -> float:
    """How far a pair is from its controls, over how far these are from each other: about 1 for re-sampled surface.

    `controls`: at least two images with the same mask made again as normal surface, [C, H, W] in 0 .. 1. A distance is
    the mean difference of the quarter of the mask's pixels that differ most. Texture, light, and marks of the normal
    image that sampling does not bring back are in the controls, too, and so count for nothing; one grey level is added
    to their distance, for surface that is made again exactly. `result`, `mask`: as in `visibility`.
    """
    apart = fmean(_strongest(one, other, mask) for one, other in combinations(controls, 2))
    return fmean(_strongest(result, one, mask) for one in controls) / (apart + FLOOR / 2)


def _strongest(image: Tensor, other: Tensor, mask: Tensor) -> float:
    change = (image - other).abs().mean(0)[mask]
    return change.topk(max(1, round(STRONGEST * len(change)))).values.mean().item()


def signed_contrast(image: Tensor, mask: Tensor, normal: Tensor | None = None) -> float:
    """(mean inside the mask - mean of the ring) / standard deviation of the ring: negative is darker.

    `normal`: surface that the ring is read from; the image itself where None (real defects).
    """
    grey, around = image.mean(0), (image if normal is None else normal).mean(0)
    outside = around[ring(mask)]
    return ((grey[mask].mean() - outside.mean()) / outside.std(correction=0).clamp_min(FLOOR / 2)).item()


def visible_above(negatives: Sequence[float]) -> float:
    """The 99th percentile over the scores of negatives: crops whose mask was made again as normal surface."""
    return torch.tensor(negatives, dtype=torch.float64).quantile(PERCENTILE).item()
