"""A pair's controls: its own mask made again as normal surface, several times; what shows is unlike all of them."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..modules.compact_ldm import NORMAL, CompactLDM
from ..seeds import CONTROL_SEED, part_seed
from .adapters import Adapters
from .compose import composed_values
from .make import Encoded, Job, Settings, made_windows

# One step is enough: it gives the mean of the surfaces that the model holds possible, and the controls differ by how
# sure it is. More steps find no more, and a fourth control hardly anything; two are worse: benchmarks/README.md.
COUNT, STEPS = 3, 1


def control_settings(settings: Settings) -> Settings:
    """The pair's windows and composing; one step of the base alone, without guidance."""
    return replace(settings, preset="recommended", steps=STEPS, guidance=1.0, farm=0.0, graded=None)


def control_values(
    base: CompactLDM, jobs: Sequence[Job], windows: Encoded, places: Sequence[int], settings: Settings
) -> tuple[list[np.ndarray], int]:
    """COUNT controls of the windows at `places`, composed as their pairs are, and the denoiser's calls for each window.

    Returns:
        for every place the pixels of its part's mask, [COUNT, N, C] of the picture's dtype; see `scores.excess`.
    """
    if not places:
        return [], 0
    again = windows.repeated(places, COUNT)
    types = [(jobs[part.item].object, NORMAL) for part in again.parts]
    seeds = [part_seed(CONTROL_SEED + time, windows.parts[place].number) for time in range(COUNT) for place in places]
    made, calls = made_windows(base, again, types, seeds, control_settings(settings), Adapters())
    times = made.view(COUNT, len(places), *made.shape[1:])
    values = [
        composed_values(
            jobs[windows.parts[place].item].picture,
            windows.parts[place],
            times[:, number],
            windows.roundtrip[place],
            settings.mode,
            settings.feather,
        )
        for number, place in enumerate(places)
    ]
    return values, COUNT * calls


class KnownControls:
    """The controls of normal images and masks, kept for all that is made there: negatives, redraws, rounds."""

    def __init__(self, known: KnownControls | None = None):
        """known: what is known from the start; what is added stays here alone."""
        self._kept: ChainMap[str, list[np.ndarray]] = ChainMap({}, known._kept if known else {})

    def of(self, key: str) -> list[np.ndarray] | None:
        """Of every part of the mask of a job with this `controls_key`; None where they are not known."""
        return self._kept.get(key)

    def keep(self, key: str, values: list[np.ndarray]) -> None:
        self._kept[key] = values


def controls_key(job: Job, settings: Settings) -> str:
    """What the controls of a job depend on, as text. It reads the whole picture: make it once per job."""
    digest = hashlib.sha256(job.picture.pixels.tobytes())
    digest.update(np.packbits(job.mask.numpy()).tobytes())
    shape = (job.picture.pixels.shape, job.picture.pixels.dtype, tuple(job.mask.shape), job.object)
    chosen = (settings.aware, settings.context, settings.mode, settings.feather)
    return f"{digest.hexdigest()} {shape} {chosen}"
