"""The adapters that a base is used with: FAST's, STAGE's, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import Refused
from ..modules import fast, stage
from ..modules.adapter_file import Adapter, Fit
from ..modules.adapter_modules import load_for
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..modules.tokens import Type

_METHODS = {"fast": fast.from_adapter, "stage": stage.from_adapter}


def modules_of(adapter: Adapter) -> FastModules | StageModules:
    """An adapter's modules, frozen and in evaluation mode. Raises Refused where it is not whole."""
    return _METHODS[adapter.method](adapter)


class Adapters(nn.Module):
    """fast: for FARM; stage: for the MGA heads; either may be None. Where there are two, the denoiser hears STAGE's
    tokens, which its heads were trained beside (`train --tokens-of` makes both the same)."""

    def __init__(self, fast: FastModules | None = None, stage: StageModules | None = None):
        super().__init__()
        self.fast, self.stage = fast, stage

    def tokens(self, types: Sequence[Type]) -> Tensor | None:
        """Of a type per item, [B, k, d]; None without an adapter."""
        for modules in (self.stage, self.fast):
            if modules is not None:
                return modules.tokens(_rows(modules, types))
        return None

    def foreground(
        self, mask: Tensor, background: Tensor, types: Sequence[Type], timestep: Callable[[float], float]
    ) -> Callable[[Tensor, Tensor], Tensor] | None:
        """FARM for one batch; see `FastModules.foreground`."""
        if self.fast is None:
            return None
        return self.fast.foreground(mask, background, _rows(self.fast, types), timestep)

    def branches(self) -> tuple:
        """The `branches` of `sample_graded`. Raises Refused without an adapter of STAGE."""
        if self.stage is None:
            raise Refused(
                "graded",
                "these settings use MGA heads, and the adapter has none",
                remedy="give an adapter of STAGE, or choose the settings baseline",
            )
        return self.stage.branches


def adapters_of(given: Adapters | FastModules | StageModules | None) -> Adapters:
    """One adapter's modules, or none, as `Adapters`."""
    if isinstance(given, Adapters):
        return given
    return Adapters(stage=given) if isinstance(given, StageModules) else Adapters(given)


def load_adapters(
    paths: Sequence[str | Path], base: Fit, split_digest: str | None = None, types: Sequence[Type] = ()
) -> Adapters:
    """The adapters of some files, for work on `base`.

    Raises:
        Refused: as `load_for`; two adapters of one method.
    """
    found: dict[str, nn.Module] = {}
    for path in paths:
        adapter = load_for(path, base, split_digest, types)
        if adapter.method in found:
            raise Refused(path, f"a second adapter of {adapter.method.upper()}", "one of each method")
        found[adapter.method] = modules_of(adapter)
    return Adapters(**found)


def _rows(modules: FastModules | StageModules, types: Sequence[Type]) -> Tensor:
    return torch.tensor([modules.tokens.row(*type) for type in types], device=modules.tokens.rows.device)
