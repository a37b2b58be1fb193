"""EMA, Explicit Mask Alignment: the mask that closes from the whole map to the defect as the noise falls (STAGE)."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, isfinite, pi

from torch import Tensor

from ..choices import SHAPES
from ..errors import Refused
from .schedule import TIMESTEPS


@dataclass(frozen=True)
class MaskSchedule:
    """Mp(t) = M0 + zeta(t) (1 - M0) (STAGE, Eq. 8), a function of the noise level and of nothing else, so that it means
    the same at 10 steps and at 1000.

    t_s: level at which the mask has closed, 0 .. timesteps - 1; timesteps: T, levels of the model; shape: how zeta
    falls from 1 at T to 0 at t_s, one of SHAPES (the paper: linear).
    Raises Refused for values out of range.
    """

    t_s: float = 200
    timesteps: int = TIMESTEPS
    shape: str = "linear"

    def __post_init__(self) -> None:
        if self.timesteps < 2:
            raise Refused("timesteps", self.timesteps, "2 or more")
        if not 0 <= self.t_s <= self.timesteps - 1:
            raise Refused(
                "t_s", self.t_s, f"0 to {self.timesteps - 1}, the level from which on the mask is the defect's own"
            )
        if self.shape not in SHAPES:
            raise Refused("shape", repr(self.shape), " or ".join(SHAPES))

    def zeta(self, t: float) -> float:
        """Weight of the surroundings at level t in 0 .. timesteps: 1 at T, 0 from t_s down. Raises Refused."""
        if not (isfinite(t) and 0 <= t <= self.timesteps):
            raise Refused(
                "t", t, f"0 to {self.timesteps}", "give a schedule for another number of levels its timesteps"
            )
        open_share = min(max((t - self.t_s) / (self.timesteps - self.t_s), 0.0), 1.0)
        return open_share if self.shape == "linear" else 0.5 - 0.5 * cos(pi * open_share)

    def __call__(self, mask: Tensor, t: float) -> Tensor:
        """Mp(t), shaped like `mask` [..., h, w] in 0 .. 1."""
        return mask + self.zeta(float(t)) * (1 - mask)


def ema_mask(
    mask: Tensor, t: float | Tensor, t_s: float = 200, timesteps: int = TIMESTEPS, shape: str = "linear"
) -> Tensor:
    """Mp(t) = M0 + zeta(t) (1 - M0), zeta(t) = clamp((t - t_s) / (T - t_s), 0, 1) (STAGE, Eq. 8).

    Args:
        mask: M0, [B, 1, h, w] (or any shape) in 0 .. 1; 1 is anomaly.
        t: noise level, 0 .. timesteps: a number, or one per item, [B].
        t_s, timesteps, shape: see `MaskSchedule`.

    Returns:
        shaped like `mask`, in 0 .. 1: the mask itself for t up to t_s, ones at T.

    Raises:
        Refused: t, t_s or timesteps out of range, an unknown shape, or another number of t than of items.
    """
    schedule = MaskSchedule(t_s, timesteps, shape)
    if not isinstance(t, Tensor) or t.dim() == 0:
        return schedule(mask, float(t))
    if t.shape != mask.shape[:1]:
        raise Refused("t", f"{tuple(t.shape)} for a mask of {tuple(mask.shape)}", "one number, or one per item")
    zeta = mask.new_tensor([schedule.zeta(level) for level in t.tolist()])
    return mask + zeta.view(-1, *[1] * (mask.dim() - 1)) * (1 - mask)
