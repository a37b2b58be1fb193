"""A pair's controls: its own mask made again as normal surface, several times; what shows is unlike all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..images.pictures import Picture
from ..modules.compact_ldm import NORMAL, CompactLDM
from .composed import composed_picture
from .made import Job, Settings, made_parts

# The same noises for every pair: a search over seeds must not find one visible for controls that happened to be alike.
SEED = 2**62 + 1
# Four tell better than two or three how unlike surfaces are; six steps make what twenty do: benchmarks/README.md.
COUNT, STEPS = 4, 6


def control_settings(settings: Settings) -> Settings:
    """The pair's windows and composing; a few steps of the base alone."""
    return replace(settings, preset="recommended", steps=STEPS, guidance=1.0, farm=0.0, graded=None)


def control_pictures(
    base: CompactLDM, jobs: Sequence[Job], settings: Settings
) -> tuple[list[list[Picture]], list[int]]:
    """COUNT controls of every job, composed as its pair is, and the denoiser's calls for them; see `made_parts`."""
    normal = [Job(job.picture, job.mask, job.object, NORMAL, SEED + number) for job in jobs for number in range(COUNT)]
    made, calls = made_parts(base, normal, control_settings(settings))
    pictures = [
        composed_picture(job.picture, parts, settings.mode, settings.feather)
        for job, parts in zip(normal, made, strict=True)
    ]
    places = range(0, len(normal), COUNT)
    return [pictures[at : at + COUNT] for at in places], [sum(calls[at : at + COUNT]) for at in places]
