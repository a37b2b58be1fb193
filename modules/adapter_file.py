"""The file of an adapter: one .safetensors, what it fits and how it was trained in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..choices import ADAPTERS
from ..errors import Refused, reason
from .tensor_file import AGAIN, check_version, non_finite_reason, not_finite, unreadable, write_tensors

FORMAT, VERSION = "anomaly_synthesis.adapter", 1
_KINDS = {"str": str, "int": int}


@dataclass(frozen=True)
class Fit:
    """What an adapter needs of a base, and what a base has.

    kind: family of the base ("CompactLDM", or ComfyUI's name of the model's configuration); digest: of its file, ""
    where it is not known; latent_channels: C; token_channels: length of a conditioning vector; prediction: "eps", "v"
    or "flow".
    """

    kind: str
    digest: str
    latent_channels: int
    token_channels: int
    prediction: str


@dataclass(frozen=True)
class Adapter:
    """What was trained on a frozen base.

    method: "fast" or "stage"; base: what it was trained on; types: (object, type), in the order of the token rows;
    split: digest of the split that chose its training images; shapes: keywords that rebuild its modules; training:
    settings and figures; tensors: weights by name.
    """

    method: str
    base: Fit
    types: tuple[tuple[str, str], ...]
    split: str
    shapes: dict
    training: dict
    tensors: Mapping[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one module, without its name."""
        return {key[len(name) + 1 :]: value for key, value in self.tensors.items() if key.startswith(f"{name}.")}


def save_adapter(path: str | Path, adapter: Adapter) -> None:
    """Write an adapter, whole or not at all; equal adapters give equal files. Raises OSError that names `path`."""
    entries = {name: json.dumps(getattr(adapter, name)) for name in ("method", "types", "split", "shapes", "training")}
    metadata = {"format": FORMAT, "version": str(VERSION), "base": json.dumps(asdict(adapter.base))} | entries
    write_tensors(Path(path), adapter.tensors, metadata)


def load_adapter(path: str | Path, base: Fit | None = None) -> Adapter:
    """Read an adapter.

    Args:
        base: the base that it must fit; None skips the check.

    Raises:
        Refused: no such file, not a safetensors file (pickles are never opened), not an adapter, another version, not
            whole, NaN or infinity in it, or one for another base; the error names what does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise Refused(path, "no such file", remedy="give an adapter that a training wrote")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise Refused(path, unreadable(error)) from error
    bad = not_finite(tensors)
    if bad:
        raise Refused(path, non_finite_reason(bad), remedy=AGAIN)
    adapter = _adapter(path, metadata, tensors)
    if base is not None:
        _check_fit(path, adapter.base, base)
    return adapter


def _check_format(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise Refused(
            path,
            f"not an adapter of this pack (its format is {metadata.get('format')!r})",
            f"the format {FORMAT!r}",
            "load LoRAs and checkpoints with ComfyUI's own loaders",
        )
    check_version(path, metadata, VERSION)


def _adapter(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Adapter:
    try:
        entries = {name: json.loads(metadata[name]) for name in ("method", "types", "split", "shapes", "training")}
        entries["types"] = tuple((object, type) for object, type in entries["types"])
        if entries["method"] not in ADAPTERS:
            raise Refused("method", repr(entries["method"]), " or ".join(ADAPTERS))
        if not all(isinstance(name, str) for kind in entries["types"] for name in kind):
            raise Refused("types", "they are no names")
        if not isinstance(entries["shapes"], dict) or not isinstance(entries["training"], dict):
            raise Refused("shapes or training", "it is no table")
        base = Fit(**json.loads(metadata["base"]))
        described = {"split": (entries["split"], "str")}
        described |= {f"base.{field.name}": (getattr(base, field.name), field.type) for field in fields(Fit)}
        for name, (value, kind) in described.items():
            if type(value) is not _KINDS[kind]:
                raise Refused(name, f"{value!r:.40}", f"a {kind}")
        return Adapter(base=base, tensors=tensors, **entries)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refused(path, f"not whole ({reason(error)})", remedy=AGAIN) from error


def _check_fit(path: Path, wanted: Fit, base: Fit) -> None:
    """A digest is compared only where both sides know theirs; everything else must be the same."""
    pairs = {field.name: (getattr(wanted, field.name), getattr(base, field.name)) for field in fields(Fit)}
    if "" in pairs["digest"]:
        del pairs["digest"]
    wrong = [f"{name} {mine}, the base has {theirs}" for name, (mine, theirs) in pairs.items() if mine != theirs]
    if wrong:
        raise Refused(
            path,
            f"it was trained for another base ({'; '.join(wrong)})",
            remedy="load that base, or train an adapter on this one",
        )
