"""What FARM has learnt so far: anomalies that it makes by itself, for a glance while it trains."""

from __future__ import annotations

import torch
from torch import Tensor

from ..modules.fast import FastModules
from ..samplers.aias import sample_aias
from .frozen import Frozen, Latents

LEVELS = (950, 800, 650, 500, 350, 200, 80, 20)  # t; at 999 a flow model's state has no signal to scale by


@torch.no_grad()
def made_by_farm(base: Frozen, modules: FastModules, latents: Latents) -> Tensor:
    """The latents with what FARM puts into their masks from pure noise, [N, C, h, w]; the denoiser is not asked.

    The same noise at every call, so that two glances differ by what was learnt between them.
    """
    device = modules.tokens.rows.device
    some = latents.to(device)
    a, s = (part.flatten() for part in base.level(torch.tensor(LEVELS, device=device)))
    sigmas = torch.cat([s / a, s.new_zeros(1)])

    def timestep(sigma: float) -> float:
        return LEVELS[int((sigmas[:-1] - sigma).abs().argmin())]

    noise = torch.randn(some.x0.shape, generator=torch.Generator().manual_seed(0)).to(some.x0)
    return sample_aias(
        _not_asked,
        some.x0 * (1 - some.mask) + sigmas[0] * noise,
        sigmas,
        disable=True,
        mask=some.mask,
        background=some.x0,
        foreground=modules.foreground(some.mask, some.x0, some.row, timestep),
        foreground_until=0,
        timestep=timestep,
        seeds=list(range(len(some))),
    )


def _not_asked(x: Tensor, sigma: Tensor, **_) -> Tensor:
    raise AssertionError("where FARM fills the whole mask, the denoiser has nothing to say")
