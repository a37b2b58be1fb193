"""The noise levels of the papers' latent diffusion model, and the time of a level (method: Rombach et al. 2022)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012
# What the few-step rule takes for the standard deviation of the data within a mode, one kind of anomaly on one image.
# Latents are scaled to about 1 over all images; within a mode they vary less.
DATA_STD = 0.4


def alphas_cumprod(timesteps: int = TIMESTEPS) -> Tensor:
    """abar_t for t = 0 .. timesteps - 1, float64 [timesteps]; betas are linear in sqrt(beta), as in LDM and SD 1.x."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, timesteps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0)


def ldm_sigmas(timesteps: int = TIMESTEPS) -> Tensor:
    """sigma_t = sqrt((1 - abar_t) / abar_t) of the VE state, ascending, float64 [timesteps], 0.0292 to 14.6146."""
    abar = alphas_cumprod(timesteps)
    return ((1 - abar) / abar).sqrt()


@lru_cache(maxsize=1)
def _log_sigmas() -> Tensor:
    return ldm_sigmas().log()


@lru_cache(maxsize=TIMESTEPS)
def nearest_timestep(sigma: float) -> float:
    """t in 0 .. 999 of the level nearest to `sigma` (in log sigma) in the LDM table."""
    if sigma <= 0:
        return 0.0
    return float((_log_sigmas() - torch.tensor(sigma, dtype=torch.float64).log()).abs().argmin())
