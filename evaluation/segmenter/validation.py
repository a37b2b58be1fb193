"""Groups held out of the training part, and the best weights by what they say."""

from __future__ import annotations

import copy
import random
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

HELD_OUT = 5  # one group of so many of every type is validated on instead of trained on


def hold_out(samples: Sequence[Sample], groups: Mapping[str, str], seed: int) -> tuple[list[Sample], list[Sample]]:
    """(fitting, validation): whole groups, about one in HELD_OUT of every type, and at least one with a defect.

    A group stays in fitting where a type would lose its last one; so with one group per type nothing with a defect is
    held out.
    """
    members: dict[Kind, set[str]] = defaultdict(set)
    for sample in samples:
        members[sample.object, sample.type].add(groups[sample.name])
    defects = {kind: found for kind, found in members.items() if kind[1] != "good"}
    draw, held = random.Random(seed), set()
    # Defects first: where a group holds both, they decide, and its good images only follow.
    for found in [defects[kind] for kind in sorted(defects)] + [members[kind] for kind in sorted(members)]:
        _deal(draw.sample(sorted(found), len(found)), round(len(found) / HELD_OUT), members, held)
    if not any(held & found for found in defects.values()):
        every = sorted(set().union(*defects.values()))
        _deal(draw.sample(every, len(every)), 1, members, held)
    fitting = [sample for sample in samples if groups[sample.name] not in held]
    return fitting, [sample for sample in samples if groups[sample.name] in held]


def _deal(order: Sequence[str], wanted: int, members: Mapping[Kind, set[str]], held: set[str]) -> None:
    """Hold out groups in this order until `wanted` of them are."""
    for group in order:
        if len(held & set(order)) >= wanted:
            return
        if all(found - held - {group} for found in members.values() if group in found):
            held.add(group)


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
