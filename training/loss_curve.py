"""The loss of a training over its steps."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor


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
        """(last step, mean loss) of every part that is begun."""
        means = (self.kept["loss.sum"] / self.kept["loss.count"]).tolist()
        return [(min((place + 1) * self.every, self.steps), mean) for place, mean in enumerate(means) if mean == mean]
