"""The foreground model (FARM) inside the mask: where it enters a run, and at which levels it replaces the denoiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..choices import FOREGROUND_MODES
from ..errors import Refused
from .levels import Level
from .noise import LevelNoise


@dataclass
class Foreground:
    """A foreground model with the keywords of `sample_aias`, and the region that it fills.

    fixed_states: whether the run builds on its own states (`pure_start`, `correct`), which `renoise` changes.
    Raises Refused for an unknown mode, a strength out of range, or a foreground without a mask.
    """

    model: Callable[[Tensor, Tensor], Tensor] | None
    mode: str
    strength: float
    until: float
    mask: Tensor | None
    background: Tensor | None
    fixed_states: bool
    replaces_denoiser: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.model is None:
            return
        if self.mode not in FOREGROUND_MODES:
            raise Refused("foreground_mode", repr(self.mode), " or ".join(FOREGROUND_MODES))
        if not 0 <= self.strength <= 1 or (self.mode == "renoise" and self.strength not in (0, 1)):
            raise Refused("foreground_strength", f"{self.strength:g}", "0 .. 1 for x0_blend, 0 or 1 for renoise")
        if self.mode == "renoise" and self.fixed_states:
            raise Refused(
                "foreground_mode", "renoise changes the states of pure_start and correct", remedy="use x0_blend"
            )
        if self.mask is None:
            raise Refused("foreground", "it came without a mask", remedy="give the mask that it fills")
        # At full strength in a hard mask, with the background known outside, nothing of the denoiser's x0 is left.
        hard = bool(((self.mask == 0) | (self.mask == 1)).all())
        self.replaces_denoiser = self.mode == "x0_blend" and self.strength == 1 and hard

    def active(self, level: Level) -> bool:
        return self.model is not None and self.strength > 0 and level.t >= self.until

    def estimate(
        self, x: Tensor, level: Level, denoised: Callable[[Tensor], Tensor], noise: LevelNoise, composite: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """State and clean estimate at `level`, [B, C, h, w] both; those of the denoiser where the model is not active.

        Args:
            denoised: denoised(x) -> the denoiser's estimate.
            composite: the mask outside which the background replaces the estimate.
        """
        if not self.active(level):
            return x, denoised(x)
        foreground = self.model(x, level.sigma_like(x))
        if self.mode == "renoise":  # FAST, Eq. 11-12
            anomaly = torch.lerp(self.background, foreground, self.mask)
            x = torch.where(self.mask > 0, level.noised(anomaly, noise.transition(level, level)), x)
            return x, denoised(x)
        if self.replaces_denoiser and torch.equal(composite, self.mask):
            return x, foreground
        x0 = denoised(x)
        return x, torch.where(self.mask > 0, torch.lerp(x0, foreground, self.strength), x0)
