"""Noise levels: those of a model, counted as t in 0 .. 999; and levels and windows as a widget's text, such as
"1000, 800, 600" and "1000-800, 400-300"."""

from __future__ import annotations

import re
from collections.abc import Callable

import comfy.model_sampling
import torch
from torch import Tensor

from ..errors import Refused
from ..samplers.graded_windows import Window, check_windows
from ..samplers.schedule import TIMESTEPS

MAX_LEVELS = 20
_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"


def level_table(model) -> Tensor:
    """The sigmas of a MODEL, ascending, float32 on the CPU; t = 0 is the first and t = 999 the last.

    Raises:
        Refused: a model without such a table.
    """
    sampling = model.get_model_object("model_sampling")
    table = getattr(sampling, "sigmas", None)
    if table is None or len(table) < 2:
        raise Refused(
            "model",
            f"it has no table of noise levels ({type(sampling).__name__})",
            remedy="use an eps, v or flow model",
        )
    return table.detach().float().cpu()


def sigma_of(table: Tensor, t: Tensor) -> Tensor:
    """The sigma of every t in 0 .. 999, like t's shape."""
    return table[(t.double() * (len(table) - 1) / 999).round().long().to(table.device)]


def timestep_of(table: Tensor) -> Callable[[float], float]:
    """timestep(sigma) -> t in 0 .. 999 of the nearest level, in log sigma. `model_sampling.timestep` is not that for
    every model: Flux answers with sigma itself, SD3 with a thousand times it."""
    logs = table.double().log()

    def timestep(sigma: float) -> float:
        nearest = int((logs - torch.tensor(sigma, dtype=torch.float64).log()).abs().argmin())
        return 999 * nearest / (len(table) - 1)

    return timestep


def flow_alpha(sampling):
    """alpha(sigma) of a flow model; None for eps and v models, whose alpha is 1.

    Raises:
        Refused: a flow model whose state is not (1 - sigma) x0 + sigma noise.
    """
    if not isinstance(sampling, comfy.model_sampling.CONST):
        return None
    if type(sampling).noise_scaling is not comfy.model_sampling.CONST.noise_scaling or (
        getattr(sampling, "noise_scale", 1.0) != 1.0
    ):
        raise Refused("model", "a flow model that scales its noise in a way of its own, which is not supported")
    return lambda sigma: 1 - sigma


def typed_levels(text: str) -> list[float]:
    """Levels in t of 0 .. 1000, as they stand. Raises Refused for any other text, and for more than MAX_LEVELS."""
    found = [re.fullmatch(_NUMBER, entry) for entry in text.split(",")]
    levels = [_number(one[1]) for one in found if one]
    if len(levels) < len(found) or len(found) > MAX_LEVELS or not all(level <= TIMESTEPS for level in levels):
        raise Refused(
            "levels",
            repr(text),
            f"t of 0 to {TIMESTEPS}, {MAX_LEVELS} at most, with commas between, such as '1000, 800, 600'",
        )
    return levels


def typed_windows(text: str) -> tuple[Window, ...]:
    """Windows (hi, lo) in t; () for an empty text.

    Raises:
        Refused: any other text; windows reversed, overlapping or out of range.
    """
    if not text.strip():
        return ()
    found = [re.fullmatch(f"{_NUMBER}-{_NUMBER}", entry) for entry in text.split(",")]
    if not all(found):
        raise Refused(
            "windows",
            repr(text),
            f"hi-lo in t of 0 to {TIMESTEPS}, the noisier end first, with commas between, such as '1000-800, 400-300', "
            "or nothing for no window",
        )
    windows = tuple((_number(one[1]), _number(one[2])) for one in found if one)
    check_windows(windows)
    return windows


def _number(digits: str) -> float:
    """Whole numbers stay whole, so that errors show them as they were typed."""
    return float(digits) if "." in digits else int(digits)
