"""How a run of the sampler begins, and with which options: for the command line and for the nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..samplers.graded_windows import Window, graded_grid
from ..samplers.grid import aias_grid
from ..samplers.mask_schedule import MaskSchedule
from ..samplers.presets import preset
from ..samplers.stage_presets import stage_preset, with_stage


@dataclass(frozen=True)
class Sampling:
    """A sampler with its options.

    grid: keywords of `aias_grid`; windows: of t, which `graded_grid` reaches, () for none; options: keywords of the
    sampler; is_graded: it is `sample_graded`, else `sample_aias`; heads: MGA heads work.
    """

    grid: dict[str, Any]
    windows: tuple[Window, ...]
    options: dict[str, Any]
    is_graded: bool
    heads: bool

    def levels(self) -> list[int]:
        """Levels of a run through the whole schedule. Raises ValueError for steps that no such run can have."""
        return graded_grid(**self.grid, windows=self.windows) if self.is_graded else aias_grid(**self.grid)


def sampling(
    preset_name: str,
    steps: int,
    stage: str | None = None,
    windows: Sequence[Window] | None = None,
    mask_schedule: MaskSchedule | None = None,
) -> Sampling:
    """The sampler of a preset and of the parts of STAGE that are switched on.

    Args:
        preset_name, steps: see `samplers.presets`.
        stage: parts of STAGE, see `samplers.stage_presets`; None is AIAS.
        windows, mask_schedule: in place of STAGE's own where `stage` has them; None keeps these.

    Raises:
        ValueError: an unknown name.
    """
    grid, options = preset(preset_name, steps)
    if stage is None:
        return Sampling(grid, (), options, is_graded=False, heads=False)
    heads, parts = stage_preset(stage)
    if parts["windows"] and windows is not None:
        parts["windows"] = tuple(windows)
    if parts["mask_schedule"] and mask_schedule is not None:
        parts["mask_schedule"] = mask_schedule
    return Sampling(grid, tuple(parts["windows"]), with_stage(options, parts), is_graded=True, heads=heads)


def start_state(
    background: Tensor,
    mask: Tensor,
    sigma: float | Tensor,
    noise: Tensor,
    options: dict[str, Any],
    alpha: float = 1.0,
    full: bool = True,
) -> Tensor:
    """The state at the first level, [B, C, h, w].

    Args:
        background: clean latent of the normal image, [B, C, h, w]; mask: [B, 1, h, w]; noise: like background.
        sigma, alpha: of the level.
        options: of the sampler. A start that counts as pure noise must be that outside the mask, too, where anomaly
            inference keeps the state of the surroundings.
        full: the run starts at the noisiest level: the mask holds noise alone. Else it holds what the image shows.
    """
    if options.get("pure_start", False) and options.get("aif", False):
        return sigma * noise
    known = background * (1 - mask) if full else background
    return alpha * known + sigma * noise


def farm_options(
    foreground: Callable[[Tensor, Tensor], Tensor] | None, strength: float, until: float | None
) -> dict[str, Any]:
    """The keywords that FARM adds to a sampler's; none without it or at strength 0. until: None is the preset's."""
    if foreground is None or not strength:
        return {}
    rest = {} if until is None else {"foreground_until": until}
    return {"foreground": foreground, "foreground_strength": strength} | rest
