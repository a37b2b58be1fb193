"""The probability above which a pixel counts as anomalous, chosen on training groups that a network did not see."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ..datasets.sample import Sample
from ..datasets.split import Kind
from .tally import COARSE, Tally


def folds(samples: Sequence[Sample], groups: Mapping[str, str], count: int, seed: int) -> list[set[str]]:
    """The groups of the training part in at most `count` folds: each type's groups, and then the normal ones, are
    distributed in turn. Folds without a defect of a type that another fold has too are left out."""
    members: dict[Kind, set[str]] = defaultdict(set)
    for sample in samples:
        members[sample.object, sample.type].add(groups[sample.name])
    draw, parts, taken = random.Random(seed), [set() for _ in range(count)], set()
    for kind in sorted(members, key=lambda kind: (kind[1] == "good", kind)):
        own = sorted(members[kind] - taken)
        for place, group in enumerate(draw.sample(own, len(own))):
            parts[place % count].add(group)
        taken |= members[kind]
    defects = [found for kind, found in members.items() if kind[1] != "good"]
    return [part for part in parts if any(found & part and found - part for found in defects)]


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
