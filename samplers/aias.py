"""AIAS, the sampler of FAST: merged DDPM steps on a strided grid, with a known background outside the mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .foreground import Foreground
from .levels import Level, known_region, levels_of
from .masked_loop import Estimate, StepRule, masked_loop
from .noise import LevelNoise


@torch.no_grad()
def sample_aias(
    model: Callable[..., Tensor],
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict | None = None,
    callback: Callable[[dict], None] | None = None,
    disable: bool | None = None,
    *,
    mask: Tensor | None = None,
    background: Tensor | None = None,
    foreground: Callable[[Tensor, Tensor], Tensor] | None = None,
    foreground_mode: str = "x0_blend",
    foreground_strength: float = 1.0,
    foreground_until: float = 100,
    order: int = 1,
    eta: float = 1.0,
    variance: float = 0.0,
    alpha: Callable[[float], float] | None = None,
    timestep: Callable[[float], float] | None = None,
    noise_sampler: Callable[[float, float], Tensor] | None = None,
    seeds: Sequence[int] | None = None,
    pure_start: bool = False,
    correct: bool = False,
) -> Tensor:
    """Sample along `sigmas` (FAST, Algorithm 3 with its lemma corrected); without a mask, ancestral sampling.

    With a mask, every level does: predict x0, replace it outside the mask by the background (STAGE, Eq. 1-6), step
    to the next level, replace the state where the mask is 0 by the background noised to that level.

    Args:
        model: model(x, sigma [B], **extra_args) -> clean estimate, after guidance.
        x: state at sigmas[0], [B, C, h, w]: alpha * background + sigma * noise where a background is kept.
        sigmas: descending, see `grid_sigmas`; the last is 0, or where another run continues.
        extra_args: passed to the model; its "seed", where present, seeds the items (seed + index).
        callback: called once per level with x, i, sigma, sigma_hat, denoised.
        disable: accepted for k-diffusion's signature; nothing is printed.
        mask: [B or 1, 1, h, w] in 0 .. 1; 1 is anomaly. Needs `background`. None samples everywhere.
        background: clean latent of the normal image, [B or 1, C, h, w].
        foreground: foreground(x, sigma [B]) -> estimate of the anomaly's clean latent, at most once per level; FARM.
        foreground_mode: `x0_blend` mixes it into x0 inside the mask; `renoise` noises it to the level and puts it
            into the state before the model runs (FAST, Eq. 11-12).
        foreground_strength: share of the foreground in the mask, 0 .. 1; `renoise` knows only 0 and 1.
        foreground_until: t in 0 .. 999 below which the foreground model is off.
        order: 1, or 2 for an x0 extrapolated from the last two: in log-SNR (DPM-Solver++ multistep), with `correct` on
            the clock of Gaussian data (`multistep`).
        eta: 0 deterministic, 1 ancestral.
        variance: 0 posterior variance, 1 its upper bound; needs eta = 1.
        alpha: signal scale of a level, alpha(sigma); None is 1 (eps and v models), flow models give 1 - sigma.
        timestep: t in 0 .. 999 of a sigma; the nearest in the LDM schedule where None.
        noise_sampler: noise_sampler(sigma_s, sigma_e) -> noise like x, instead of the items' own generators. Per
            level the transition draws first, the background after it.
        seeds: one integer per item.
        pure_start: take the first state inside the mask as pure noise (alpha 0), as the grid `half` wants it; not for
            runs that start in the middle of the schedule.
        correct: once the estimate at a state is known, take the step to that state again with the mean over the step
            of both its ends' estimates, and with the same noise (UniC, Zhao et al. 2023; with noise SA-Solver, Xue et
            al. 2023). Costs no call. The mean is that of x0 linear in y = s / sqrt(s^2 + (sigma / alpha)^2),
            s = DATA_STD, which is exact for Gaussian data. The history then outlives the foreground: where steps are
            few, the last of them need it more than they suffer from x0's jump.

    Returns:
        clean latent [B, C, h, w]; equal to the background where the mask is 0. Where the last sigma is not 0, the
        state at it, and the background noised to it.

    Raises:
        Refused: an option out of range, mask without background, sizes or counts that differ, values not finite.
    """
    extra_args = extra_args or {}
    levels = levels_of(sigmas, alpha, timestep)
    rule = StepRule(order, eta, variance, pure_start, correct)
    mask, background = known_region(x, mask, background)
    farm = Foreground(
        foreground, foreground_mode, foreground_strength, foreground_until, mask, background, pure_start or correct
    )
    noise = LevelNoise(x, mask, noise_sampler, seeds, extra_args.get("seed"))
    inside = None if mask is None or bool((mask == 1).all()) else mask > 0

    def estimate(x: Tensor, start: Level, end: Level) -> Estimate:
        def denoised(state: Tensor) -> Tensor:
            return model(state, start.sigma_like(state), **extra_args)

        x, x0 = farm.estimate(x, start, denoised, noise, mask)  # FAST, Eq. 11-12
        if inside is not None:
            x0 = torch.lerp(background, x0, mask)  # STAGE, Eq. 3-6
        return Estimate(x, x0, shown=x0, keep=inside, source=farm.active(start))

    return masked_loop(estimate, x, sigmas, levels, rule, noise, None if inside is None else background, callback)
