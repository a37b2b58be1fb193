"""What no defect looks like: masks made again as normal surface, and the thresholds read from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..files.progress import tracked
from ..modules.compact_ldm import NORMAL, CompactLDM
from .composed import compose_parts, part_levels
from .controls import control_pictures
from .made import BATCH, Job, Settings, made_parts
from .pair_check import Scores
from .visibility import visible_above

PIXELS = 0.95  # share of a negative's pixels that count as unchanged
_KEPT = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Thresholds:
    """excess above which a pair is visible; change above which a pixel is filled, see `pair_check.completeness`."""

    visible: float
    changed: float

    def shown(self, scores: Scores) -> bool:
        """Does the pair show an anomaly?"""
        return scores.excess > self.visible


@dataclass(frozen=True, eq=False)
class Negative:
    """excess: of a mask made again as normal surface; levels: quantiles of its pixels' change, 0 to 100 %."""

    excess: float
    levels: np.ndarray


def thresholds(negatives: Sequence[Negative]) -> Thresholds:
    """visible: the 99th percentile of excess; changed: the 95th of the pixels' change, every negative counting
    alike, whatever its mask's area."""
    pixels = np.concatenate([one.levels for one in negatives])
    return Thresholds(visible_above([one.excess for one in negatives]), float(np.quantile(pixels, PIXELS)))


def measure_negatives(base: CompactLDM, jobs: Sequence[Job], settings: Settings) -> list[Negative]:
    """The same jobs with their masks made again as normal surface, by the base alone."""
    normal = [Job(job.picture, job.mask, job.object, NORMAL, job.seed) for job in jobs]
    settings = replace(settings, graded=None)
    controls, _ = control_pictures(base, normal, settings)
    found = []
    for job, parts, own in zip(normal, made_parts(base, normal, settings)[0], controls, strict=True):
        pair = compose_parts(job.picture, parts, settings.mode, settings.feather, controls=own)
        levels = np.concatenate([part_levels(pair.picture, job.picture, part).numpy() for part in parts])
        found.append(Negative(pair.excess, np.quantile(levels, _KEPT)))
    return found


def measured_thresholds(base: CompactLDM, job: Callable[[int], Job], settings: Settings, count: int) -> Thresholds:
    """Of jobs 0 .. count - 1."""
    found: list[Negative] = []
    for start in tracked("measuring thresholds", range(0, count, BATCH), BATCH, count):
        jobs = [job(index) for index in range(start, min(start + BATCH, count))]
        found += measure_negatives(base, jobs, settings)
    return thresholds(found)
