"""What the trainings of all adapters have in common: their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .precision import PRECISIONS

CHECKPOINTING = ("auto", "on", "off")


@dataclass(frozen=True)
class AdapterTraining:
    """Settings of an adapter's training; each method adds its own.

    steps: optimiser steps; batch: latents per step; learning_rate; tokens: k per type, where tokens train;
    checkpointing: "on" keeps less of the base for gradients, for a third more time, "auto" does so where memory is
    short; precision: see `mixed`, of what trains and of a compact base (a host's model has its own); evaluate_every:
    steps between two looks at the held-out pairs; patience: looks without a lower error after which the training ends,
    0 for never.

    Raises ValueError for a setting out of its range.
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

    @property
    def what(self) -> str:
        """How errors begin: the node's name."""
        return f"Train {self.method.upper()} Adapter"

    def __post_init__(self) -> None:
        least = min(self.steps, self.batch, self.tokens, self.evaluate_every)
        if least < 1 or not self.learning_rate > 0 or self.patience < 0:
            raise ValueError(
                f"{self.what}: steps {self.steps}, batch {self.batch}, tokens {self.tokens}, evaluate_every "
                f"{self.evaluate_every}, learning rate {self.learning_rate}, patience {self.patience}; all must be "
                "above 0, patience 0 or more."
            )
        self.check_choice("checkpointing", CHECKPOINTING)
        self.check_choice("precision", PRECISIONS)

    def check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ValueError(f"{self.what}: {name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}.")
