"""Graded diffusion, the sampler of STAGE: two branches of one frozen denoiser take turns on one trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..choices import BLENDS
from ..errors import Refused
from .foreground import Foreground
from .graded_windows import PAPER_WINDOWS, Window, check_reached, check_windows, within
from .levels import Level, known_region, levels_of
from .mask_schedule import MaskSchedule
from .masked_loop import Estimate, StepRule, masked_loop
from .noise import LevelNoise
from .schedule import TIMESTEPS

Head = Callable[[Tensor, Tensor, Tensor], Tensor]  # (eps [B, C, h, w], mask [B, 1, h, w], t [B]) -> eps
Change = Callable[[Tensor, Tensor], Tensor]  # (x, x0) -> x0, both [n B, C, h, w]
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

    At t in a window the anomaly-only branch runs on x^p: x inside the mask, fresh noise about 0 outside; the noised
    background replaces the outside after the step. At any other t the anomaly-aware branch runs on x, and the clean
    background replaces its estimate (AIF) outside the mask Mp(t) of EMA. Inside the mask both states are one tensor,
    so there is no second trajectory.

    `blend`: the paper averages two noisy states by Mp at every level (Eq. 7), and their independent noises cancel: at
    t = 900 a tenth of the noise variance is left outside the mask, a state that no denoiser has seen. "x0" averages
    the clean estimates instead, and the noised background replaces the state where Mp is 0.

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
        Refused: as `sample_aias`; windows reversed, overlapping, out of range or without a level; a head of the
            other branch; a mask schedule for another number of levels; an unknown blend.
    """
    extra_args, (aware, only) = extra_args or {}, _heads(branches)
    _check_parts(mask, background, mask_schedule, blend)
    levels = levels_of(sigmas, alpha, timestep)
    rule = StepRule(order, eta, variance, pure_start, correct)
    mask, background = known_region(x, mask, background)
    farm = Foreground(
        foreground, foreground_mode, foreground_strength, foreground_until, mask, background, pure_start or correct
    )
    check_windows(windows)
    check_reached(levels, windows)
    noise = LevelNoise(x, mask, noise_sampler, seeds, extra_args.get("seed"))
    inside = mask > 0
    # By Eq. 6 alone the background's state ends at the clean one, where the mask is the same at every level.
    composite_suffices = aif and mask_schedule is None and blend == "x0"

    def progressive_mask(level: Level) -> Tensor:
        return mask if mask_schedule is None or level.t is None else mask_schedule(mask, level.t)

    def denoised(state: Tensor, level: Level, head: Head | None, seen: Tensor) -> Tensor:
        change = None
        if head is not None and level.alpha > 0:  # pure noise holds nothing of x0 that a head could change
            change = partial(_with_head, level=level, head=head, mask=seen)
        network = headed(change) if headed and change else model
        x0 = network(state, level.sigma_like(state), **extra_args)
        return change(state, x0) if change and not headed else x0

    def estimate(x: Tensor, start: Level, end: Level) -> Estimate:
        fed = farm.active(start)
        if within(start.t, windows):  # the anomaly-only branch, on x^p
            x_p = torch.where(inside, x, start.sigma * noise.transition(start, start))
            composite = torch.lerp(background, denoised(x_p, start, only, mask), mask)
            return Estimate(x, torch.where(inside, composite, 0), composite, keep=inside, source=("only", fed))
        mp = progressive_mask(start)  # the anomaly-aware branch
        x, x0 = farm.estimate(x, start, partial(denoised, level=start, head=aware, seen=mp), noise, mp)
        composite = torch.lerp(background, x0, mp)  # Eq. 3-6
        mp_end = progressive_mask(end)
        keep = None if composite_suffices else mp_end if blend == "paper" else mp_end > 0
        return Estimate(x, composite if aif else x0, composite, keep, source=("aware", fed))

    return masked_loop(estimate, x, sigmas, levels, rule, noise, background, callback)


def _with_head(state: Tensor, x0: Tensor, level: Level, head: Head, mask: Tensor) -> Tensor:
    """The clean estimate with the head's noise in place of the denoiser's, of the batch or of copies in a row."""
    eps = (state - level.alpha * x0) / level.sigma
    mask = mask.repeat(len(state) // len(mask), 1, 1, 1)
    # Written as a change, so that a head that changes nothing leaves x0 as it is, to the last bit.
    return x0 - level.sigma / level.alpha * (head(eps, mask, state.new_full(state.shape[:1], level.t)) - eps)


def _heads(branches: Sequence[Head | None] | None) -> tuple[Head | None, Head | None]:
    """Both heads; a head that knows its branch is refused on the other."""
    heads = (None, None) if branches is None else tuple(branches)
    if len(heads) != len(BRANCHES):
        raise Refused("branches", len(heads), "(aware, only), None where one has no head")
    for head, branch in zip(heads, BRANCHES, strict=True):
        own = getattr(head, "branch", None)
        if own not in (None, branch):
            raise Refused(
                "branches", f"the MGA of the anomaly-{own} branch as the anomaly-{branch} one", "(aware, only)"
            )
    return heads


def _check_parts(mask: Tensor | None, background: Tensor | None, mask_schedule: Callable | None, blend: str) -> None:
    if mask is None or background is None:
        raise Refused("mask and background", "one is missing", remedy="give both, the background as a clean latent")
    if blend not in BLENDS:
        raise Refused("blend", repr(blend), " or ".join(BLENDS))
    timesteps = getattr(mask_schedule, "timesteps", TIMESTEPS)
    if timesteps != TIMESTEPS:
        raise Refused(
            "mask_schedule",
            f"it is for {timesteps} levels, and t runs over {TIMESTEPS} for every model",
            remedy="make the schedule with that many timesteps",
        )
