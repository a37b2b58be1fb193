"""Does the base's autoencoder keep defects? PSNR hides small ones; the contrast kept shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..datasets.mvtec import Sample
from ..datasets.pictures import read_mask, read_picture
from ..datasets.windows import context_window, cut_image, cut_mask
from ..modules.compact_ldm import NORMAL, CompactLDM
from ..synthesis.visibility import ring

GATE = 0.9


@dataclass(frozen=True)
class BaseQuality:
    """psnr: dB, mean over defect crops; contrast_kept: per "object/type", 1 is all of it; counts: crops per type."""

    psnr: float
    contrast_kept: dict[str, float]
    counts: dict[str, int]

    @property
    def passes(self) -> bool:
        """Every type keeps at least GATE of its contrast."""
        return all(kept >= GATE for kept in self.contrast_kept.values())


@torch.inference_mode()
def base_quality(base: CompactLDM, samples: Sequence[Sample]) -> BaseQuality:
    """Encode and decode every defect in its synthesis window and compare.

    Contrast kept is the median over a type's defects of reconstructed / real contrast, each the mean inside the mask
    minus the mean of the ring around it.
    """
    kept, psnr = defaultdict(list), []
    for sample in samples:
        if sample.type == NORMAL:
            continue
        image, mask = read_picture(sample.image).image(), read_mask(sample.mask)
        window = context_window(mask, base.config.resolution)
        crop, crop_mask = cut_image(image, window), cut_mask(mask, window)
        again = base.decode(base.encode(crop[None].to(base.latent_mean.device)))[0].cpu()
        kept[f"{sample.object}/{sample.type}"].append(_contrast(again, crop_mask) / _contrast(crop, crop_mask))
        psnr.append(-10 * ((again - crop) ** 2).mean().clamp_min(1e-10).log10().item())
    return BaseQuality(
        sum(psnr) / max(len(psnr), 1),
        {label: torch.tensor(ratios).median().item() for label, ratios in sorted(kept.items())},
        {label: len(ratios) for label, ratios in sorted(kept.items())},
    )


def _contrast(image: Tensor, mask: Tensor) -> float:
    grey = image.mean(0)
    contrast = (grey[mask].mean() - grey[ring(mask)].mean()).item()
    return contrast if contrast else 1e-6
