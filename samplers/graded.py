"""Graded diffusion, STAGE's sampler: two branches of one frozen denoiser take turns on one trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from .foreground import check_foreground, replaces_model
from .graded_windows import PAPER_WINDOWS, Window, check_reached, check_windows, within
from .levels import Level, check_run, levels_of, ratio
from .mask_schedule import MaskSchedule
from .multistep import Gaussian, History, LogSNR
from .noise import ItemNoise, LevelNoise, item_seeds
from .schedule import DATA_STD, TIMESTEPS, nearest_timestep
from .transition import transition

Head = Callable[[Tensor, Tensor, Tensor], Tensor]  # (eps [B, C, h, w], mask [B, 1, h, w], t [B]) -> eps
Change = Callable[[Tensor, Tensor], Tensor]  # (x, x0) -> x0, both [n B, C, h, w]
BLENDS = ("x0", "paper")
BRANCHES = ("aware", "only")  # anomaly-aware, anomaly-only
PAPER_SCHEDULE = MaskSchedule()


@torch.no_grad()
def sample_graded(
    model: Callable[..., Tensor],
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict | None = None,
    callback: Callable[[dict], None] | None = None,
    disable: bool | None = None,
    *,
    mask: Tensor,
    background: Tensor,
    branches: tuple[Head | None, Head | None] | None = None,
    headed: Callable[[Change], Callable[..., Tensor]] | None = None,
    windows: Sequence[Window] = PAPER_WINDOWS,
    mask_schedule: Callable[[Tensor, float], Tensor] | None = PAPER_SCHEDULE,
    blend: str = "x0",
    aif: bool = True,
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
    """Sample along `sigmas` as STAGE does (Algorithm 1), on any grid and for any prediction.

    At a level s with t in a window the anomaly-only branch runs: it sees x^p, which is x inside the mask and fresh
    noise about 0 outside, and the background noised to the next level takes the outside back. At the others runs the
    anomaly-aware branch: it sees x; the clean background holds its estimate (AIF) as far as the mask Mp(t) of EMA has
    closed. Inside the mask both states are one tensor, so that no second trajectory is kept.

    `blend`: the paper averages two noisy states by Mp at every level (Eq. 7), and their independent noises cancel: at
    t = 900 a tenth of the noise variance is left outside the mask, a state that no denoiser has seen. "x0" averages
    the clean estimates instead, and the background's own state is put in where Mp has closed.

    Args:
        model, x, sigmas, extra_args, callback, disable: as `sample_aias`.
        mask: M0, [B or 1, 1, h, w] in 0 .. 1; 1 is anomaly.
        background: clean latent of the normal image, [B or 1, C, h, w].
        branches: heads (aware, only) on the noise estimate, see `modules.mga.MGA`; None leaves the denoiser's own.
        headed: headed(change) is the model, called as `model` is, whose every answer passes `change` before guidance
            mixes them, since heads learn beside a denoiser without guidance; `change` may be given the batch several
            times in a row. None: the heads act on what `model` answers.
        windows: (hi, lo) in t of 0 .. 1000; () never runs the anomaly-only branch.
        mask_schedule: Mp, (mask, t) -> mask, see `MaskSchedule`; None keeps M0 at every level.
        blend: one of BLENDS.
        aif: anomaly inference, x0hat <- W x0hat + (1 - W) background with W the present mask (Eq. 3-6). Off, the
            background is put into the state alone, as inpainting does.
        foreground, foreground_mode, foreground_strength, foreground_until: FARM inside the anomaly-aware branch, as
            `sample_aias`.
        order, eta, variance, alpha, timestep, noise_sampler, seeds, pure_start, correct: as `sample_aias`; without
            `correct` estimates are extrapolated within a branch only; `pure_start` wants noise alone in x. Per level
            draws x^p's outside (or `renoise`), then the transition, then the background.

    Returns:
        clean latent [B, C, h, w]; equal to the background where the mask is 0. Where the last sigma is not 0, the
        state at it.

    Raises:
        ValueError: as `sample_aias`; windows reversed, overlapping, out of range or without a level; a head of the
            other branch; a mask schedule for another number of levels; an unknown blend.
    """
    extra_args, (aware, only) = extra_args or {}, _heads(branches)
    levels, time_of = levels_of(sigmas, alpha), timestep or nearest_timestep
    _check_known(mask, background, mask_schedule, blend)
    check_run(x, levels, mask, background, order, eta, variance)
    check_foreground(foreground, foreground_mode, foreground_strength, mask, pure_start or correct)
    check_windows(windows)
    *times, cut = [time_of(sigma) if sigma > 0 else None for _, sigma in levels]
    check_reached(times, windows, cut)
    mask = mask.to(x).expand(x.shape[0], 1, *x.shape[2:])
    background, inside = background.to(x).expand_as(x), mask > 0
    items = None if noise_sampler else ItemNoise(x, item_seeds(x.shape[0], seeds, extra_args.get("seed")))
    noise, history = LevelNoise(items, noise_sampler, mask), History(Gaussian(DATA_STD) if correct else LogSNR(), order)
    turn = step = None  # whose level it was, and the step that led to x, as a function of the x0 that it takes
    farm = _Farm(foreground, foreground_mode, foreground_strength, foreground_until, mask, background)
    # Without EMA, Eq. 6 by itself leads the background's state to the clean one.
    held = aif and mask_schedule is None and blend == "x0"

    def mp(i: int) -> Tensor:
        t = times[i] if i < len(times) else cut
        return mask if mask_schedule is None or t is None else mask_schedule(mask, t)

    def denoised(state: Tensor, head: Head | None, seen: Tensor) -> Tensor:
        change = None
        if head is not None and alpha_s > 0:  # pure noise tells nothing of x0, which a head could change
            change = partial(_adapted, level=start, head=head, seen=seen, t=t)
        asked = headed(change) if headed and change else model
        x0 = asked(state, state.new_full(state.shape[:1], sigma_s), **extra_args)
        return change(state, x0) if change and not headed else x0

    for i, (start, end, t) in enumerate(zip(levels[:-1], levels[1:], times, strict=True)):
        (alpha_s, sigma_s), (alpha_e, sigma_e) = start, end
        in_window, fed = within(t, windows), farm.works(t)
        if turn not in (None, (in_window, fed)) and not correct:
            history.forget()  # with `correct` it outlives the branch, as in `sample_aias` the foreground
        turn = in_window, fed
        m = mask if in_window else mp(i)

        if in_window:  # the anomaly-only branch, on x^p
            state = torch.where(inside, x, sigma_s * noise.transition(sigma_s, sigma_s))
            x0 = denoised(state, only, m)
        elif fed:
            state = x = farm.into(x, start, noise)
            x0 = farm.answer if farm.answers_alone(m) else farm.blended(denoised(x, aware, m))
        else:  # the anomaly-aware branch
            state, x0 = x, denoised(x, aware, m)

        composite = torch.lerp(background, x0, m)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": composite})
        if in_window:
            x0 = torch.where(inside, composite, 0)
        elif aif:
            x0 = composite
        w, w_e = ratio(alpha_s, sigma_s), ratio(alpha_e, sigma_e)
        if correct and step is not None:
            x = step(history.corrected(x0, w))
            state = torch.where(inside, x, state) if in_window else x
        towards = history.predicted(x0, w, w_e)
        signal = 0.0 if pure_start and i == 0 else alpha_s
        history.keep(x0, w, ratio(signal, sigma_s))
        drawn = noise.transition(sigma_s, sigma_e) if sigma_e > 0 else None
        x_back = alpha_e * background + (sigma_e * noise.background(sigma_s, sigma_e) if sigma_e > 0 else 0)
        make = partial(
            transition,
            state,
            sigma_s=sigma_s,
            sigma_e=sigma_e,
            noise=drawn,
            alpha_s=signal,
            alpha_e=alpha_e,
            eta=eta,
            variance=variance,
        )
        m_next = mask if in_window else None if held else mp(i + 1)
        step = partial(_merged, make, x_back, m_next, in_window or blend == "x0")
        x = step(towards)
    return x


def _merged(make: Callable[[Tensor], Tensor], x_back: Tensor, m: Tensor | None, whole: bool, x0: Tensor) -> Tensor:
    """The state that `make` reaches from x0, and the background's own outside the mask `m` (None: nowhere).

    Args:
        whole: each place takes one of the two; else their average, weighted by the mask (Eq. 7).
    """
    y = make(x0)
    if m is None:
        return y
    return torch.where(m > 0, y, x_back) if whole else torch.lerp(x_back, y, m)


def _adapted(state: Tensor, x0: Tensor, level: Level, head: Head, seen: Tensor, t: float) -> Tensor:
    """The clean estimate with the head's noise in place of the denoiser's, of the batch or of copies in a row."""
    alpha, sigma = level
    eps = (state - alpha * x0) / sigma
    seen = seen.repeat(len(state) // len(seen), 1, 1, 1)
    # Written as a change, so that a head that changes nothing leaves x0 as it is, to the last bit.
    return x0 - sigma / alpha * (head(eps, seen, state.new_full(state.shape[:1], t)) - eps)


class _Farm:
    """FARM inside the anomaly-aware branch; what its keywords mean is told in `sample_aias`.

    answer: the foreground's estimate at the level that `into` was called for.
    """

    def __init__(
        self, foreground: Callable | None, mode: str, strength: float, until: float, mask: Tensor, background: Tensor
    ):
        self.foreground, self.strength, self.until = foreground, strength, until
        self.mask, self.background = mask, background
        self.renoises = mode == "renoise"
        self.replaces_model = foreground is not None and replaces_model(mode, strength, mask)

    def works(self, t: float) -> bool:
        return self.foreground is not None and self.strength > 0 and t >= self.until

    def into(self, x: Tensor, level: Level, noise: LevelNoise) -> Tensor:
        """The state, with the answer noised into its mask where that is the mode."""
        alpha, sigma = level
        self.answer = self.foreground(x, x.new_full(x.shape[:1], sigma))
        if not self.renoises:
            return x
        noised = alpha * torch.lerp(self.background, self.answer, self.mask) + sigma * noise.transition(sigma, sigma)
        return torch.where(self.mask > 0, noised, x)

    def answers_alone(self, m: Tensor) -> bool:
        """Whether nothing of the model's estimate is left, so that it need not be asked."""
        return self.replaces_model and torch.equal(m, self.mask)

    def blended(self, x0: Tensor) -> Tensor:
        return x0 if self.renoises else torch.where(self.mask > 0, torch.lerp(x0, self.answer, self.strength), x0)


def _heads(branches: Sequence[Head | None] | None) -> tuple[Head | None, Head | None]:
    """Both heads; a head that knows its branch is refused on the other."""
    heads = (None, None) if branches is None else tuple(branches)
    if len(heads) != len(BRANCHES):
        raise ValueError(f"Graded Diffusion: {len(heads)} branches; give (aware, only), None where one has no head.")
    for head, branch in zip(heads, BRANCHES, strict=True):
        own = getattr(head, "branch", None)
        if own not in (None, branch):
            raise ValueError(
                f"Graded Diffusion: the MGA of the anomaly-{own} branch was given to the anomaly-{branch} one; give "
                "(aware, only) in this order."
            )
    return heads


def _check_known(mask: Tensor | None, background: Tensor | None, mask_schedule: Callable | None, blend: str) -> None:
    if mask is None or background is None:
        raise ValueError("Graded Diffusion: mask or background is missing; give both, the latter as a clean latent.")
    if blend not in BLENDS:
        raise ValueError(f"Graded Diffusion: blend is {blend!r}; choose {' or '.join(BLENDS)}.")
    timesteps = getattr(mask_schedule, "timesteps", TIMESTEPS)
    if timesteps != TIMESTEPS:
        raise ValueError(
            f"Graded Diffusion: the mask schedule is for {timesteps} levels, and t runs over {TIMESTEPS} for every "
            "model; make the schedule with that many timesteps."
        )
