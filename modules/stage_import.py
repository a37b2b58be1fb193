"""STAGE's released weights as one of our adapters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import Refused, reason
from .adapter_file import Adapter, Fit
from .base_file import file_digest
from .mga import MGA, WIDTHS
from .restricted_pickle import Container, read_saved
from .stage import StageModules, to_adapter
from .tensor_file import not_finite
from .tokens import Type

RELEASED_CLASS = "MGA"
RELEASED_BASE = "LDM text2img-large"  # Rombach et al. 2022: latents of 4 channels, BERT tokens of 1280


def import_stage(embeddings: str | Path, fine_image: str | Path, fine_mask: str | Path) -> Adapter:
    """One adapter of the three files that STAGE's training code writes; their pickles are read by `read_saved` alone.

    Args:
        embeddings: `embeddings*.pt`, a table string_to_param with entries "class+type", each [k, d].
        fine_image: `fine_image*.pt`, the anomaly-aware branch's head as a whole module.
        fine_mask: `fine_mask*.pt`, the anomaly-only branch's.

    Returns:
        the adapter, in the released form of `MGA`; it fits the base that it was trained on, and names no split.

    Raises:
        Refused: a file that `read_saved` refuses, or one without what it should hold; the error says what.
    """
    tokens = _tokens(Path(embeddings))
    aware, only = (_head(Path(path), branch) for path, branch in ((fine_image, "aware"), (fine_mask, "only")))
    if aware.latent_channels != only.latent_channels:
        raise Refused(
            "heads",
            f"they are of {aware.latent_channels} and {only.latent_channels} latent channels",
            remedy="give both of one training",
        )
    count, channels = next(iter(tokens.values())).shape
    modules = StageModules(list(tokens), aware.latent_channels, channels, count=count, released=True)
    modules.aware, modules.only = aware, only
    with torch.no_grad():
        modules.tokens.rows.copy_(torch.stack(list(tokens.values())))
    base = Fit(RELEASED_BASE, "", aware.latent_channels, channels, "eps")
    sources = {"embeddings": embeddings, "fine_image": fine_image, "fine_mask": fine_mask}
    notes = {"imported": {name: [Path(path).name, file_digest(path)] for name, path in sources.items()}}
    return to_adapter(modules, base, "", notes)


def _tokens(path: Path) -> dict[Type, Tensor]:
    """[k, d] by (object, type); entries of one word, such as the placeholder "*", name no type."""
    saved = read_saved(path, RELEASED_CLASS)
    table = saved.get("string_to_param") if isinstance(saved, dict) else None
    if isinstance(table, Container):
        table = table.tensors()
    if not isinstance(table, dict):
        raise Refused(path, "it has no table string_to_param", remedy="give embeddings*.pt")
    named = {tuple(str(name).split("+", 1)): value for name, value in table.items() if "+" in str(name)}
    shapes = {tuple(value.shape) for value in named.values() if isinstance(value, Tensor)}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or not all(isinstance(v, Tensor) for v in named.values()):
        raise Refused(
            path,
            f"it has {len(named)} entries class+type of shapes {sorted(shapes)}",
            "at least one, all [tokens, channels]",
        )
    _check_values(path, {"+".join(type): value for type, value in named.items()})
    return {type: value.detach().float() for type, value in named.items()}


def _head(path: Path, branch: str) -> MGA:
    saved = read_saved(path, RELEASED_CLASS)
    try:
        tensors = saved.tensors() if isinstance(saved, Container) else {}
    except ValueError as error:
        raise Refused(path, f"it holds no module ({reason(error)})") from error
    outlet, inlet = tensors.get("conv.15.weight"), tensors.get("conv.0.weight")
    if outlet is None or inlet is None:
        missing = "conv.15, the last" if outlet is None else "conv.0, the first"
        raise Refused(
            path, f"it has no layer {missing} of STAGE's head", remedy="give fine_image*.pt and fine_mask*.pt"
        )
    # Before a head of that size is made: it is as large as its first layer says.
    if outlet.ndim != 4 or tuple(inlet.shape) != (WIDTHS[0], 2 * outlet.shape[0], 3, 3):
        sizes = f"conv.0 is {list(inlet.shape)}, conv.15 {list(outlet.shape)}: size mismatch"
        raise Refused(path, f"no head of STAGE ({sizes})")
    _check_values(path, tensors)
    head = MGA(outlet.shape[0], branch=branch, released=True)
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        raise Refused(path, f"no head of STAGE ({reason(error)})") from error
    return head


def _check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise Refused for tensors that share their values, so that they take more room than their file, and for NaN
    and infinity."""
    if sum(value.numel() for value in tensors.values()) > path.stat().st_size:
        raise Refused(path, "its tensors are larger than the file")
    bad = not_finite(tensors)
    if bad:
        raise Refused(path, f"it holds NaN or infinity in {bad}", remedy="give another training's file")
