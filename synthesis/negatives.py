"""What no defect looks like: masks made again as normal surface, and the thresholds read from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..files.progress import tracked
from ..modules.compact_ldm import NORMAL, CompactLDM
from .compose import composed_picture
from .controls import KnownControls
from .make import BATCH, Job, Settings
from .pair import decoded_jobs
from .scores import ScoredPart, Scores, mean_known, visible_above

PIXELS = 0.95  # share of a negative's pixels that count as unchanged
_KEPT = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Thresholds:
    """excess above which a pair is visible; change above which a pixel is filled, see `scores.completeness`."""

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
    the same, whatever its mask's area."""
    pixels = np.concatenate([one.levels for one in negatives])
    return Thresholds(visible_above([one.excess for one in negatives]), float(np.quantile(pixels, PIXELS)))


def measure_negatives(
    base: CompactLDM, jobs: Sequence[Job], settings: Settings, known: KnownControls | None = None
) -> list[Negative]:
    """The same jobs with their masks made again as normal surface, by the base alone.

    known: see `pair.decoded_jobs`.
    """
    normal = [replace(job, type=NORMAL) for job in jobs]
    made = decoded_jobs(base, normal, replace(settings, graded=None), known=known or KnownControls())
    found = []
    for job, one in zip(normal, made, strict=True):
        picture = composed_picture(job.picture, one.parts, settings.mode, settings.feather)
        parts = [ScoredPart(picture, job.picture, part) for part in one.parts]
        values = [part.excess(own) for part, own in zip(parts, one.controls, strict=True)]
        levels = np.concatenate([part.levels().numpy() for part in parts])
        areas = [decoded.part.inside.sum().item() for decoded in one.parts]
        found.append(Negative(mean_known(values, areas), np.quantile(levels, _KEPT)))
    return found


def measured_thresholds(
    base: CompactLDM, job: Callable[[int], Job], settings: Settings, count: int, known: KnownControls | None = None
) -> Thresholds:
    """Of jobs 0 .. count - 1. known: see `pair.decoded_jobs`."""
    found: list[Negative] = []
    for start in tracked("measuring thresholds", range(0, count, BATCH), BATCH, count):
        jobs = [job(index) for index in range(start, min(start + BATCH, count))]
        found += measure_negatives(base, jobs, settings, known)
    return thresholds(found)
