"""The step at a mask's edge, by which a pair gives itself away."""

from __future__ import annotations

import torch
from torch import Tensor

from .visibility import ring


def seam(image: Tensor, mask: Tensor) -> float:
    """Mean gradient across the mask's edge over the mean gradient of the ring around it: 1 is no edge at all.

    image: [C, H, W] in 0 .. 1; mask: bool [H, W], not empty. 1 where the mask leaves no edge or nothing around it.
    """
    grey = image.mean(0)
    down, across = (grey[1:] - grey[:-1]).abs(), (grey[:, 1:] - grey[:, :-1]).abs()
    edge = torch.cat([down[mask[1:] != mask[:-1]], across[mask[:, 1:] != mask[:, :-1]]])
    around = ring(mask)
    surface = torch.cat([down[around[1:] & around[:-1]], across[around[:, 1:] & around[:, :-1]]])
    if not len(edge) or not len(surface):
        return 1.0
    return float(edge.mean() / surface.mean().clamp_min(1 / 255))
