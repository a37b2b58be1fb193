"""From normal images, masks and anomaly types to checked pairs, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf

import torch
from torch import Tensor

from ..datasets.masks import latent_mask
from ..datasets.pictures import Picture
from ..datasets.windows import CONTEXT, Window, cut_picture, enlarge, image_part
from ..modules.compact_ldm import NORMAL, CompactLDM
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..samplers.aias import sample_aias
from ..samplers.graded import sample_graded
from ..samplers.graded_windows import graded_grid
from ..samplers.grid import aias_grid, grid_sigmas
from ..samplers.noise import initial_noise
from ..samplers.presets import preset
from ..samplers.schedule import ldm_sigmas, nearest_timestep
from ..samplers.stage_presets import stage_preset, with_stage
from .adapters import Adapters, adapters_of
from .compose import check_mode, compose_into
from .crop import Part, crop_parts, part_seed
from .visibility import signed_contrast, visibility

BATCH = 8  # windows per call of the model


@dataclass(frozen=True)
class Settings:
    """How pairs are made.

    preset, steps: sampler (see `samplers.presets`); guidance: 1 is off, any other runs the model twice per step; aware:
    the model is told mask and background (False is the papers' unconditional LDM, held by the background alone);
    context: see `context_side`; mode, feather: see `compose`; farm, farm_until: for an adapter of FAST, FARM's share
    of the estimate in the mask (0 .. 1, 0 leaves it out) and t in 0 .. 999 below which it rests (None is the preset's);
    graded: parts of STAGE, see `samplers.stage_presets` (None: all with an adapter of STAGE, else none, which is AIAS).
    Raises ValueError for values out of range.
    """

    preset: str = "recommended"
    steps: int = 20
    guidance: float = 2.0
    aware: bool = True
    context: float = CONTEXT
    mode: str = "difference"
    feather: int = 0
    farm: float = 1.0
    farm_until: float | None = None
    graded: str | None = None

    def __post_init__(self):
        aias_grid(**preset(self.preset, self.steps)[0])
        if self.graded is not None:
            graded_grid(**preset(self.preset, self.steps)[0], windows=stage_preset(self.graded)[1]["windows"])
        check_mode(self.mode, self.feather)
        for name in ("guidance", "context"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"Synthesize: {name} is {getattr(self, name)}; it must be 0 or more, and finite.")
        if not 0 <= self.farm <= 1 or not 0 <= (self.farm_until or 0) < 1000:
            raise ValueError(
                f"Synthesize: farm is {self.farm} and farm_until {self.farm_until}; accepted is 0 to 1, and a t of 0 "
                "to 999 or none."
            )


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

    windows: where its parts were made (see `boxed_parts`); visibility, contrast: see `synthesis.visibility`, means over
    the parts by area; seconds: its share of the batch's time.
    """

    job: Job
    picture: Picture
    windows: tuple[Window, ...]
    visibility: float
    contrast: float
    seconds: float


@dataclass(frozen=True)
class Composed:
    """A picture with its anomaly, and its scores: means over the parts by area, see `synthesis.visibility`."""

    picture: Picture
    visibility: float
    contrast: float


def make_pairs(
    base: CompactLDM, jobs: Sequence[Job], settings: Settings,
    adapter: Adapters | FastModules | StageModules | None = None,
) -> list[Pair]:  # fmt: skip
    """Make a batch of pairs. Every job is cropped to the base's resolution, so images may differ in size.

    Args:
        adapter: trained on this base; its tokens join the type's own, FARM and STAGE's parts as the settings say.

    Raises:
        ValueError: an empty mask, mask and image of different sizes, an unknown type or preset, steps out of range or
            too few for STAGE's windows, MGA heads asked for that the adapter lacks.
    """
    started = time.perf_counter()
    for job in jobs:
        _check(job)
        base.label(job.object, job.type)
    parts = [
        part
        for index, job in enumerate(jobs)
        for part in crop_parts(index, job.mask, base.config.resolution, settings.context)
    ]
    batches = [parts[first:first + BATCH] for first in range(0, len(parts), BATCH)]
    with torch.inference_mode():
        decoded = [item for batch in batches for item in _decoded(base, jobs, batch, settings, adapters_of(adapter))]
    made = list(zip(parts, decoded, strict=True))
    composed = [
        compose_parts(job.picture, [m for m in made if m[0].item == index], settings.mode, settings.feather)
        for index, job in enumerate(jobs)
    ]
    seconds = (time.perf_counter() - started) / len(jobs)
    windows = [tuple(part.window for part in parts if part.item == index) for index in range(len(jobs))]
    return [
        Pair(job, c.picture, w, c.visibility, c.contrast, seconds)
        for job, c, w in zip(jobs, composed, windows, strict=True)
    ]


def compose_parts(
    normal: Picture, made: Sequence[tuple[Part, tuple[Tensor, Tensor]]], mode: str = "difference", feather: int = 0
) -> Composed:
    """Put the parts of one picture together and score the result.

    Args:
        normal: the normal picture.
        made: for every part of its mask: the window with the anomaly and the normal window, both decoded, [3, R, R] in
            0 .. 1.
        mode, feather: see `compose`.
    """
    check_mode(mode, feather)
    pixels = normal.pixels.copy()
    for part, (anomalous, roundtrip) in made:
        compose_into(pixels, anomalous, roundtrip, part.in_area(normal.size)[1], part.window, mode, feather)
    result = normal.with_pixels(pixels)
    scores = [_scores(result, roundtrip, normal, part) for part, (_, roundtrip) in made]
    return Composed(result, *_mean(scores))


def _decoded(
    base: CompactLDM, jobs: Sequence[Job], parts: Sequence[Part], settings: Settings, adapters: Adapters
) -> list[tuple[Tensor, Tensor]]:
    """For every part: the window with its anomaly, and the normal window encoded and decoded, [3, R, R] on the CPU."""
    device = base.latent_mean.device
    crops = torch.stack([cut_picture(jobs[part.item].picture, part.window) for part in parts]).to(device)
    masks = torch.stack([part.shown() for part in parts]).to(device)
    background = base.encode(crops)
    types = [(jobs[part.item].object, jobs[part.item].type) for part in parts]
    seeds = [part_seed(jobs[part.item].seed, part.number) for part in parts]
    latent = _sampled(base, background, masks, types, seeds, settings, adapters)
    return list(zip(base.decode(latent).cpu(), base.decode(background).cpu(), strict=True))


def _sampled(
    base: CompactLDM,
    background: Tensor,
    masks: Tensor,
    types: Sequence[tuple[str, str]],
    seeds: Sequence[int],
    settings: Settings,
    adapters: Adapters,
) -> Tensor:
    """Clean latents [B, C, h, w] with the parts' anomalies inside `masks` (bool [B, R, R])."""
    mask = latent_mask(masks, background.shape[2:])
    grid_options, sampler_options = preset(settings.preset, settings.steps)
    heads, parts = _stage(adapters, settings)
    grid = aias_grid(**grid_options) if parts is None else graded_grid(**grid_options, windows=parts["windows"])
    sigmas = grid_sigmas(grid, ldm_sigmas()).to(background)
    # Anomaly inference keeps the surroundings' state, so that a start that counts as pure noise must be that there too.
    known = 0 if parts and parts["aif"] and sampler_options.get("pure_start") else background * (1 - mask)
    start = known + sigmas[0] * initial_noise(background, seeds)
    told = (mask, background) if settings.aware else (None, None)
    labels = [base.label(*type) for type in types]
    denoiser = partial(base.denoiser, labels, *told, guidance=settings.guidance, tokens=adapters.tokens(types))
    options = {"mask": mask, "background": background, "seeds": seeds}
    options |= _farm(adapters.foreground(mask, background, types, nearest_timestep), settings)
    if parts is None:
        return sample_aias(denoiser(), start, sigmas, **sampler_options | options)
    options |= {"branches": heads, "headed": lambda change: denoiser(change=change)}
    return sample_graded(denoiser(), start, sigmas, **with_stage(sampler_options, parts) | options)


def _stage(adapters: Adapters, settings: Settings) -> tuple[tuple | None, dict | None]:
    """The heads, and STAGE's parts as keywords of `sample_graded`; the latter None where AIAS samples."""
    name = settings.graded or (None if adapters.stage is None else "stage")
    if name is None:
        return None, None
    heads, parts = stage_preset(name)
    return adapters.branches() if heads else None, parts


def _farm(foreground: Callable[[Tensor, Tensor], Tensor] | None, settings: Settings) -> dict:
    """What FARM adds to the sampler's keywords."""
    if foreground is None or not settings.farm:
        return {}
    until = {} if settings.farm_until is None else {"foreground_until": settings.farm_until}
    return {"foreground": foreground, "foreground_strength": settings.farm} | until


def normal_visibility(base: CompactLDM, jobs: Sequence[Job], settings: Settings) -> list[float]:
    """Visibility of the same jobs with the mask made again as normal surface: what no defect looks like."""
    normal = [Job(job.picture, job.mask, job.object, NORMAL, job.seed) for job in jobs]
    return [pair.visibility for pair in make_pairs(base, normal, replace(settings, graded=None))]


def _scores(result: Picture, roundtrip: Tensor, normal: Picture, part: Part) -> tuple[float, float, float]:
    """Visibility, signed contrast and area of a part, read on its window."""
    rows, columns = image_part(part.window, normal.size)
    area, mask = part.in_area(normal.size)
    seen, surface = (Picture(picture.pixels[area]).image() for picture in (result, normal))
    known = enlarge(roundtrip, part.window)[:, rows[1], columns[1]]
    return visibility(seen, known, surface, mask), signed_contrast(seen, mask, surface), float(mask.sum())


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
