"""How a defect is to look, as tokens: contrast, strength and softness, each a number or left free."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import torch
from torch import Tensor, nn

from ..errors import Refused

APPEARANCE = {"contrast": (-1, 1), "strength": (0, 1), "softness": (0, 1)}  # see datasets.surfaces.crops.Appearance
_WAVES = 4


@dataclass(frozen=True)
class Look:
    """How a defect is asked to look; None leaves an entry to the base.

    contrast: -1 darker .. 1 lighter than the surface; strength: 0 faint .. 1; softness: 0 a sharp edge .. 1.
    Raises Refused for a value out of range.
    """

    contrast: float | None = None
    strength: float | None = None
    softness: float | None = None

    def __post_init__(self):
        for (name, (low, high)), value in zip(APPEARANCE.items(), astuple(self), strict=True):
            if value is not None and not low <= value <= high:
                raise Refused(name, value, f"{low} to {high}")

    @property
    def free(self) -> bool:
        """Whether all is left to the base."""
        return all(value is None for value in astuple(self))

    def row(self) -> list[float]:
        """The entries of APPEARANCE, NaN for None: a row of what `AppearanceTokens` reads."""
        return [math.nan if value is None else float(value) for value in astuple(self)]


FREE = Look()


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
