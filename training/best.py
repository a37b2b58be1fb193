"""Looks at a training now and then, and the weights that were best."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from math import ceil, nan

import torch
from torch import Tensor, nn


class Best:
    """Measures the averaged weights every so many steps and at the last, and keeps those that were best.

    kept: what a training must save to go on as if it had never stopped; copy: the module with the weights of the last
    look, in evaluation mode.
    """

    def __init__(
        self,
        module: nn.Module,
        measure: Callable[[nn.Module], Tensor],
        *,
        every: int,
        steps: int,
        sign: int,
        size: int = 1,
        patience: int = 0,
    ):
        """
        Args:
            module: what trains.
            measure: of a module in evaluation mode, `size` values; NaN is not known. A look's score is their mean.
            every, steps: steps between two looks, and of the whole training.
            sign: 1 where a high score is good, -1 where a low one is.
            patience: looks without a better score after which the training may end; 0 is never.
        """
        self.module, self.measure, self.every, self.steps = module, measure, every, steps
        self.sign, self.patience = sign, patience
        self.copy = copy.deepcopy(module).eval().requires_grad_(False)
        self.values = torch.full((ceil(steps / every), size), nan, dtype=torch.float64)
        self.kept = {"curve": self.values}
        self.kept |= {f"best.{name}": value for name, value in copy.deepcopy(module.state_dict()).items()}

    def due(self, step: int) -> bool:
        """Whether a look is taken after `step` steps."""
        return step % self.every == 0 or step == self.steps

    def look(self, step: int, averages: Mapping[str, Tensor]) -> bool:
        """A training's `watch`: whether it may end, since the score has not risen for `patience` looks."""
        if not self.due(step):
            return False
        weights = self.module.state_dict() | dict(averages)  # buffers are not averaged
        self.copy.load_state_dict(weights)
        place = ceil(step / self.every) - 1
        self.values[place] = self.measure(self.copy)
        best = self._place()
        if place == best:
            for name, weight in weights.items():
                self.kept[f"best.{name}"].copy_(weight)
        return best is not None and 0 < self.patience <= place - best

    @property
    def points(self) -> list[tuple[int, list[float]]]:
        """(step, values) of every look that knew one."""
        steps = [min((place + 1) * self.every, self.steps) for place in range(len(self.values))]
        return [point for point in zip(steps, self.values.tolist(), strict=True) if any(v == v for v in point[1])]

    @property
    def best(self) -> tuple[int, float] | None:
        """(step, score) of the first look with the best score; None before any."""
        place = self._place()
        return None if place is None else (min((place + 1) * self.every, self.steps), self._scores()[place])

    def restore(self) -> None:
        """Give the module its best weights; the present ones stay where no look knew a score."""
        if self.best is not None:
            self.module.load_state_dict(
                {name[len("best.") :]: value for name, value in self.kept.items() if name.startswith("best.")}
            )

    def _scores(self) -> list[float]:
        return self.values.nanmean(1).tolist()

    def _place(self) -> int | None:
        """The first look with the best score."""
        scores = self._scores()
        known = (place for place, score in enumerate(scores) if score == score)
        return max(known, key=lambda place: self.sign * scores[place], default=None)
