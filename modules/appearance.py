"""How a defect should look, as tokens: contrast, strength and softness, each a number or left free."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

APPEARANCE = ("contrast", "strength", "softness")  # -1 .. 1, 0 .. 1, 0 .. 1; see datasets.surfaces.crops.Appearance
_WAVES = 4


class AppearanceTokens(nn.Module):
    """One token per entry of APPEARANCE. NaN leaves an entry free, which has a learned token of its own."""

    def __init__(self, channels: int):
        super().__init__()
        count = len(APPEARANCE)
        self.free = nn.Parameter(torch.randn(count, channels))
        self.asked = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * _WAVES + 1, 64), nn.SiLU(), nn.Linear(64, channels)) for _ in range(count)
        )

    def forward(self, values: Tensor) -> Tensor:
        """[B, 3] -> [B, 3, channels]."""
        free = values.isnan()
        angles = (
            torch.nan_to_num(values)[..., None] * math.pi * 2.0 ** torch.arange(_WAVES, device=values.device).sub(1)
        )
        features = torch.cat([torch.nan_to_num(values)[..., None], angles.sin(), angles.cos()], dim=-1)
        asked = torch.stack([layer(features[:, place]) for place, layer in enumerate(self.asked)], dim=1)
        return torch.where(free[..., None], self.free.to(asked), asked)
