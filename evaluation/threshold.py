"""The probability above which a pixel counts as anomalous, chosen on training groups that a network did not see."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..datasets.sample import NORMAL, Sample
from ..datasets.split import Kind
from .tally import COARSE, Tally


@dataclass(frozen=True)
class Fold:
    """A part of the training groups that a network does not see.

    number: from 0, of `count`; rest: the samples of all other groups, to train on; unseen: its own, of types that the
    rest shows, too, and normal ones.
    """

    number: int
    count: int
    groups: frozenset[str]
    rest: tuple[Sample, ...]
    unseen: tuple[Sample, ...]

    @property
    def words(self) -> str:
        return f"fold {self.number + 1} of {self.count}"


def folds(samples: Sequence[Sample], groups: Mapping[str, str], count: int, seed: int) -> list[Fold]:
    """The training part in `count` folds. The groups of every type, then those of normal images alone, are spread
    evenly over the folds. Folds without a defect of a type that the rest shows, too, are left out."""
    members: dict[Kind, set[str]] = defaultdict(set)
    for sample in samples:
        members[sample.object, sample.type].add(groups[sample.name])
    draw, parts, taken = random.Random(seed), [set() for _ in range(count)], set()
    for kind in sorted(members, key=lambda kind: (kind[1] == NORMAL, kind)):
        own = sorted(members[kind] - taken)
        for place, group in enumerate(draw.sample(own, len(own))):
            parts[place % count].add(group)
        taken |= members[kind]
    found = [_fold(number, count, frozenset(part), samples, groups) for number, part in enumerate(parts)]
    return [fold for fold in found if any(sample.mask is not None for sample in fold.unseen)]


def _fold(number: int, count: int, held: frozenset[str], samples: Sequence[Sample], groups: Mapping[str, str]) -> Fold:
    rest = tuple(sample for sample in samples if groups[sample.name] not in held)
    known = {(sample.object, sample.type) for sample in rest}
    own = (sample for sample in samples if groups[sample.name] in held)
    return Fold(number, count, held, rest, tuple(one for one in own if (one.object, one.type) in known))


def best_threshold(kinds: Mapping[Kind, Tally]) -> float | None:
    """The probability with the highest mean over types of the type's IoU; None where there is no defect.

    kinds: of the images that a network did not see; a type's normal pixels are those of its own images.
    """
    curves = [_iou_curve(tally) for kind, tally in kinds.items() if kind[1] != "good" and tally.anomalous.sum()]
    if not curves:
        return None
    mean = np.mean(curves, axis=0)
    # The middle of the bins that share the highest value: a perfect network leaves a wide gap.
    best = np.flatnonzero(mean >= mean.max() - 1e-12)
    return float(COARSE.lower_edge(int(best[len(best) // 2])))


def _iou_curve(tally: Tally) -> np.ndarray:
    """IoU for a threshold at the lower edge of every coarse bin."""
    anomalous, normal = COARSE.of(tally.anomalous), COARSE.of(tally.normal)
    hits, false = anomalous[::-1].cumsum()[::-1], normal[::-1].cumsum()[::-1]
    return hits / (anomalous.sum() + false)
