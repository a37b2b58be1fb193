"""What the trainings of all adapters have in common: their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..choices import CHECKPOINTING, PRECISIONS
from ..errors import Refused


@dataclass(frozen=True)
class AdapterTraining:
    """Settings of an adapter's training; each method adds its own.

    steps: optimiser steps; batch: latents per step; learning_rate; tokens: k per type, where tokens train;
    checkpointing: "on" keeps less of the base for gradients, for a third more time, "auto" does so where memory is
    short; precision: see `mixed`, of what trains and of a compact base (a host's model has its own); evaluate_every:
    steps between two looks at the held-out pairs; patience: looks without a lower error after which the training ends,
    0 for never.

    Raises Refused for a setting out of its range.
    """

    method: ClassVar[str]  # "fast" or "stage"

    steps: int = 2000
    batch: int = 4
    learning_rate: float = 1e-3
    tokens: int = 8
    checkpointing: str = "auto"
    precision: str = "auto"
    evaluate_every: int = 100
    patience: int = 0
    average: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "tokens", "evaluate_every"):
            if getattr(self, name) < 1:
                raise Refused(name, getattr(self, name), "1 or more")
        if not self.learning_rate > 0:
            raise Refused("learning_rate", self.learning_rate, "a number above 0")
        if self.patience < 0:
            raise Refused("patience", self.patience, "0 or more")
        self.check_choice("checkpointing", CHECKPOINTING)
        self.check_choice("precision", PRECISIONS)

    def check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise Refused(name, repr(getattr(self, name)), f"one of {', '.join(choices)}")
