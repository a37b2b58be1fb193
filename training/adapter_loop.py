"""One training of an adapter's modules, of whatever method, from the first step to the best weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from .loop import Best, Loss, Report, train
from .memory import checkpointed
from .settings import AdapterTraining

Modules = TypeVar("Modules", bound=nn.Module)
Curve = list[tuple[int, dict[str, float]]]


def train_modules(
    network: nn.Module,
    modules: Modules,
    loss: Loss,
    measure: Callable[[Modules], Tensor],
    types: Sequence[tuple[str, str]],
    settings: AdapterTraining,
    *,
    checkpointing: bool = False,
    losses: LossCurve | None = None,
    show: Callable[[int, Modules], None] | None = None,
    state: Path | None = None,
    run: str = "",
    report: Report | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> tuple[Modules, Curve]:
    """Train what a method began, and keep the weights that were best on held-out defects.

    Args:
        network: the frozen denoiser.
        modules: what trains, on its device.
        loss: loss(step, generator) -> scalar.
        measure: of the modules in evaluation mode, the error on held-out defects per type; NaN is not known.
        types: (object, type) by row.
        checkpointing: whether the network's blocks are computed again for the gradient; `settings` is not asked.
        losses: is given every step's loss.
        show: called after every look with the steps taken and the modules as they were looked at.
        state, run, report, check_interrupt: see `training.loop.train`.

    Returns:
        the modules in evaluation mode, with the weights of the lowest error (the last where none is known), and the
        curve: (step, {"object/type": error}).

    Raises:
        ValueError: a loss that is no longer finite; a state of another run.
    """
    looks = Best(
        modules,
        measure,
        every=settings.evaluate_every,
        steps=settings.steps,
        sign=-1,
        size=len(types),
        patience=settings.patience,
    )
    losses = losses or LossCurve(settings.evaluate_every, settings.steps, next(modules.parameters()).device)

    def watch(taken: int, averages: Mapping[str, Tensor]) -> bool:
        over = looks.look(taken, averages)
        if show and looks.due(taken):
            show(taken, looks.copy)
        return over

    with checkpointed(network) if checkpointing else nullcontext():
        train(
            settings.method,
            modules.train(),
            lambda step, generator: losses.noted(step, loss(step, generator)),
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
            average=settings.average,
            state=state,
            run=json.dumps([run, asdict(settings)]),
            report=report,
            check_interrupt=check_interrupt,
            watch=watch,
            kept=looks.kept | losses.kept,
        )
    looks.restore()
    return modules.eval().requires_grad_(False), [(step, _by_type(types, errors)) for step, errors in looks.points]


def _by_type(types: Sequence[tuple[str, str]], errors: Sequence[float]) -> dict[str, float]:
    """Types without a held-out latent are left out."""
    return {"/".join(type): error for type, error in zip(types, errors, strict=True) if error == error}


class LossCurve:
    """Means over so many steps each, noted without waiting for the device.

    kept: what a training must save to go on as if it had never stopped.
    """

    def __init__(self, every: int, steps: int, device: torch.device | str = "cpu"):
        self.every, self.steps = every, steps
        self.kept = {f"loss.{name}": torch.zeros(ceil(steps / every), device=device) for name in ("sum", "count")}

    def noted(self, step: int, loss: Tensor) -> Tensor:
        """The loss of a step, noted."""
        place = step // self.every
        self.kept["loss.sum"][place] += loss.detach().float()
        self.kept["loss.count"][place] += 1
        return loss

    @property
    def points(self) -> list[tuple[int, float]]:
        """(last step, mean loss) of every part that has started."""
        means = (self.kept["loss.sum"] / self.kept["loss.count"]).tolist()
        return [(min((place + 1) * self.every, self.steps), mean) for place, mean in enumerate(means) if mean == mean]
