"""What an adapter has learnt so far, for a look while it trains: FARM's own anomalies, and STAGE's branch estimates."""

from __future__ import annotations

import torch
from torch import Tensor

from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..samplers.aias import sample_aias
from ..samplers.mask_schedule import MaskSchedule
from .branches import denoised
from .frozen import Frozen, Latents

LEVELS = (950, 800, 650, 500, 350, 200, 80, 20)  # t; at 999 a flow model's state has no signal to scale by
LEVEL = 500  # t; above it a defect is mostly guessed, below it mostly seen


@torch.no_grad()
def made_by_farm(base: Frozen, modules: FastModules, latents: Latents) -> Tensor:
    """The latents with what FARM puts into their masks from pure noise, [N, C, h, w]; the denoiser is not asked.

    The same noise at every call, so that two previews differ by what was learnt between them.
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


@torch.no_grad()
def branch_estimates(
    base: Frozen, modules: StageModules, latents: Latents, schedule: MaskSchedule
) -> tuple[Tensor, Tensor, Tensor]:
    """Clean latents from a middle noise level, each [N, C, h, w]: of the base alone, of the anomaly-aware branch, and
    of the anomaly-only branch.

    Each is blended over the real background by the branch's own mask, as the sampler does, so that what differs is what
    the branch has to say: the base alone and the anomaly-aware branch by Mp(t), the anomaly-only one by M0. The same
    noise at every call, so that two previews differ by what was learnt between them.
    """
    device = modules.tokens.rows.device
    some, t = latents.to(device), torch.full((len(latents),), LEVEL, device=device)
    e1, e2 = torch.randn((2, *some.x0.shape), generator=torch.Generator().manual_seed(0)).to(some.x0)
    alone, found = (denoised(base, tokens, some, t, e1, e2) for tokens in (None, modules.tokens))
    (a, s), mp = base.level(t), schedule(some.mask, LEVEL)

    def blended(x0: Tensor, noise: Tensor, found: Tensor, mask: Tensor) -> Tensor:
        made = x0 + (noise - found) * s / a  # (a x0 + s noise - s found) / a
        return mask * made + (1 - mask) * some.x0

    return (
        blended(some.x0, e1, alone.f1, mp),
        blended(some.x0, e1, modules.aware(found.f1, mp, t), mp),
        blended(some.mask * some.x0, e2, modules.only(found.f2, some.mask, t), some.mask),
    )
