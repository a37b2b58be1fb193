"""AIAS, FAST's sampler: merged DDPM steps on a strided grid, the background known, the anomaly made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf

import torch
from torch import Tensor

from .multistep import Gaussian, History, LogSNR
from .noise import ItemNoise, item_seeds
from .schedule import DATA_STD, nearest_timestep
from .transition import check_stochasticity, transition

Level = tuple[float, float]  # (alpha, sigma)


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
        sigmas: descending, the last 0; see `grid_sigmas`.
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
        clean latent [B, C, h, w]; equal to the background where the mask is 0.

    Raises:
        ValueError: an option out of range, mask without background, sizes or counts that differ, values not finite.
    """
    extra_args = extra_args or {}
    levels = _levels(sigmas, alpha)
    time_of = timestep or nearest_timestep
    _check(x, levels, mask, background, order, eta, variance)
    _check_foreground(foreground, foreground_mode, foreground_strength, mask, pure_start or correct)
    keep = None if mask is None or bool((mask == 1).all()) else mask.to(x).expand(x.shape[0], 1, *x.shape[2:])
    if mask is not None:
        mask = mask.to(x)
        background = background.to(x).expand_as(x)
    items = None if noise_sampler else ItemNoise(x, item_seeds(x.shape[0], seeds, extra_args.get("seed")))
    noise = _Noise(items, noise_sampler, keep)
    replaces_model = foreground is not None and _replaces_model(foreground_mode, foreground_strength, mask)
    history = History(Gaussian(DATA_STD) if correct else LogSNR(), order)
    step = None  # the one that led to x, as a function of the x0 that it takes
    ones = x.new_ones(x.shape[0])
    foreground_on = False

    for i, ((alpha_s, sigma_s), (alpha_e, sigma_e)) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        was_on, foreground_on = foreground_on, foreground is not None and (
            foreground_strength > 0 and time_of(sigma_s) >= foreground_until
        )
        if foreground_on != was_on and not correct:
            history.forget()
        f = foreground(x, sigma_s * ones) if foreground_on else None
        if foreground_on and foreground_mode == "renoise":
            noised = alpha_s * torch.lerp(background, f, mask) + sigma_s * noise.transition(sigma_s, sigma_s)
            x = torch.where(mask > 0, noised, x)
        x0 = f if foreground_on and replaces_model else model(x, sigma_s * ones, **extra_args)
        if foreground_on and foreground_mode == "x0_blend":
            x0 = torch.lerp(x0, f, foreground_strength)
        if keep is not None:
            x0 = torch.lerp(background, x0, keep)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": x0})
        w, w_e = _ratio(alpha_s, sigma_s), _ratio(alpha_e, sigma_e)
        if correct and step is not None:
            x = step(history.corrected(x0, w))  # outside the mask the background replaces it at the next level
        estimate = history.predicted(x0, w, w_e)
        signal = 0.0 if pure_start and i == 0 else alpha_s
        history.keep(x0, w, _ratio(signal, sigma_s))
        step = partial(
            transition, x, sigma_s=sigma_s, sigma_e=sigma_e, alpha_s=signal, alpha_e=alpha_e, eta=eta,
            variance=variance, noise=noise.transition(sigma_s, sigma_e) if sigma_e > 0 else None,
        )  # fmt: skip
        x = step(estimate)
        if keep is not None:
            known = alpha_e * background + (sigma_e * noise.background(sigma_s, sigma_e) if sigma_e > 0 else 0)
            x = torch.where(keep > 0, x, known)
    return x


class _Noise:
    """Both draws of a level: the transition's, then the background's (only for items that keep a background).

    They are drawn at eta 0 too, so that runs of any eta see the same background.
    """

    def __init__(self, items: ItemNoise | None, sampler: Callable | None, keep: Tensor | None):
        self.items, self.sampler = items, sampler
        self.with_background = None if keep is None else (keep < 1).flatten(1).any(1).tolist()

    def transition(self, sigma_s: float, sigma_e: float) -> Tensor:
        return self.sampler(sigma_s, sigma_e) if self.sampler else self.items()

    def background(self, sigma_s: float, sigma_e: float) -> Tensor:
        return self.sampler(sigma_s, sigma_e) if self.sampler else self.items(self.with_background)


def _ratio(alpha: float, sigma: float) -> float:
    return alpha / sigma if sigma > 0 else inf


def _levels(sigmas: Tensor, alpha: Callable[[float], float] | None) -> list[Level]:
    """(alpha, sigma) of every level as Python floats, so that the loop never waits for the device."""
    return [(float(alpha(sigma)) if alpha else 1.0, sigma) for sigma in sigmas.tolist()]


def _replaces_model(mode: str, strength: float, mask: Tensor) -> bool:
    """At full strength inside a hard mask, with the background known outside, nothing is left of the model's x0."""
    return mode == "x0_blend" and strength == 1 and bool(((mask == 0) | (mask == 1)).all())


def _check(
    x: Tensor, levels: list[Level], mask: Tensor | None, background: Tensor | None, order: int, eta: float,
    variance: float,
) -> None:
    steps = [sigma for _, sigma in levels]
    if len(steps) < 2 or steps[-1] != 0 or not all(e < s for s, e in zip(steps, steps[1:], strict=False)):
        raise ValueError("AIAS: sigmas must descend strictly and end at 0; take all that AIAS Sigmas gives.")
    if order not in (1, 2):
        raise ValueError(f"AIAS: order is {order}; choose 1 or 2.")
    check_stochasticity(eta, variance)
    if not torch.isfinite(x).all():
        raise ValueError("AIAS: the starting latent holds NaN or infinity; check the VAE and the image that made it.")
    if mask is None and background is not None:
        raise ValueError("AIAS: a background came without a mask; connect the mask that the anomaly fills.")
    if mask is None:
        return
    if background is None:
        raise ValueError("AIAS: a mask came without a background; give the normal image's clean latent.")
    if not torch.isfinite(background).all():
        raise ValueError("AIAS: the background latent holds NaN or infinity; check the VAE and the normal image.")
    for name, tensor, channels in (("mask", mask, 1), ("background", background, x.shape[1])):
        if tensor.shape[0] not in (1, x.shape[0]) or tuple(tensor.shape[1:]) != (channels, *x.shape[2:]):
            raise ValueError(
                f"AIAS: the {name} is {tuple(tensor.shape)}; for a latent of {tuple(x.shape)} it must be "
                f"[{x.shape[0]} or 1, {channels}, {x.shape[2]}, {x.shape[3]}]. Pool pixel masks with Defect Latent."
            )
    if not ((mask >= 0) & (mask <= 1)).all():
        raise ValueError("AIAS: the mask holds NaN or values outside 0 .. 1; scale it so that 1 is anomaly.")


def _check_foreground(
    foreground: Callable | None, mode: str, strength: float, mask: Tensor | None, deterministic: bool
) -> None:
    if foreground is None:
        return
    if mode not in ("x0_blend", "renoise"):
        raise ValueError(f"AIAS: foreground_mode is {mode!r}; choose x0_blend or renoise.")
    if not 0 <= strength <= 1 or (mode == "renoise" and strength not in (0, 1)):
        raise ValueError(f"AIAS: foreground_strength is {strength:g}; x0_blend takes 0 .. 1, renoise 0 or 1.")
    if mode == "renoise" and deterministic:
        raise ValueError("AIAS: renoise changes the states that pure_start and correct build on; use x0_blend.")
    if mask is None:
        raise ValueError("AIAS: a foreground came without a mask; connect the mask that it fills.")
