"""AIAS, FAST's sampler: merged DDPM steps on a strided grid, the background known, the anomaly made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from .foreground import check_foreground, replaces_model
from .levels import check_run, levels_of, ratio
from .multistep import Gaussian, History, LogSNR
from .noise import ItemNoise, LevelNoise, item_seeds
from .schedule import DATA_STD, nearest_timestep
from .transition import transition


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
    """Sample along `sigmas` (FAST, Algorithm 3 with the lemma mended); without a mask, ancestral sampling.

    With a mask, every level does: predict x0, replace it outside the mask by the background (STAGE, Eq. 1-6), step
    to the next level, replace the state where the mask is 0 by the background noised to that level.

    Args:
        model: model(x, sigma [B], **extra_args) -> clean estimate, after guidance.
        x: state at sigmas[0], [B, C, h, w]: alpha * background + sigma * noise where a background is kept.
        sigmas: descending, see `grid_sigmas`; the last is 0, or where another run goes on.
        extra_args: passed to the model; its "seed", where present, seeds the items (seed + index).
        callback: called once per level with x, i, sigma, sigma_hat, denoised.
        disable: accepted for k-diffusion's signature; nothing is printed.
        mask: [B or 1, 1, h, w] in 0 .. 1; 1 is anomaly. Needs `background`. None samples everywhere.
        background: clean latent of the normal image, [B or 1, C, h, w].
        foreground: foreground(x, sigma [B]) -> estimate of the anomaly's clean latent, at most once per level; FARM.
        foreground_mode: `x0_blend` mixes it into x0 inside the mask; `renoise` noises it to the level and puts it
            into the state before the model runs (FAST, Eq. 11-12).
        foreground_strength: share of the foreground in the mask, 0 .. 1; `renoise` knows only 0 and 1.
        foreground_until: t in 0 .. 999 below which the foreground rests.
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
        ValueError: an option out of range, mask without background, sizes or counts that differ, values not finite.
    """
    extra_args = extra_args or {}
    levels = levels_of(sigmas, alpha)
    time_of = timestep or nearest_timestep
    check_run(x, levels, mask, background, order, eta, variance)
    check_foreground(foreground, foreground_mode, foreground_strength, mask, pure_start or correct)
    keep = None if mask is None or bool((mask == 1).all()) else mask.to(x).expand(x.shape[0], 1, *x.shape[2:])
    if mask is not None:
        mask = mask.to(x)
        background = background.to(x).expand_as(x)
    items = None if noise_sampler else ItemNoise(x, item_seeds(x.shape[0], seeds, extra_args.get("seed")))
    noise = LevelNoise(items, noise_sampler, keep)
    alone = foreground is not None and replaces_model(foreground_mode, foreground_strength, mask)
    history = History(Gaussian(DATA_STD) if correct else LogSNR(), order)
    step = None  # the one that led to x, as a function of the x0 that it takes
    ones = x.new_ones(x.shape[0])
    foreground_on = False

    for i, ((alpha_s, sigma_s), (alpha_e, sigma_e)) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        was_on, foreground_on = (
            foreground_on,
            foreground is not None and (foreground_strength > 0 and time_of(sigma_s) >= foreground_until),
        )
        if foreground_on != was_on and not correct:
            history.forget()
        f = foreground(x, sigma_s * ones) if foreground_on else None
        if foreground_on and foreground_mode == "renoise":
            noised = alpha_s * torch.lerp(background, f, mask) + sigma_s * noise.transition(sigma_s, sigma_s)
            x = torch.where(mask > 0, noised, x)
        x0 = f if foreground_on and alone else model(x, sigma_s * ones, **extra_args)
        if foreground_on and foreground_mode == "x0_blend":
            x0 = torch.lerp(x0, f, foreground_strength)
        if keep is not None:
            x0 = torch.lerp(background, x0, keep)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": x0})
        w, w_e = ratio(alpha_s, sigma_s), ratio(alpha_e, sigma_e)
        if correct and step is not None:
            x = step(history.corrected(x0, w))  # outside the mask the background replaces it at the next level
        estimate = history.predicted(x0, w, w_e)
        signal = 0.0 if pure_start and i == 0 else alpha_s
        history.keep(x0, w, ratio(signal, sigma_s))
        step = partial(
            transition,
            x,
            sigma_s=sigma_s,
            sigma_e=sigma_e,
            alpha_s=signal,
            alpha_e=alpha_e,
            eta=eta,
            variance=variance,
            noise=noise.transition(sigma_s, sigma_e) if sigma_e > 0 else None,
        )
        x = step(estimate)
        if keep is not None:
            known = alpha_e * background + (sigma_e * noise.background(sigma_s, sigma_e) if sigma_e > 0 else 0)
            x = torch.where(keep > 0, x, known)
    return x
