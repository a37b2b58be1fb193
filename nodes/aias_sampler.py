"""AIAS as ComfyUI's samplers, and the noise levels that a run visits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import Refused
from ..samplers.aias import sample_aias
from ..samplers.graded_windows import Window, graded_grid
from ..samplers.grid import aias_grid, grid_sigmas
from ..samplers.schedule import TIMESTEPS
from ..synthesis.start import sampling
from .errors import named
from .masked_sampler import MaskedSampler, Model, sample_latent
from .noise_levels import flow_alpha, level_table
from .stage_sampling import heads_of

_log = logging.getLogger(__name__)


class AIASSampler(MaskedSampler):
    """SAMPLER with the keywords of `sample_aias`."""

    engine = staticmethod(sample_aias)

    def __init__(self, options: dict, node: str = "AIAS Sampler"):
        super().__init__(options, node)

    def added(self, model_wrap, masked: Callable[[Model], Model]) -> dict:
        if heads_of(model_wrap.inner_model.current_patcher):
            _log.warning(
                "%s: the model has MGA heads, which AIAS leaves out; sample with KSampler (Graded Diffusion).",
                self.node,
            )
        return {}


def sample_aias_latent(model, seed, steps, cfg, preset_name, positive, negative, latent, denoise) -> dict:
    """The LATENT that KSampler (AIAS) gives; see that node."""
    node = "KSampler (AIAS)"
    chosen = sampling(preset_name, steps)
    return sample_latent(
        AIASSampler(chosen.options, node),
        model,
        seed,
        cfg,
        positive,
        negative,
        latent,
        lambda: aias_sigmas(node, model, **chosen.grid, denoise=denoise),
    )


def aias_sigmas(
    node: str, model, steps: int, kind: str, refine: int, denoise: float = 1.0, windows: Sequence[Window] = ()
) -> Tensor:
    """The model's noise levels that a run visits, descending, the last 0; none where `denoise` is 0.

    `denoise` below 1 keeps the last `steps` levels of a run of steps / denoise, as ComfyUI's KSampler does. At least
    one level is in every one of `windows`, (hi, lo) in t, but for those that the run begins below.

    Raises:
        ValueError: see `graded_grid`; a kind that the model's schedule does not allow; a model without a sigma table.
    """
    if denoise <= 0:
        return torch.FloatTensor([])
    sampling = model.get_model_object("model_sampling")
    table = level_table(node, model)
    if flow_alpha(sampling) and kind == "lambda":
        got = "'lambda', made for eps and v models, and this is a flow model"
        raise Refused("kind", got, remedy="choose half, quadratic or uniform", door=node)
    total = int(steps / denoise)
    tail = f" ({steps} steps at denoise {denoise:g} are the end of a run of {total})" if total > steps else ""
    if total > len(table):
        most = int(len(table) * denoise)
        got = f"{steps}, and the model has {len(table)} levels{tail}"
        raise Refused("steps", got, remedy=f"use at most {most} steps", door=node)
    with named(node):
        try:
            return grid_sigmas(_last_levels(steps, total, windows, kind=kind, refine=refine, sigmas=table), table)
        except Refused as error:
            raise Refused(error.subject, error.got + tail, error.accepted, error.remedy) from error


def _last_levels(steps: int, total: int, windows: Sequence[Window], *, sigmas: Tensor, **options) -> list[int]:
    """The last `steps` levels of a run of `total`, at least one in every window that they do not begin below."""
    options |= {"sigmas": sigmas, "timesteps": len(sigmas)}
    begin = aias_grid(total, **options)[-steps] * (TIMESTEPS - 1) / (len(sigmas) - 1)
    return graded_grid(total, [window for window in windows if window[1] <= begin], **options)[-steps:]
