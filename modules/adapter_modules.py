"""From an adapter's file to modules that work on a base: the checks that every method shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ..errors import Refused, reason
from .adapter_file import Adapter, Fit, load_adapter
from .tensor_file import AGAIN, check_shapes
from .tokens import AnomalyTokens, Type

Modules = TypeVar("Modules", bound=nn.Module)


def rebuilt(adapter: Adapter, method: str, kind: Callable[..., Modules]) -> Modules:
    """The modules of an adapter, frozen and in evaluation mode.

    Args:
        method: "fast" or "stage"; kind: class of the modules, made of types, channels and the adapter's shapes.

    Raises:
        Refused: an adapter of another method, or one whose weights do not fit its own description.
    """
    if adapter.method != method:
        found, wanted = adapter.method.upper(), method.upper()
        raise Refused("adapter", f"it is {found}'s", f"one of {wanted}", "load it where it belongs")
    try:
        base = adapter.base
        make = partial(kind, adapter.types, base.latent_channels, base.token_channels, **adapter.shapes)
        check_shapes(make, adapter.tensors, adapter.shapes)
        modules = make()
        modules.load_state_dict(dict(adapter.tensors))
    except Exception as error:  # whatever shapes a file may hold that no training wrote
        raise Refused("adapter", f"it is not whole ({reason(error)})", remedy=AGAIN) from error
    return modules.eval().requires_grad_(False)


def load_for(path: str | Path, base: Fit, split_digest: str | None = None, types: Sequence[Type] = ()) -> Adapter:
    """The adapter of a file, for work on `base`.

    Args:
        split_digest: of the split whose figures count; None accepts any.
        types: what will be made, each of which the adapter must know.

    Raises:
        Refused: as `load_adapter`, an adapter trained under another split, a type it lacks.
    """
    adapter = load_adapter(path, base)
    if split_digest is not None and adapter.split != split_digest:
        raise Refused(
            path,
            "it was not trained under this split, so it may know what the split holds back",
            remedy="train an adapter with this split",
        )
    missing = [type for type in types if type not in adapter.types]
    if missing:
        known, wanted = (", ".join("/".join(type) for type in some) for some in (adapter.types, missing))
        raise Refused(wanted, f"not in the adapter {path}, which has {known}")
    return adapter


def tokens_of(adapter: Adapter, types: Sequence[Type]) -> AnomalyTokens:
    """The adapter's anomaly tokens of these types, in this order, frozen. Raises Refused for a type it lacks."""
    rows = adapter.tensors["tokens.rows"]
    known = AnomalyTokens(adapter.types, rows.shape[2], rows.shape[1])
    tokens = AnomalyTokens(types, rows.shape[2], rows.shape[1])
    with torch.no_grad():
        tokens.rows.copy_(rows[[known.row(*type) for type in types]])
    return tokens.requires_grad_(False)
