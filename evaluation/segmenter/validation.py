"""Looks at a network on the groups that were held out of its training, and its best weights by what they say."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.mvtec import Sample
from ...training.crops import PictureCache
from ..metrics import iou
from ..tally import Tally
from .testing import Kind, tally_of


class Validation:
    """Looks at the averaged weights now and then: IoU at probability 0.5, mean over types, and the best weights by it.

    Not average precision: it may be best long before the network has learnt what probability means, and IoU is what
    the test asks for. Good images count in every type, since false alarms must.

    kept: what a training must save to go on as if it had never stopped.
    """

    def __init__(
        self,
        network: nn.Module,
        samples: Sequence[Sample],
        pictures: PictureCache,
        every: int,
        steps: int,
        check_interrupt: Callable[[], None] | None = None,
    ) -> None:
        """samples: as `hold_out` gives them; every: steps between two looks, the last step is one in any case."""
        self.network, self.every, self.steps = network, every, steps
        self.samples, self.pictures, self.check_interrupt = _looked_at(samples), pictures, check_interrupt
        self.copy = copy.deepcopy(network).eval().requires_grad_(False)
        self.curve = torch.full((ceil(steps / every) if self.samples else 0,), torch.nan, dtype=torch.float64)
        self.kept = {"curve": self.curve}
        self.kept |= {f"best.{name}": value for name, value in copy.deepcopy(network.state_dict()).items()}

    def look(self, step: int, averages: Mapping[str, Tensor]) -> None:
        """A training's `watch`."""
        if not self.samples or (step % self.every and step != self.steps):
            return
        weights = self.network.state_dict() | dict(averages)  # buffers are not averaged
        self.copy.load_state_dict(weights)
        value, best = self._iou(), self.best
        self.curve[ceil(step / self.every) - 1] = value
        if best is None or value > best[1]:
            for name, weight in weights.items():
                self.kept[f"best.{name}"].copy_(weight)

    @property
    def points(self) -> list[tuple[int, float]]:
        """(step, IoU) of every look."""
        values = self.curve.tolist()
        steps = [min((index + 1) * self.every, self.steps) for index in range(len(values))]
        return [point for point in zip(steps, values, strict=True) if point[1] == point[1]]

    @property
    def best(self) -> tuple[int, float] | None:
        """The first look with the highest IoU; None before the first."""
        return max(self.points, key=lambda point: point[1], default=None)

    def best_weights(self) -> dict[str, Tensor]:
        return {name[len("best."):]: value for name, value in self.kept.items() if name.startswith("best.")}

    def _iou(self) -> float:
        kinds: dict[Kind, Tally] = defaultdict(Tally)
        for sample in self.samples:
            if self.check_interrupt:
                self.check_interrupt()
            image, mask = self.pictures.read(sample)
            kind = (sample.object, sample.type)
            kinds[kind] = kinds[kind] + tally_of(self.copy, image / 255, mask)
        good = sum((kinds[kind] for kind in kinds if kind[1] == "good"), Tally())
        return float(np.mean([iou(kinds[kind] + good) for kind in kinds if kind[1] != "good"]))


def _looked_at(samples: Sequence[Sample]) -> list[Sample]:
    """The defect images, and of the normal ones at most as many: a set may hold hundreds, and each is looked at whole.

    Empty where there is no defect to find.
    """
    defects = [sample for sample in samples if sample.mask is not None]
    normals = [sample for sample in samples if sample.mask is None]
    step = max(1, ceil(len(normals) / max(1, len(defects))))
    return defects + normals[::step] if defects else []
