"""A model's noise levels as adapters count them: t in 0 .. 999, whatever the model's own table and time are."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_sampling
import torch
from torch import Tensor

from ..errors import Refused


def level_table(node: str, model) -> Tensor:
    """The sigmas of a MODEL, ascending, float32 on the CPU; t = 0 is the first and t = 999 the last.

    Raises:
        ValueError: a model without such a table.
    """
    sampling = model.get_model_object("model_sampling")
    table = getattr(sampling, "sigmas", None)
    if table is None or len(table) < 2:
        raise Refused(
            "model",
            f"it has no table of noise levels ({type(sampling).__name__})",
            remedy="use an eps, v or flow model",
            door=node,
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
        ValueError: a flow model whose state is not (1 - sigma) x0 + sigma noise.
    """
    if not isinstance(sampling, comfy.model_sampling.CONST):
        return None
    if type(sampling).noise_scaling is not comfy.model_sampling.CONST.noise_scaling or (
        getattr(sampling, "noise_scale", 1.0) != 1.0
    ):
        raise Refused("model", "a flow model that scales its noise in a way of its own, which is not supported")
    return lambda sigma: 1 - sigma
