"""A pair's control: its own mask made again as normal surface, which tells how much change shows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..datasets.pictures import Picture
from ..modules.compact_ldm import NORMAL, CompactLDM
from .composed import composed_picture
from .made import Job, Settings, made_parts

# One noise for all controls: a search over seeds must not find a pair visible for a control that happened to be weak.
SEED = 2**62 + 1
# As good a yardstick as 20 calls with guidance, at a third of them: benchmarks/README.md.
STEPS = 6


def control_settings(settings: Settings) -> Settings:
    """The pair's windows and composing; a few steps of the base alone."""
    return replace(settings, preset="recommended", steps=STEPS, guidance=1.0, farm=0.0, graded=None)


def control_pictures(
    base: CompactLDM, jobs: Sequence[Job], settings: Settings
) -> tuple[list[Picture], list[int]]:
    """Every job's control, composed as its pair is, and the denoiser's calls for it; see `made_parts`."""
    normal = [Job(job.picture, job.mask, job.object, NORMAL, SEED) for job in jobs]
    made, calls = made_parts(base, normal, control_settings(settings))
    pictures = [
        composed_picture(job.picture, parts, settings.mode, settings.feather)
        for job, parts in zip(jobs, made, strict=True)
    ]
    return pictures, calls
