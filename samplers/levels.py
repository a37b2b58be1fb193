"""The noise levels of a run: their signal and noise, and what a run along them may be given."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

from .transition import check_stochasticity

Level = tuple[float, float]  # (alpha, sigma)


def levels_of(sigmas: Tensor, alpha: Callable[[float], float] | None) -> list[Level]:
    """(alpha, sigma) of every level as Python floats, so that the loop never waits for the device."""
    return [(float(alpha(sigma)) if alpha else 1.0, sigma) for sigma in sigmas.tolist()]


def ratio(alpha: float, sigma: float) -> float:
    """w = alpha / sigma, the clock of the multistep rules; infinite without noise."""
    return alpha / sigma if sigma > 0 else inf


def check_run(
    x: Tensor,
    levels: list[Level],
    mask: Tensor | None,
    background: Tensor | None,
    order: int,
    eta: float,
    variance: float,
) -> None:
    """Raise ValueError for levels that do not descend, to 0 or to where another run goes on, tensors that do not fit or
    are not finite, and options out of range."""
    steps = [sigma for _, sigma in levels]
    if len(steps) < 2 or not steps[-1] >= 0 or not all(e < s for s, e in zip(steps, steps[1:], strict=False)):
        raise ValueError(
            "AIAS: sigmas must descend strictly, to 0 or to where another run goes on; take what AIAS Sigmas gives, "
            "whole or from Split Sigmas."
        )
    if order not in (1, 2):
        raise ValueError(f"AIAS: order is {order}; choose 1 or 2.")
    check_stochasticity(eta, variance)
    if not torch.isfinite(x).all():
        raise ValueError("AIAS: the starting latent holds NaN or infinity; check the VAE and the image that made it.")
    if mask is None and background is not None:
        raise ValueError("AIAS: a background came without a mask; connect the mask that the anomaly fills.")
    if mask is None:
        return
    if background is None:
        raise ValueError("AIAS: a mask came without a background; give the normal image's clean latent.")
    if not torch.isfinite(background).all():
        raise ValueError("AIAS: the background latent holds NaN or infinity; check the VAE and the normal image.")
    for name, tensor, channels in (("mask", mask, 1), ("background", background, x.shape[1])):
        if tensor.shape[0] not in (1, x.shape[0]) or tuple(tensor.shape[1:]) != (channels, *x.shape[2:]):
            raise ValueError(
                f"AIAS: the {name} is {tuple(tensor.shape)}; for a latent of {tuple(x.shape)} it must be "
                f"[{x.shape[0]} or 1, {channels}, {x.shape[2]}, {x.shape[3]}]. Pool pixel masks with Defect Latent."
            )
    if not ((mask >= 0) & (mask <= 1)).all():
        raise ValueError("AIAS: the mask holds NaN or values outside 0 .. 1; scale it so that 1 is anomaly.")
