"""STAGE's trained part: anomaly tokens and both branches' MGA heads together, from and to an adapter's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from .adapter_file import Adapter, Fit
from .adapter_modules import load_for, rebuilt
from .mga import MGA, WIDTHS
from .tokens import COUNT, AnomalyTokens, Type


class StageModules(nn.Module):
    """tokens: `AnomalyTokens`; aware, only: the heads of the anomaly-aware and the anomaly-only branch, see `MGA`."""

    def __init__(
        self,
        types: Sequence[Type],
        latent_channels: int,
        token_channels: int,
        *,
        count: int = COUNT,
        released: bool = False,
        widths: Sequence[int] = WIDTHS,
    ):
        """Arguments as for `AnomalyTokens` and `MGA`."""
        super().__init__()
        self.tokens = AnomalyTokens(types, token_channels, count)
        self.aware, self.only = (
            MGA(latent_channels, branch=branch, released=released, widths=widths) for branch in ("aware", "only")
        )

    @property
    def branches(self) -> tuple[MGA, MGA]:
        """The `branches` of `sample_graded`."""
        return self.aware, self.only


def to_adapter(modules: StageModules, base: Fit, split: str, training: dict) -> Adapter:
    """The adapter to write: everything that `from_adapter` needs, and notes on the training."""
    shapes = {
        "count": modules.tokens.rows.shape[1],
        "released": modules.aware.released,
        "widths": list(modules.aware.widths),
    }
    return Adapter("stage", base, modules.tokens.types, split, shapes, training, modules.state_dict())


def from_adapter(adapter: Adapter) -> StageModules:
    """The modules, frozen and in evaluation mode. Raises Refused as `rebuilt`."""
    return rebuilt(adapter, "stage", StageModules)


def load_stage(
    path: str | Path, base: Fit, split_digest: str | None = None, types: Sequence[Type] = ()
) -> StageModules:
    """The modules of an adapter's file, for work on `base`. Arguments and errors as `load_for` and `from_adapter`."""
    return from_adapter(load_for(path, base, split_digest, types))
