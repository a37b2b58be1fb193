"""From normal images, masks and anomaly types to checked pairs, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from ..images.pictures import Picture
from ..images.windows import Window
from ..modules.compact_ldm import CompactLDM
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..seeds import part_seed
from .adapters import Adapters, adapters_of
from .compose import Made, composed_picture
from .controls import KnownControls, control_values, controls_key
from .labels import refined_mask
from .make import Job, Settings, check_job, encoded_windows, made_windows
from .nearest import RealDefects
from .scores import CHANGED_ABOVE, Scores, scores_of
from .windows import Part

__all__ = ["Job", "MadeParts", "Pair", "Settings", "make_pairs", "made_parts"]


@dataclass(frozen=True, kw_only=True)
class Pair(Scores):
    """A made pair, and its scores.

    parts: of its mask, see `windows.crop_parts`; seconds: its share of the batch's time; calls: of the denoiser's
    network, for one window each; controls: of every part, see `controls.control_values`, or None.
    """

    job: Job
    picture: Picture
    parts: tuple[Part, ...]
    seconds: float
    calls: int
    controls: Sequence[np.ndarray] | None = None

    @property
    def windows(self) -> tuple[Window, ...]:
        """Where its parts were made."""
        return tuple(part.window for part in self.parts)

    @cached_property
    def refined_mask(self) -> np.ndarray | None:
        """The mask's pixels that the defect fills, bool [H, W], see `synthesis.labels`; None without controls."""
        return None if self.controls is None else refined_mask(self.picture, self.parts, self.controls)


def make_pairs(
    base: CompactLDM,
    jobs: Sequence[Job],
    settings: Settings,
    adapter: Adapters | FastModules | StageModules | None = None,
    *,
    changed_above: float = CHANGED_ABOVE,
    controlled: bool = False,
    known: KnownControls | None = None,
    real: RealDefects | None = None,
) -> list[Pair]:
    """Make a batch of pairs. Every job is cropped to the base's resolution, so images may differ in size.

    Args:
        adapter: trained on this base; its tokens join the type's own, FARM and STAGE's parts as the settings say.
        changed_above: see `scores.completeness`.
        controlled: measure `excess` against controls of every pair, see `synthesis.controls`.
        known: controls that were made before; those of this batch are added.
        real: defects that `nearest_real` is measured to; None leaves it out.

    Raises:
        ValueError: an empty mask, mask and image of different sizes, an unknown type or preset, steps out of range or
            too few for STAGE's windows, MGA heads asked for that the adapter lacks.
    """
    started = time.perf_counter()
    made = made_parts(base, jobs, settings, adapter, known or KnownControls() if controlled else None)
    pictures = [
        composed_picture(job.picture, one.parts, settings.mode, settings.feather)
        for job, one in zip(jobs, made, strict=True)
    ]
    scores = [
        scores_of(picture, job.picture, one.parts, changed_above, one.controls)
        for job, picture, one in zip(jobs, pictures, made, strict=True)
    ]
    nearest = [None] * len(jobs)
    if real:
        kinds = [(job.object, job.type) for job in jobs]
        nearest = real.of_pairs(kinds, pictures, [[part for part, _ in one.parts] for one in made])
    seconds = (time.perf_counter() - started) / len(jobs)
    return [
        Pair(
            **vars(scored) | {"nearest_real": distance},
            job=job,
            picture=picture,
            parts=tuple(part for part, _ in one.parts),
            seconds=seconds,
            calls=one.calls,
            controls=one.controls,
        )
        for job, picture, scored, one, distance in zip(jobs, pictures, scores, made, nearest, strict=True)
    ]


@dataclass(eq=False)
class MadeParts:
    """What the model made of one job, part by part, before it is composed.

    controls: of every part, see `controls.control_values`; None where none were asked for. calls: of the denoiser's
    network, for one window each.
    """

    parts: list[Made] = field(default_factory=list)
    controls: list[np.ndarray] | None = None
    calls: int = 0


def made_parts(
    base: CompactLDM,
    jobs: Sequence[Job],
    settings: Settings,
    adapter: Adapters | FastModules | StageModules | None = None,
    known: KnownControls | None = None,
) -> list[MadeParts]:
    """What the model makes of every job; every window is encoded and decoded once, for the pair and its controls.

    Args:
        known: controls that were made before; those of these jobs are added. None: without controls.

    Raises as `make_pairs`.
    """
    for job in jobs:
        check_job(base, job)
    adapters, made = adapters_of(adapter), [MadeParts() for _ in jobs]
    missing: dict[int, str] = {}  # places of jobs whose controls are not known, and their keys
    if known is not None:
        for place, job in enumerate(jobs):
            key = controls_key(job, settings)
            made[place].controls = known.of(key)
            if made[place].controls is None:
                made[place].controls, missing[place] = [], key
    with torch.inference_mode():
        for windows in encoded_windows(base, jobs, settings.context):
            own = [jobs[part.item] for part in windows.parts]
            types = [(job.object, job.type) for job in own]
            seeds = [part_seed(job.seed, part.number) for job, part in zip(own, windows.parts, strict=True)]
            looks = [job.look for job in own]
            decoded, calls = made_windows(base, windows, types, seeds, settings, adapters, looks)
            for part, window, roundtrip in zip(windows.parts, decoded, windows.roundtrip, strict=True):
                made[part.item].parts.append((part, (window, roundtrip)))
                made[part.item].calls += calls
            places = [place for place, part in enumerate(windows.parts) if part.item in missing]
            values, calls = control_values(base, jobs, windows, places, settings)
            for place, own_values in zip(places, values, strict=True):
                one = made[windows.parts[place].item]
                one.controls.append(own_values)
                one.calls += calls
    for place, key in missing.items():
        known.keep(key, made[place].controls)
    return made
