"""What synthetic pairs look like beside real defects: numbers that need no training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.pairs import refined_file
from ..datasets.sample import Sample, read_sample
from ..files.progress import tracked
from ..images.mask_files import read_mask
from ..images.masks import mask_box
from ..synthesis.scores import seam, signed_contrast

SIDE = 32  # px of the crops that distances are measured on
VISIBLE = 0.5  # |signed contrast| above which a human finds a spot on a surface at a glance


@dataclass(frozen=True)
class Defect:
    """One defect, measured: signed contrast, strength of the step at its edge over the surface's own, and its crop.

    refined: share of its mask that its refined mask keeps, see `synthesis.labels`; None where it has none.
    """

    contrast: float
    seam: float
    crop: Tensor
    refined: float | None = None


def measure(image: Tensor, mask: Tensor) -> Defect:
    """image: [3, H, W] in 0 .. 1; mask: bool [H, W], not empty."""
    return Defect(signed_contrast(image, mask), seam(image, mask), _crop(image, mask))


def summary(made: Sequence[Defect], real: Sequence[Defect]) -> dict[str, float | None]:
    """Statistics of one type's pairs against real defects of that type.

    contrast_low, contrast, contrast_high: 10 %, median, 90 % of the signed contrast; visible: share whose |contrast| is
    over 0.5; seam: median; diversity: mean distance of two crops over the same of real defects (1 is as varied as
    real); nearest: median distance to the nearest real defect over the real ones' own nearest (1 is as near as they are
    to each other); refined: mean over the defects that have a refined mask. Distances are of 32 px crops with mean and
    spread taken out. None where there is nothing to divide.
    """
    contrasts = np.array([defect.contrast for defect in made])
    low, middle, high = np.quantile(contrasts, (0.1, 0.5, 0.9))
    own, others = _stack(made), _stack(real)
    kept = [defect.refined for defect in made if defect.refined is not None]
    return {
        "contrast_low": float(low),
        "contrast": float(middle),
        "contrast_high": float(high),
        "visible": float((np.abs(contrasts) > VISIBLE).mean()),
        "seam": float(np.median([d.seam for d in made])),
        "diversity": _ratio(_mean_distance(own), _mean_distance(others)),
        "nearest": _ratio(_nearest(own, others), _nearest(others, others)),
        "refined": fmean(kept) if kept else None,
    }


def measure_samples(samples: Iterable[Sample]) -> list[Defect]:
    """Every defect image of `samples`."""
    measured = []
    for sample in tracked("measuring defects", [sample for sample in samples if sample.mask is not None]):
        picture, mask = read_sample(sample)
        measured.append(replace(measure(picture.image(), mask), refined=_refined_share(sample, mask)))
    return measured


def _refined_share(sample: Sample, mask: Tensor) -> float | None:
    file = refined_file(sample)
    if file is None:
        return None
    return float(read_mask(file, tuple(mask.shape), of=sample.image).sum() / mask.sum())


def _crop(image: Tensor, mask: Tensor) -> Tensor:
    """The defect's box with half its size around it, grey, SIDE x SIDE, normalised."""
    top, left, height, width = mask_box(mask)
    half = max(height, width, 8)
    rows = torch.arange(top + height // 2 - half, top + height // 2 + half).clamp(0, image.shape[1] - 1)
    columns = torch.arange(left + width // 2 - half, left + width // 2 + half).clamp(0, image.shape[2] - 1)
    crop = image.mean(0)[rows][:, columns][None, None]
    crop = F.interpolate(crop, (SIDE, SIDE), mode="bilinear", antialias=True)[0, 0]
    return ((crop - crop.mean()) / crop.std().clamp_min(1 / 255)).flatten()


def _stack(defects: Sequence[Defect]) -> Tensor:
    return torch.stack([defect.crop for defect in defects]) if defects else torch.zeros(0, SIDE * SIDE)


def _mean_distance(crops: Tensor) -> float | None:
    return float(torch.pdist(crops).mean()) if len(crops) > 1 else None


def _nearest(crops: Tensor, real: Tensor) -> float | None:
    """Median distance to the nearest real crop that is not the crop itself."""
    if not len(crops) or not len(real):
        return None
    distances = torch.cdist(crops, real)
    if crops is real:
        distances.fill_diagonal_(torch.inf)
    nearest = distances.min(1).values
    nearest = nearest[nearest.isfinite()]
    return float(nearest.median()) if len(nearest) else None


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base
