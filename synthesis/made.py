"""What the model makes of jobs, window by window, before anything is composed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf

import torch
from torch import Tensor, nn

from ..images.masks import latent_mask
from ..images.pictures import Picture
from ..images.windows import CONTEXT, cut_picture
from ..modules.compact_ldm import CompactLDM
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
from .compose import check_mode
from .composed import Made
from .crop import Part, crop_parts, part_seed

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


def made_parts(
    base: CompactLDM,
    jobs: Sequence[Job],
    settings: Settings,
    adapter: Adapters | FastModules | StageModules | None = None,
) -> tuple[list[list[Made]], list[int]]:
    """What the model makes of every job, part by part, before it is composed; and the calls of the denoiser's network,
    for one window each.

    Raises as `pair.make_pairs`.
    """
    for job in jobs:
        _check(job)
        base.label(job.object, job.type)
    parts = [
        part
        for index, job in enumerate(jobs)
        for part in crop_parts(index, job.mask, base.config.resolution, settings.context)
    ]
    made: list[list[Made]] = [[] for _ in jobs]
    calls = [0] * len(jobs)
    for first in range(0, len(parts), BATCH):
        batch = parts[first : first + BATCH]
        with torch.inference_mode(), _calls(base.unet) as counted:
            decoded = _decoded(base, jobs, batch, settings, adapters_of(adapter))
        for part, windows in zip(batch, decoded, strict=True):
            made[part.item].append((part, windows))
            calls[part.item] += len(counted)
    return made, calls


@contextmanager
def _calls(network: nn.Module) -> Iterator[list[None]]:
    """A list that grows by one entry per call of `network`."""
    counted: list[None] = []
    hook = network.register_forward_hook(lambda *_: counted.append(None))
    try:
        yield counted
    finally:
        hook.remove()


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


def _check(job: Job) -> None:
    if tuple(job.mask.shape) != job.picture.size:
        raise ValueError(
            f"Synthesize: the mask is {tuple(job.mask.shape)} and the image {job.picture.size} (height, width); "
            "give a mask of the image's size."
        )
    if not job.mask.any():
        raise ValueError("Synthesize: the mask is empty; a pair needs at least one pixel that is to become a defect.")
