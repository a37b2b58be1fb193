"""What the model makes in the windows of jobs, before anything is composed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import Refused
from ..images.masks import latent_mask
from ..images.pictures import Picture
from ..images.windows import cut_picture
from ..modules.compact_ldm import CompactLDM
from ..modules.tokens import Type
from ..samplers.aias import sample_aias
from ..samplers.graded import sample_graded
from ..samplers.grid import grid_sigmas
from ..samplers.noise import initial_noise
from ..samplers.schedule import ldm_sigmas, nearest_timestep
from .adapters import Adapters
from .settings import FREE, Look, Settings
from .start import farm_options, sampling, start_state
from .windows import Part, crop_parts

BATCH = 8  # windows per call of the model


@dataclass(frozen=True, eq=False)
class Redraw:
    """A defect to start from: `picture`, the normal image with it, of which `share` of the noise levels is sampled
    again; near 0 it stays, at 1 nothing of it is left."""

    picture: Picture
    share: float


@dataclass(frozen=True)
class Job:
    """One pair to make: `picture` receives an anomaly of (object, type) in `mask` (bool [H, W]); `look`: what it is to
    look like, for a base that can be asked (see `CompactLDMConfig.appearance`); `redraw`: the same share in all jobs of
    a batch, see `Redraw`."""

    picture: Picture
    mask: Tensor
    object: str
    type: str
    seed: int
    look: Look = FREE
    redraw: Redraw | None = None


@dataclass(frozen=True, eq=False)
class Encoded:
    """A batch of windows, cut and encoded once for all that is made in them.

    parts: whose windows they are, P of them; mask: of the latents' size, [P, 1, h, w]; background: latents of the
    normal windows, [P, C, h, w]; roundtrip: these decoded, [P, 3, R, R] on the CPU; drawn: latents of the windows with
    the defects that the sampling starts from, and the share of the levels that is sampled; None without `Redraw`.
    """

    parts: tuple[Part, ...]
    mask: Tensor
    background: Tensor
    roundtrip: Tensor
    drawn: tuple[Tensor, float] | None = None

    def repeated(self, places: Sequence[int], times: int) -> Encoded:
        """The windows at `places`, all of them `times` times, one after the other; without `drawn`."""
        chosen = list(places) * times
        parts = tuple(self.parts[place] for place in chosen)
        return Encoded(parts, self.mask[chosen], self.background[chosen], self.roundtrip[chosen])


def encoded_windows(base: CompactLDM, jobs: Sequence[Job], context: float) -> Iterator[Encoded]:
    """The windows of all parts of the jobs' masks, at most BATCH at a time; a part's `item` is its job's place."""
    device = base.latent_mean.device
    parts = [p for index, job in enumerate(jobs) for p in crop_parts(index, job.mask, base.config.resolution, context)]
    for first in range(0, len(parts), BATCH):
        some = tuple(parts[first : first + BATCH])
        crops = torch.stack([cut_picture(jobs[part.item].picture, part.window) for part in some]).to(device)
        redraws, drawn = [jobs[part.item].redraw for part in some], None
        if all(redraws):
            shown = [cut_picture(one.picture, part.window) for one, part in zip(redraws, some, strict=True)]
            drawn = base.encode(torch.stack(shown).to(device)), redraws[0].share
        masks = torch.stack([part.shown() for part in some]).to(device)
        background = base.encode(crops)
        mask = latent_mask(masks, background.shape[2:])
        yield Encoded(some, mask, background, base.decode(background).cpu(), drawn)


def made_windows(
    base: CompactLDM,
    windows: Encoded,
    types: Sequence[Type],
    seeds: Sequence[int],
    settings: Settings,
    adapters: Adapters,
    looks: Sequence[Look] = (),
) -> tuple[Tensor, int]:
    """The windows with an anomaly in every mask, decoded, [P, 3, R, R] on the CPU, and the denoiser's calls for each.

    Args:
        types: (object, type) of every window; seeds: of its noise; looks: of its anomaly, () leaves all to the base.

    Raises:
        Refused: an unknown type, too few steps for STAGE's windows, MGA heads asked for that the adapter lacks.
    """
    mask, background = windows.mask, windows.background
    stage = settings.graded or (None if adapters.stage is None else "stage")
    chosen = sampling(settings.preset, settings.steps, stage)
    heads = adapters.branches() if chosen.heads else None
    sigmas = grid_sigmas(chosen.levels(), ldm_sigmas()).to(background)
    if windows.drawn is None:
        start = start_state(background, mask, sigmas[0], initial_noise(background, seeds), chosen.options)
    else:
        drawn, share = windows.drawn
        sigmas = sigmas[min(int((1 - share) * (len(sigmas) - 1)), len(sigmas) - 2) :]
        inside = torch.lerp(background, drawn, mask)
        start = start_state(inside, mask, sigmas[0], initial_noise(background, seeds), chosen.options, full=False)
    known = (mask, background) if settings.aware else (None, None)
    labels = [base.label(*type) for type in types]
    appearance = None if all(look.free for look in looks) else torch.tensor([look.row() for look in looks])
    denoiser = partial(
        base.denoiser,
        labels,
        *known,
        guidance=settings.guidance,
        tokens=adapters.tokens(types),
        appearance=appearance,
    )
    options = chosen.options | {"mask": mask, "background": background, "seeds": seeds}
    foreground = adapters.foreground(mask, background, types, nearest_timestep)
    options |= farm_options(foreground, settings.farm, settings.farm_until)
    if chosen.graded:
        options |= {"branches": heads, "headed": lambda change: denoiser(change=change)}
    sample = sample_graded if chosen.graded else sample_aias
    with _calls(base.unet) as counted:
        latents = sample(denoiser(), start, sigmas, **options)
    return base.decode(latents).cpu(), len(counted)


@contextmanager
def _calls(network: nn.Module) -> Iterator[list[None]]:
    """A list that grows by one entry per call of `network`."""
    counted: list[None] = []
    hook = network.register_forward_hook(lambda *_: counted.append(None))
    try:
        yield counted
    finally:
        hook.remove()


def check_job(base: CompactLDM, job: Job) -> None:
    """Raise Refused for an empty mask, for one of another size than its picture, and for a type that `base` does not
    know."""
    if tuple(job.mask.shape) != job.picture.size:
        raise Refused(
            "mask",
            f"{tuple(job.mask.shape)}, and the image {job.picture.size} (height, width)",
            remedy="give a mask of the image's size",
        )
    if not job.mask.any():
        raise Refused("mask", "it is empty", "one pixel or more that becomes a defect")
    base.label(job.object, job.type)
