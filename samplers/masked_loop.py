"""The loop of both samplers: estimate x0, step to the next level, put the background's state back outside the mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import Refused
from .levels import Level
from .multistep import Gaussian, History, LogSNR
from .noise import LevelNoise
from .schedule import DATA_STD
from .transition import check_stochasticity, transition


@dataclass(frozen=True)
class StepRule:
    """How a run steps from level to level: keywords of `sample_aias`. Raises Refused for values out of range."""

    order: int
    eta: float
    variance: float
    pure_start: bool
    correct: bool

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise Refused("order", self.order, "1 or 2")
        check_stochasticity(self.eta, self.variance)


@dataclass(slots=True)
class Estimate:
    """What a sampler estimates at one level, tensors [B, C, h, w].

    x: the state, which a sampler may change before the step.
    x0: the clean estimate that the step aims at.
    shown: the estimate for the callback.
    keep: where the step's result stays, [B, 1, h, w]; elsewhere the background's own state replaces it. Bool, or float
        for the average of the two (STAGE, Eq. 7). None: everywhere.
    source: what made x0. Where it changes x0 jumps, and order 2 starts again.
    """

    x: Tensor
    x0: Tensor
    shown: Tensor
    keep: Tensor | None
    source: object


def masked_loop(
    estimate: Callable[[Tensor, Level, Level], Estimate],
    x: Tensor,
    sigmas: Tensor,
    levels: list[Level],
    rule: StepRule,
    noise: LevelNoise,
    background: Tensor | None,
    callback: Callable[[dict], None] | None,
) -> Tensor:
    """The state at the last of `levels`, from the state `x` at the first; [B, C, h, w].

    Args:
        estimate: estimate(x, start, end), for the step from level `start` to level `end`.
        background: clean; None where none is kept, and then no noise is drawn for it.
        sigmas, callback: as `sample_aias`.
    """
    history = History(Gaussian(DATA_STD) if rule.correct else LogSNR(), rule.order)
    source = step = None  # step: the last one, as a function of the x0 that it aims at
    for i, (start, end) in enumerate(pairwise(levels)):
        now = estimate(x, start, end)
        if callback is not None:
            callback({"x": now.x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": now.shown})
        if now.source != source and not rule.correct:
            history.forget()
        x, x0, source = now.x, now.x0, now.source
        if rule.correct and step is not None:
            x = step(history.corrected(x0, start.w))
        aim = history.predicted(x0, start.w, end.w)
        origin = replace(start, alpha=0.0) if rule.pure_start and i == 0 else start
        history.keep(x0, start.w, origin.w)
        drawn = noise.transition(start, end)
        known = None if background is None else end.noised(background, noise.background(start, end))
        step = partial(_stepped, x, origin, end, rule, drawn, known, now.keep)
        x = step(aim)
    return x


def _stepped(
    x: Tensor,
    start: Level,
    end: Level,
    rule: StepRule,
    noise: Tensor | None,
    known: Tensor | None,
    keep: Tensor | None,
    x0: Tensor,
) -> Tensor:
    """The state at `end`: one transition towards x0, and the background's state where the result is not kept."""
    y = transition(x, x0, start.sigma, end.sigma, noise, start.alpha, end.alpha, rule.eta, rule.variance)
    if keep is None:
        return y
    return torch.where(keep, y, known) if keep.dtype == torch.bool else torch.lerp(known, y, keep)
