"""From normal images, masks and anomaly types to checked pairs, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..datasets.components import mask_parts
from ..datasets.masks import latent_mask
from ..datasets.pictures import Picture
from ..datasets.windows import CONTEXT, Window, context_window, cut_mask, cut_picture, enlarge, image_part
from ..modules.compact_ldm import NORMAL, CompactLDM
from ..samplers.aias import sample_aias
from ..samplers.grid import aias_grid, grid_sigmas
from ..samplers.noise import initial_noise
from ..samplers.presets import preset
from ..samplers.schedule import ldm_sigmas
from .compose import check_mode, compose
from .visibility import signed_contrast, visibility

BATCH = 8  # windows per call of the model
SEED_STRIDE = 0x9E3779B97F4A7C15  # golden ratio of 2^64: keeps the seeds of parts and of neighbouring jobs apart


@dataclass(frozen=True)
class Settings:
    """How pairs are made.

    preset, steps: sampler (see `samplers.presets`); guidance: 1 is off, any other runs the model twice per step; aware:
    the model is told mask and background (False is the papers' unconditional LDM, held by the background alone);
    context: see `context_side`; mode, feather: see `compose`. Raises ValueError for values out of range.
    """

    preset: str = "recommended"
    steps: int = 20
    guidance: float = 2.0
    aware: bool = True
    context: float = CONTEXT
    mode: str = "difference"
    feather: int = 0

    def __post_init__(self):
        aias_grid(**preset(self.preset, self.steps)[0])
        check_mode(self.mode, self.feather)
        for name in ("guidance", "context"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"Synthesize: {name} is {getattr(self, name)}; it must be 0 or more, and finite.")


@dataclass(frozen=True)
class Job:
    """One pair to make: `picture` receives an anomaly of (object, type) in `mask` (bool [H, W])."""

    picture: Picture
    mask: Tensor
    object: str
    type: str
    seed: int


@dataclass(frozen=True)
class Pair:
    """A made pair.

    windows: where its parts were made (see `mask_parts`); visibility, contrast: see `synthesis.visibility`, means over
    the parts by area; seconds: its share of the batch's time.
    """

    job: Job
    picture: Picture
    windows: tuple[Window, ...]
    visibility: float
    contrast: float
    seconds: float


@dataclass(frozen=True)
class _Part:
    """What one window makes: a part of job `index`'s mask."""

    index: int
    mask: Tensor
    window: Window
    label: int
    seed: int


def make_pairs(base: CompactLDM, jobs: Sequence[Job], settings: Settings) -> list[Pair]:
    """Make a batch of pairs. Every job is cropped to the base's resolution, so images may differ in size.

    Raises:
        ValueError: an empty mask, mask and image of different sizes, an unknown type or preset, steps out of range.
    """
    started = time.perf_counter()
    for job in jobs:
        _check(job)
    parts = [part for index, job in enumerate(jobs) for part in _parts(base, index, job, settings.context)]
    batches = [parts[first:first + BATCH] for first in range(0, len(parts), BATCH)]
    with torch.inference_mode():
        decoded = [item for batch in batches for item in _decoded(base, jobs, batch, settings)]
    results = [job.picture for job in jobs]
    for part, (made, roundtrip) in zip(parts, decoded, strict=True):
        results[part.index] = compose(
            results[part.index], made, roundtrip, part.mask, part.window, settings.mode, settings.feather
        )
    scores: list[list[tuple[float, float, float]]] = [[] for _ in jobs]
    for part, (_, roundtrip) in zip(parts, decoded, strict=True):
        scores[part.index].append(_scores(results[part.index], roundtrip, jobs[part.index], part))
    seconds = (time.perf_counter() - started) / len(jobs)
    windows = [tuple(part.window for part in parts if part.index == index) for index in range(len(jobs))]
    return [Pair(job, results[i], windows[i], *_mean(scores[i]), seconds) for i, job in enumerate(jobs)]


def _parts(base: CompactLDM, index: int, job: Job, context: float) -> list[_Part]:
    resolution, row = base.config.resolution, base.label(job.object, job.type)
    # Each part draws its own noise; the first keeps the job's seed.
    return [
        _Part(index, mask, context_window(mask, resolution, context), row, (job.seed + k * SEED_STRIDE) % 2**63)
        for k, mask in enumerate(mask_parts(job.mask, resolution, context))
    ]


def _decoded(
    base: CompactLDM, jobs: Sequence[Job], parts: Sequence[_Part], settings: Settings
) -> list[tuple[Tensor, Tensor]]:
    """For every part: the window with its anomaly, and the normal window encoded and decoded, [3, R, R] on the CPU."""
    device = base.latent_mean.device
    crops = torch.stack([cut_picture(jobs[part.index].picture, part.window) for part in parts]).to(device)
    masks = torch.stack([cut_mask(part.mask, part.window) for part in parts]).to(device)
    background = base.encode(crops)
    latent = _sampled(base, background, masks, parts, settings)
    return list(zip(base.decode(latent).cpu(), base.decode(background).cpu(), strict=True))


def _sampled(
    base: CompactLDM, background: Tensor, masks: Tensor, parts: Sequence[_Part], settings: Settings
) -> Tensor:
    """Clean latents [B, C, h, w] with the parts' anomalies inside `masks` (bool [B, R, R])."""
    mask = latent_mask(masks, background.shape[2:])
    grid_options, sampler_options = preset(settings.preset, settings.steps)
    sigmas = grid_sigmas(aias_grid(**grid_options), ldm_sigmas()).to(background)
    seeds = [part.seed for part in parts]
    start = background * (1 - mask) + sigmas[0] * initial_noise(background, seeds)
    told = (mask, background) if settings.aware else (None, None)
    model = base.denoiser([part.label for part in parts], *told, guidance=settings.guidance)
    return sample_aias(model, start, sigmas, mask=mask, background=background, seeds=seeds, **sampler_options)


def normal_visibility(base: CompactLDM, jobs: Sequence[Job], settings: Settings) -> list[float]:
    """Visibility of the same jobs with the mask made again as normal surface: what no defect looks like."""
    normal = [Job(job.picture, job.mask, job.object, NORMAL, job.seed) for job in jobs]
    return [pair.visibility for pair in make_pairs(base, normal, settings)]


def _scores(result: Picture, roundtrip: Tensor, job: Job, part: _Part) -> tuple[float, float, float]:
    """Visibility, signed contrast and area of a part, read on its window."""
    rows, columns = image_part(part.window, job.mask.shape)
    area = (rows[0], columns[0])
    seen, normal = (Picture(picture.pixels[area]).image() for picture in (result, job.picture))
    mask = part.mask[area]
    known = enlarge(roundtrip, part.window)[:, rows[1], columns[1]]
    return visibility(seen, known, normal, mask), signed_contrast(seen, mask, normal), float(mask.sum())


def _mean(scores: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    total = sum(area for _, _, area in scores)
    return sum(v * area for v, _, area in scores) / total, sum(c * area for _, c, area in scores) / total


def _check(job: Job) -> None:
    if tuple(job.mask.shape) != job.picture.size:
        raise ValueError(
            f"Synthesize: the mask is {tuple(job.mask.shape)} and the image {job.picture.size} (height, width); "
            "give a mask of the image's size."
        )
    if not job.mask.any():
        raise ValueError("Synthesize: the mask is empty; a pair needs at least one pixel that is to become a defect.")
