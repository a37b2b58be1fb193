"""FARM's error on what was held out of its training."""

from __future__ import annotations

import torch
from torch import Tensor

from ..modules.fast import FastModules
from .frozen import Frozen, Latents

LEVELS, AT_ONCE = (100, 300, 500, 700, 900), 16  # t that are looked at, and latents at a time


class HeldOutError:
    """FARM's squared error inside the masks of held-out latents over the latents' own square, per type; 1 is what an
    answer of 0 gets. Levels and noise are the same at every look."""

    def __init__(self, base: Frozen, held_out: Latents, types: int):
        """types: how many there are; one without a held-out latent has an error of NaN."""
        self.base, self.held_out, self.types = base, held_out, types

    @torch.no_grad()
    def __call__(self, modules: FastModules) -> Tensor:
        """[types], float64."""
        error, power = torch.zeros(2, self.types, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        for start in range(0, len(self.held_out), AT_ONCE):
            some = self.held_out.take(torch.arange(start, min(start + AT_ONCE, len(self.held_out))))
            noise = torch.randn(some.x0.shape, generator=generator)
            device = modules.tokens.rows.device
            some, noise = some.to(device), noise.to(device)
            squared = some.mask * some.x0**2
            for level in LEVELS:
                t = torch.full((len(some),), level, device=device)
                a, s = self.base.level(t)
                made = modules.reconstruct(a * some.x0 + s * noise, t, some.mask, some.x0, some.row)
                wrong = some.mask * (made - some.x0) ** 2
                error.index_add_(0, some.row.cpu(), wrong.sum((1, 2, 3)).double().cpu())
                power.index_add_(0, some.row.cpu(), squared.sum((1, 2, 3)).double().cpu())
        return error / power
