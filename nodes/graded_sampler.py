"""Graded diffusion, STAGE's sampler, as ComfyUI's samplers."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import Refused
from ..samplers.graded import sample_graded
from ..samplers.mask_schedule import MaskSchedule
from ..synthesis.start import sampling
from .aias_sampler import aias_sigmas
from .level_text import typed_windows
from .masked_sampler import MaskedSampler, Model, sample_latent
from .noise_levels import level_table, timestep_of
from .stage_sampling import headed, heads_of


class GradedSampler(MaskedSampler):
    """SAMPLER with the keywords of `sample_graded`; heads: whether MGA works where Apply MGA left it on the model."""

    engine = staticmethod(sample_graded)
    needs_mask = True

    def __init__(self, options: dict, node: str = "Graded Diffusion Sampler", heads: bool = True):
        super().__init__(options, node)
        self.heads = heads

    def added(self, model_wrap, masked: Callable[[Model], Model]) -> dict:
        patcher, with_change = model_wrap.inner_model.current_patcher, headed(model_wrap)
        return {
            "branches": heads_of(patcher) if self.heads else None,
            "headed": lambda change: masked(with_change(change)),
            "timestep": timestep_of(level_table(self.node, patcher)),
        }


def sample_graded_latent(
    model,
    seed,
    steps,
    cfg,
    preset_name,
    positive,
    negative,
    latent,
    denoise,
    stage: str,
    mask_schedule: MaskSchedule | None,
    windows: str,
) -> dict:
    """The LATENT that KSampler (Graded Diffusion) gives; see that node."""
    node = "KSampler (Graded Diffusion)"
    chosen = sampling(preset_name, steps, stage, typed_windows(node, windows), mask_schedule)
    if chosen.heads and heads_of(model) is None:
        raise Refused(
            "stage",
            f"{stage!r} uses MGA heads, and the model has none",
            remedy="connect Apply MGA with an adapter of STAGE, or choose 'baseline'",
            door=node,
        )
    return sample_latent(
        GradedSampler(chosen.options, node, chosen.heads),
        model,
        seed,
        cfg,
        positive,
        negative,
        latent,
        lambda: aias_sigmas(node, model, **chosen.grid, denoise=denoise, windows=chosen.windows),
    )
