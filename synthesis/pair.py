"""From normal images, masks and anomaly types to checked pairs, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..images.pictures import Picture
from ..images.windows import Window
from ..modules.compact_ldm import CompactLDM
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from .adapters import Adapters
from .composed import Composed, Made, compose_parts
from .controls import control_pictures
from .made import Job, Settings, made_parts
from .nearest_real import RealDefects
from .pair_check import CHANGED_ABOVE, Scores


@dataclass(frozen=True, kw_only=True)
class Pair(Scores):
    """A made pair, and its scores.

    windows: where its parts were made (see `boxed_parts`); seconds: its share of the batch's time; calls: of the
    denoiser's network, for one window each.
    """

    job: Job
    picture: Picture
    windows: tuple[Window, ...]
    seconds: float
    calls: int


def make_pairs(
    base: CompactLDM,
    jobs: Sequence[Job],
    settings: Settings,
    adapter: Adapters | FastModules | StageModules | None = None,
    *,
    changed_above: float = CHANGED_ABOVE,
    controlled: bool = False,
    real: RealDefects | None = None,
) -> list[Pair]:
    """Make a batch of pairs. Every job is cropped to the base's resolution, so images may differ in size.

    Args:
        adapter: trained on this base; its tokens join the type's own, FARM and STAGE's parts as the settings say.
        changed_above: see `pair_check.completeness`.
        controlled: measure `excess` against controls of every pair, see `synthesis.controls`: 24 calls more per window.
        real: defects that `nearest_real` is measured to; None leaves it out.

    Raises:
        ValueError: an empty mask, mask and image of different sizes, an unknown type or preset, steps out of range or
            too few for STAGE's windows, MGA heads asked for that the adapter lacks.
    """
    started = time.perf_counter()
    made, calls = made_parts(base, jobs, settings, adapter)
    controls, spent = control_pictures(base, jobs, settings) if controlled else ([()] * len(jobs), [0] * len(jobs))
    composed = [
        compose_parts(job.picture, parts, settings.mode, settings.feather, changed_above, against)
        for job, parts, against in zip(jobs, made, controls, strict=True)
    ]
    nearest = _nearest_real(jobs, composed, made, real) if real else [None] * len(jobs)
    seconds = (time.perf_counter() - started) / len(jobs)
    return [
        Pair(
            **vars(c) | {"nearest_real": distance},
            job=job,
            windows=tuple(part.window for part, _ in parts),
            seconds=seconds,
            calls=sum(called),
        )
        for job, c, parts, distance, *called in zip(jobs, composed, made, nearest, calls, spent, strict=True)
    ]


def _nearest_real(
    jobs: Sequence[Job], composed: Sequence[Composed], made: Sequence[Sequence[Made]], real: RealDefects
) -> list[float | None]:
    kinds = [(job.object, job.type) for job in jobs]
    return real.of_pairs(kinds, [c.picture for c in composed], [[part for part, _ in parts] for parts in made])
