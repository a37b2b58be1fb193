"""Does the base's autoencoder keep defects? PSNR hides small ones; the contrast kept shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import Tensor

from ..datasets.sample import Sample, read_sample
from ..datasets.surfaces.crops import draw_crop
from ..files.progress import tracked
from ..images.windows import context_window, cut_mask, cut_picture
from ..modules.compact_ldm import NORMAL, CompactLDM
from ..synthesis.scores import ring

GATE = 0.9


@dataclass(frozen=True)
class BaseQuality:
    """psnr: dB, mean over defect crops; contrast_kept: per "object/type", 1 is all of it; counts: defects per type
    that were measured (a mask that fills its window leaves no ring to compare with)."""

    psnr: float
    contrast_kept: dict[str, float]
    counts: dict[str, int]

    @property
    def passes(self) -> bool:
        """Every type was measured, and keeps at least GATE of its contrast."""
        return all(self.contrast_kept.get(label, 0) >= GATE for label in self.counts)


@torch.inference_mode()
def base_quality(base: CompactLDM, samples: Sequence[Sample]) -> BaseQuality:
    """Encode and decode every defect in its synthesis window and compare.

    Contrast kept is the median over a type's defects of reconstructed / real contrast, each the mean inside the mask
    minus the mean of the ring around it.
    """
    defects = tracked("checking the base", [sample for sample in samples if sample.type != NORMAL])
    return _quality(base, (_window(sample, base) for sample in defects))


@torch.inference_mode()
def drawn_quality(base: CompactLDM, seed: int, first: int, count: int = 200) -> BaseQuality:
    """As `base_quality`, on the drawn crops `first` .. `first + count - 1` of a seed."""
    crops = (draw_crop(seed, index, base.config.resolution) for index in range(first, first + count))
    return _quality(base, ((crop.type, _tensor(crop.image), torch.from_numpy(crop.exact)) for crop in crops))


def _window(sample: Sample, base: CompactLDM) -> tuple[str, Tensor, Tensor]:
    """(label, image, mask) of a defect in its synthesis window."""
    picture, mask = read_sample(sample)
    window = context_window(mask, base.config.resolution)
    return f"{sample.object}/{sample.type}", cut_picture(picture, window), cut_mask(mask, window)


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def _quality(base: CompactLDM, defects: Iterable[tuple[str, Tensor, Tensor]]) -> BaseQuality:
    kept: dict[str, list[float]] = {}
    psnr = []
    for label, crop, mask in defects:
        again = base.decode(base.encode(crop[None].to(base.latent_mean.device)))[0].cpu()
        kept.setdefault(label, [])
        if mask.all():
            continue
        kept[label].append(_contrast(again, mask) / (_contrast(crop, mask) or 1e-6))
        psnr.append(-10 * ((again - crop) ** 2).mean().clamp_min(1e-10).log10().item())
    return BaseQuality(
        sum(psnr) / max(len(psnr), 1),
        {label: median(ratios) for label, ratios in sorted(kept.items()) if ratios},
        {label: len(ratios) for label, ratios in sorted(kept.items())},
    )


def _contrast(image: Tensor, mask: Tensor) -> float:
    grey = image.mean(0)
    return (grey[mask].mean() - grey[ring(mask)].mean()).item()
