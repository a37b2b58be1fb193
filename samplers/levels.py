"""The noise levels of a run, and the region of it that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..errors import Refused
from .schedule import nearest_timestep


@dataclass(frozen=True)
class Level:
    """A noise level: a state there is alpha * clean + sigma * noise. t: its time, 0 .. 999; None without noise."""

    alpha: float
    sigma: float
    t: float | None

    @property
    def w(self) -> float:
        """alpha / sigma, in which the multistep rules work; infinite without noise."""
        return self.alpha / self.sigma if self.sigma > 0 else inf

    def noised(self, clean: Tensor, noise: Tensor | None) -> Tensor:
        """A draw of q(x | clean) at this level from standard normal `noise`; None without noise."""
        signal = clean if self.alpha == 1 else self.alpha * clean
        return signal + (0 if noise is None else self.sigma * noise)

    def sigma_like(self, x: Tensor) -> Tensor:
        """sigma as models take it, one per item of `x`: [B]."""
        return x.new_full(x.shape[:1], self.sigma)


def levels_of(
    sigmas: Tensor, alpha: Callable[[float], float] | None, timestep: Callable[[float], float] | None
) -> list[Level]:
    """The levels as Python floats, so that the loop never waits for the device; options as `sample_aias`.

    Raises:
        Refused: sigmas that do not descend to 0, or to where another run continues.
    """
    steps, time_of = sigmas.tolist(), timestep or nearest_timestep
    if len(steps) < 2 or not steps[-1] >= 0 or not all(e < s for s, e in zip(steps, steps[1:], strict=False)):
        raise Refused(
            "sigmas",
            "they do not descend strictly",
            "levels that descend to 0, or to where another run continues",
            "make them with a grid, and split them if needed",
        )
    return [
        Level(float(alpha(sigma)) if alpha else 1.0, sigma, time_of(sigma) if sigma > 0 else None) for sigma in steps
    ]


def known_region(
    x: Tensor, mask: Tensor | None, background: Tensor | None
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Mask [B, 1, h, w] and background [B, C, h, w] for the state `x`, in its dtype and on its device.

    Raises:
        Refused: one without the other, shapes that do not fit `x`, values out of range or not finite.
    """
    if not torch.isfinite(x).all():
        raise Refused("starting latent", "it holds NaN or infinity", remedy="check the VAE and the image that made it")
    if mask is None and background is not None:
        raise Refused("background", "it came without a mask", remedy="give the mask that the anomaly fills")
    if mask is None:
        return None, None
    if background is None:
        raise Refused("mask", "it came without a background", remedy="give the normal image's clean latent")
    if not torch.isfinite(background).all():
        raise Refused("background latent", "it holds NaN or infinity", remedy="check the VAE and the normal image")
    for name, tensor, channels in (("mask", mask, 1), ("background", background, x.shape[1])):
        if tensor.shape[0] not in (1, x.shape[0]) or tuple(tensor.shape[1:]) != (channels, *x.shape[2:]):
            raise Refused(
                name,
                f"{tuple(tensor.shape)} for a latent of {tuple(x.shape)}",
                f"[{x.shape[0]} or 1, {channels}, {x.shape[2]}, {x.shape[3]}]",
                "pool pixel masks to the latent's size",
            )
    if not ((mask >= 0) & (mask <= 1)).all():
        raise Refused("mask", "it holds NaN or values outside 0 .. 1", remedy="scale it so that 1 is anomaly")
    return mask.to(x).expand(x.shape[0], 1, *x.shape[2:]), background.to(x).expand_as(x)
