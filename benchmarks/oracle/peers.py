"""The samplers that are compared, and the inputs that they share.

A sampler takes a `Guide` and the number of calls it may make, and returns x0. States are VE, x = x0 + sigma * noise,
[n, 1, 1, d]. Every call of `Guide.estimate` is one call of the denoiser, or of the foreground model where that
replaces it. Published formulas are written out in their papers' terms; DPM-Solver++(2M) is diffusers' own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from math import expm1, log, sqrt

import torch
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.grid import aias_grid, grid_sigmas
from anomaly_synthesis.samplers.presets import PRESETS, preset
from anomaly_synthesis.samplers.schedule import BETA_END, BETA_START, TIMESTEPS, ldm_sigmas, nearest_timestep
from torch import Tensor

from .worlds import World

FOREGROUND_UNTIL = 100  # t below which the peers use no foreground; the default of sample_aias
TABLE = ldm_sigmas()


class Guide:
    """One run's model, foreground, background and noise, with the calls counted.

    The background of the state is replaced at every level by the given one with fresh noise, that of x0 by the clean
    one. With `blended`, the foreground model at strength 1 is x0 inside the mask while t >= FOREGROUND_UNTIL; the
    denoiser is then not called.
    """

    def __init__(self, world: World, blended: bool, samples: int, seed: int):
        self.world, self.blended = world, blended
        self.shape = (samples, 1, 1, world.prior.means.shape[1])
        self.generator = torch.Generator().manual_seed(seed)
        self.calls = {"denoiser": 0, "foreground": 0}
        self.mask = self.background = None
        if len(world.background):
            self.mask = (torch.arange(self.shape[-1]) < world.masked).double().view(1, 1, 1, -1)
            self.background = torch.cat([torch.zeros(world.masked).double(), world.background]).view(1, 1, 1, -1)
        self.start = float(TABLE[-1]) * self.noise()
        if self.mask is not None:
            self.start = self.start + (1 - self.mask) * self.background

    def noise(self, sigma_s: float = 0.0, sigma_e: float = 0.0) -> Tensor:
        """Standard normal noise like the state; the levels do not matter."""
        return torch.randn(self.shape, generator=self.generator).double()

    def denoiser(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls["denoiser"] += 1
        return self.world.prior.posterior_mean(x.flatten(1), sigma[0].item()).view_as(x)

    def foreground(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls["foreground"] += 1
        x0 = torch.zeros_like(x)
        masked = x[:, 0, 0, : self.world.masked]
        x0[:, 0, 0, : self.world.masked] = self.world.foreground.posterior_mean(masked, sigma[0].item())
        return x0

    def estimate(self, x: Tensor, sigma: float) -> Tensor:
        """x0 of a sampler's call at `sigma`."""
        replaced = self.blended and nearest_timestep(sigma) >= FOREGROUND_UNTIL
        x0 = (self.foreground if replaced else self.denoiser)(x, torch.full((len(x),), sigma).double())
        return x0 if self.mask is None else torch.where(self.mask > 0, x0, self.background)

    def keep(self, x: Tensor, sigma: float) -> Tensor:
        """The state with its background replaced by the given one, noised to `sigma`."""
        if self.mask is None:
            return x
        return torch.where(self.mask > 0, x, self.background + (sigma * self.noise() if sigma > 0 else 0))


Sampler = Callable[[Guide, int], Tensor]


# Levels


def uniform_levels(steps: int) -> list[float]:
    """Uniform in t from 999 to 0, then 0: core's `normal` schedule, without its interpolation between levels."""
    t = torch.linspace(TIMESTEPS - 1, 0, steps).round().long()
    return [*TABLE[t].tolist(), 0.0]


def karras_levels(steps: int, rho: float = 7.0) -> list[float]:
    """Uniform in sigma^(1/rho) (Karras et al. 2022, Eq. 5), then 0."""
    high, low = (float(TABLE[i]) ** (1 / rho) for i in (-1, 0))
    return [*(torch.linspace(high, low, steps, dtype=torch.float64) ** rho).tolist(), 0.0]


def pairs(levels: list[float]) -> list[tuple[float, float]]:
    return list(zip(levels[:-1], levels[1:], strict=True))


# Samplers


def ddim(guide: Guide, steps: int) -> Tensor:
    """DDIM with eta 0 (Song et al. 2021), which is Euler's method in sigma for VE states."""
    x = guide.start
    for s, e in pairs(uniform_levels(steps)):
        x0 = guide.estimate(x, s)
        x = guide.keep(x0 + e / s * (x - x0), e)
    return x


def euler_ancestral(guide: Guide, steps: int) -> Tensor:
    """k-diffusion's ancestral Euler with eta 1: down to sigma_down, and up to sigma_e with fresh noise.

    At 1000 steps these are all levels of the schedule, and the sampler is DDPM (Ho et al. 2020).
    """
    x = guide.start
    for s, e in pairs(uniform_levels(steps)):
        x0 = guide.estimate(x, s)
        up = e * sqrt(1 - (e / s) ** 2)
        down = sqrt(e**2 - up**2)
        x = x0 + down / s * (x - x0)
        x = guide.keep(x + up * guide.noise() if e > 0 else x, e)
    return x


# Adams-Bashforth weights of the last noise estimates, latest first.
ADAMS_BASHFORTH = {2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


def plms(guide: Guide, steps: int) -> Tensor:
    """Pseudo linear multistep of order 4 (PNDM, Liu et al. 2022, Eq. 12) with DDIM's transfer.

    The first step is the improved Euler that latent diffusion starts with; it takes two calls, so that there is one
    level less. The weights are those of equal steps, which the levels are in t.
    """

    def noise_of(x: Tensor, sigma: float) -> Tensor:
        return (x - guide.estimate(x, sigma)) / sigma

    x, history = guide.start, []
    for s, e in pairs(uniform_levels(steps - 1)):
        history = [noise_of(x, s), *history][:4]
        if len(history) == 1:
            ahead = guide.keep(x + (e - s) * history[0], e)
            noise = (history[0] + noise_of(ahead, e)) / 2
        else:
            weights = ADAMS_BASHFORTH[len(history)]
            noise = sum(weight * past for weight, past in zip(weights, history, strict=True))
        x = guide.keep(x + (e - s) * noise, e)
    return x


def dpmpp_2m(guide: Guide, steps: int, karras: bool = False) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022), diffusers' own, on its uniform levels or Karras'; its states are VP."""
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        TIMESTEPS, BETA_START, BETA_END, "scaled_linear", prediction_type="sample", use_karras_sigmas=karras
    )
    scheduler.set_timesteps(steps)
    levels = scheduler.sigmas.tolist()
    x = guide.start
    for t, (s, e) in zip(scheduler.timesteps, pairs(levels), strict=True):
        x0 = guide.estimate(x, s)
        stepped = scheduler.step(x0, t, x / sqrt(1 + s**2)).prev_sample
        x = guide.keep(stepped.double() * sqrt(1 + e**2), e)
    return x


def dpmpp_2m_sde(guide: Guide, steps: int) -> Tensor:
    """k-diffusion's DPM-Solver++(2M) SDE, midpoint form, eta 1, on Karras' levels.

    Its Brownian increments are independent from step to step, so that fresh noise has their law.
    """
    x, old, h_old = guide.start, None, None
    for s, e in pairs(karras_levels(steps)):
        x0 = guide.estimate(x, s)
        if e == 0:
            return guide.keep(x0, 0.0)
        h = log(s / e)
        x = (e / s) ** 2 * x - expm1(-2 * h) * x0
        if old is not None:
            x = x - 0.5 * expm1(-2 * h) * (h / h_old) * (x0 - old)
        x = guide.keep(x + e * sqrt(-expm1(-2 * h)) * guide.noise(), e)
        old, h_old = x0, h
    raise ValueError("levels must end at 0")


def aias(guide: Guide, steps: int, name: str) -> Tensor:
    """AIAS with a preset's settings, or some of them changed: `fast` or `fast,eta=0.3,kind=lambda`."""
    base, *changes = name.split(",")
    grid, options = preset(base, steps)
    for change in changes:
        key, value = change.split("=")
        (grid if key in ("kind", "refine") else options)[key] = _value(value)
    return sample_aias(
        guide.denoiser,
        guide.start,
        grid_sigmas(aias_grid(**grid), TABLE),
        mask=guide.mask,
        background=guide.background,
        foreground=guide.foreground if guide.blended else None,
        noise_sampler=guide.noise,
        **options,
    )


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


PEERS: dict[str, Sampler] = {
    "ddim": ddim,
    "plms": plms,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_karras": partial(dpmpp_2m, karras=True),
    "euler_ancestral": euler_ancestral,
    "dpmpp_2m_sde": dpmpp_2m_sde,
    **{f"aias:{name}": partial(aias, name=name) for name in PRESETS},
}
NEED_DIFFUSERS = ("dpmpp_2m", "dpmpp_2m_karras")


def sampler_of(name: str) -> Sampler:
    """A peer by its name in PEERS, or `aias:` with a preset and changes.

    Raises:
        ValueError: unknown name.
    """
    if name.startswith("aias:"):
        settings = name.removeprefix("aias:")
        preset(settings.split(",")[0], steps=10)  # raises on an unknown preset before work starts
        return partial(aias, name=settings)
    if name not in PEERS:
        raise ValueError(f"unknown peer {name!r}; choose of {', '.join(PEERS)}, or aias:preset,option=value")
    return PEERS[name]
