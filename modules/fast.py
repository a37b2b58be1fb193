"""FAST's trained part: anomaly tokens and FARM together, from and to an adapter's file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from .adapter_file import Adapter, Fit
from .adapter_modules import load_for, rebuilt
from .farm import FARM
from .tokens import COUNT, AnomalyTokens, Type


class FastModules(nn.Module):
    """tokens: `AnomalyTokens`; farm: `FARM`, conditioned on each item's type by the same tokens."""

    def __init__(
        self,
        types: Sequence[Type],
        latent_channels: int,
        token_channels: int,
        *,
        count: int = COUNT,
        told_background: bool = True,
        norm: str = "group",
    ):
        """Arguments as for `AnomalyTokens` and `FARM`."""
        super().__init__()
        self.tokens = AnomalyTokens(types, token_channels, count)
        self.farm = FARM(latent_channels, token_channels=token_channels, told_background=told_background, norm=norm)

    def reconstruct(self, x_vp: Tensor, t: Tensor, mask: Tensor, background: Tensor, rows: Tensor) -> Tensor:
        """FARM's estimate of the anomaly's clean latent, [B, C, h, w]; see `FARM.forward`.

        Args:
            rows: the type per item, [B].
        """
        return self.farm(x_vp, t, mask, background, self.tokens(rows))

    def foreground(
        self,
        mask: Tensor,
        background: Tensor,
        rows: Tensor,
        timestep: Callable[[float], float],
        alpha: Callable[[float], float] = lambda sigma: 1.0,
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The `foreground` of `sample_aias` for one batch: foreground(x, sigma [B]) -> clean estimate.

        Args:
            timestep, alpha: of a sigma, as the sampler has them.
        """

        def foreground(x: Tensor, sigma: Tensor) -> Tensor:
            level = float(sigma[0])
            x_vp = x / (alpha(level) ** 2 + level**2) ** 0.5
            t = x.new_full((len(x),), timestep(level))
            return self.reconstruct(x_vp, t, mask, background, rows)

        return foreground


def to_adapter(modules: FastModules, base: Fit, split: str, training: dict) -> Adapter:
    """The adapter to write: everything that `from_adapter` needs, and notes on the training."""
    shapes = {
        "count": modules.tokens.rows.shape[1],
        "told_background": modules.farm.told_background,
        "norm": modules.farm.norm,
    }
    return Adapter("fast", base, modules.tokens.types, split, shapes, training, modules.state_dict())


def from_adapter(adapter: Adapter) -> FastModules:
    """The modules, frozen and in evaluation mode. Raises Refused as `rebuilt`."""
    return rebuilt(adapter, "fast", FastModules)


def load_fast(path: str | Path, base: Fit, split_digest: str | None = None, types: Sequence[Type] = ()) -> FastModules:
    """The modules of an adapter's file, for work on `base`. Arguments and errors as `load_for` and `from_adapter`."""
    return from_adapter(load_for(path, base, split_digest, types))
