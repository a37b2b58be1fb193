"""From normal images, masks and anomaly types to checked pairs, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

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
    """A made pair. visibility, contrast: see `synthesis.visibility`; seconds: its share of the batch's time."""

    job: Job
    picture: Picture
    window: Window
    visibility: float
    contrast: float
    seconds: float


def make_pairs(base: CompactLDM, jobs: Sequence[Job], settings: Settings) -> list[Pair]:
    """Make a batch of pairs. Every job is cropped to the base's resolution, so images may differ in size.

    Raises:
        ValueError: an empty mask, mask and image of different sizes, an unknown type or preset, steps out of range.
    """
    started = time.perf_counter()
    for job in jobs:
        _check(job)
    resolution = base.config.resolution
    device = base.latent_mean.device
    windows = [context_window(job.mask, resolution, settings.context) for job in jobs]
    placed = list(zip(jobs, windows, strict=True))
    crops = torch.stack([cut_picture(job.picture, window) for job, window in placed]).to(device)
    masks = torch.stack([cut_mask(job.mask, window) for job, window in placed]).to(device)
    with torch.inference_mode():
        background = base.encode(crops)
        latent = sample(base, background, masks, jobs, settings)
        made, roundtrip = base.decode(latent).cpu(), base.decode(background).cpu()
    results = [
        compose(job.picture, made[i], roundtrip[i], job.mask, windows[i], settings.mode, settings.feather)
        for i, job in enumerate(jobs)
    ]
    scores = [_scores(results[i], roundtrip[i], job, windows[i]) for i, job in enumerate(jobs)]
    seconds = (time.perf_counter() - started) / len(jobs)
    return [Pair(job, results[i], windows[i], *scores[i], seconds) for i, job in enumerate(jobs)]


def sample(
    base: CompactLDM, background: Tensor, masks: Tensor, jobs: Sequence[Job], settings: Settings
) -> Tensor:
    """Clean latents [B, C, h, w] with the jobs' anomalies inside `masks` (bool [B, R, R])."""
    mask = latent_mask(masks, background.shape[2:])
    grid_options, sampler_options = preset(settings.preset, settings.steps)
    sigmas = grid_sigmas(aias_grid(**grid_options), ldm_sigmas()).to(background)
    seeds = [job.seed for job in jobs]
    start = background * (1 - mask) + sigmas[0] * initial_noise(background, seeds)
    told = (mask, background) if settings.aware else (None, None)
    model = base.denoiser([base.label(job.object, job.type) for job in jobs], *told, guidance=settings.guidance)
    return sample_aias(model, start, sigmas, mask=mask, background=background, seeds=seeds, **sampler_options)


def normal_visibility(base: CompactLDM, jobs: Sequence[Job], settings: Settings) -> list[float]:
    """Visibility of the same jobs with the mask made again as normal surface: what no defect looks like."""
    normal = [Job(job.picture, job.mask, job.object, NORMAL, job.seed) for job in jobs]
    return [pair.visibility for pair in make_pairs(base, normal, settings)]


def _scores(result: Picture, roundtrip: Tensor, job: Job, window: Window) -> tuple[float, float]:
    """Visibility and signed contrast, read on the window's part of the image."""
    rows, columns = image_part(window, job.mask.shape)
    part = (rows[0], columns[0])
    seen, normal = (Picture(picture.pixels[part]).image() for picture in (result, job.picture))
    mask = job.mask[part]
    known = enlarge(roundtrip, window)[:, rows[1], columns[1]]
    return visibility(seen, known, normal, mask), signed_contrast(seen, mask, normal)


def _check(job: Job) -> None:
    if tuple(job.mask.shape) != job.picture.size:
        raise ValueError(
            f"Synthesize: the mask is {tuple(job.mask.shape)} and the image {job.picture.size} (height, width); "
            "give a mask of the image's size."
        )
    if not job.mask.any():
        raise ValueError("Synthesize: the mask is empty; a pair needs at least one pixel that is to become a defect.")
