"""The file of a compact base: one .safetensors, its configuration and training record in the metadata."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..errors import Refused, reason
from .adapter_file import Fit
from .compact_ldm import CompactLDM, CompactLDMConfig
from .tensor_file import AGAIN, check_shapes, check_version, non_finite_reason, not_finite, unreadable, write_tensors

FORMAT, VERSION = "anomaly_synthesis.base", 1
WEIGHTS = Path(__file__).parent.parent / "weights"
SURFACES = WEIGHTS / "surfaces.safetensors"  # trained on four drawn materials
BUNDLED = "bundled"  # its name where a base's file is given
_LARGEST = 16384  # pixels, as ComfyUI's own nodes allow


def save_base(path: str | Path, base: CompactLDM, record: dict) -> None:
    """Write `base` to `path` (.safetensors), whole or not at all.

    Args:
        record: JSON-able notes on the training: data, steps, seed, measures. Kept in the metadata.
    """
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": json.dumps(asdict(base.config)),
        "record": json.dumps(record),
    }
    write_tensors(Path(path), base.state_dict(), metadata)


def load_base(path: str | Path) -> tuple[CompactLDM, dict]:
    """The model, in evaluation mode on the CPU, and its training record.

    Raises:
        Refused: no such file, not a safetensors file (pickles are never opened), not a compact base, not whole, or
            NaN or infinity in it.
    """
    path = Path(path)
    if not path.is_file():
        raise Refused(path, "no such file", remedy="give a base that a training wrote")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise Refused(
                    path,
                    f"not a compact base (its format is {metadata.get('format')!r})",
                    f"the format {FORMAT!r}",
                    "load other checkpoints with ComfyUI's own loaders",
                )
            check_version(path, metadata, VERSION)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise Refused(path, unreadable(error)) from error
    bad = not_finite(tensors)
    if bad:
        raise Refused(path, non_finite_reason(bad), remedy=AGAIN)
    try:
        config, record = _config(json.loads(metadata["config"])), json.loads(metadata["record"])
        check_shapes(lambda: CompactLDM(config), tensors, {"unet_widths": config.unet_widths})
        base = CompactLDM(config)
        base.load_state_dict(tensors)
        if not isinstance(record, dict):
            raise Refused("record", "it is no table")
    except Exception as error:  # whatever a configuration holds that no training wrote
        raise Refused(path, f"not whole ({reason(error)})", remedy=AGAIN) from error
    return base.eval().requires_grad_(False), record


def base_path(name: str | Path) -> Path:
    """The file of a base by its name: BUNDLED is the one that comes with the package."""
    return SURFACES if str(name) == BUNDLED else Path(name)


def is_drawn(path: str | Path, record: dict) -> bool:
    """Whether a base was trained on drawn surfaces alone and so holds nothing of any data."""
    return "drawn" in record or Path(path).resolve() == SURFACES.resolve()


def load_base_of(path: str | Path, split_digest: str, unless: str = "") -> CompactLDM:
    """As `load_base`, for work whose figures count: the base must have been trained under the split, or on drawn
    surfaces alone, which hold nothing of any data.

    Args:
        unless: name of the caller's setting that accepts other bases, for the error.

    Raises:
        Refused: as `load_base`, and for a base of another split.
    """
    base, record = load_base(path)
    check_base_of(path, record, split_digest, unless)
    return base


def check_base_of(path: str | Path, record: dict, split_digest: str, unless: str = "") -> None:
    """Raise Refused for the record of a base of another split, see `load_base_of`."""
    if record.get("split") != split_digest and not is_drawn(path, record):
        raise Refused(
            path,
            "it was not trained under this split, so it may know what the split holds back",
            remedy="train a base with this split",
            unless=unless,
        )


def base_fit(base: CompactLDM, digest: str) -> Fit:
    """What an adapter of this base must fit; digest: of its file, see `file_digest`."""
    return Fit("CompactLDM", digest, base.config.latent_channels, base.config.token_channels, "v")


def file_digest(path: str | Path) -> str:
    """First 16 hex digits of a file's SHA-256: names the base in manifests and adapters."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def _config(raw: dict) -> CompactLDMConfig:
    """Raises whatever a configuration causes that no training wrote; sizes of weights are compared with the file's."""
    raw["labels"] = tuple((object, type) for object, type in raw["labels"])
    for name in ("autoencoder_widths", "unet_widths"):
        raw[name] = tuple(raw[name])
    config = CompactLDMConfig(**raw)
    if not all(isinstance(name, str) for label in config.labels for name in label):
        raise Refused("labels", "they are no names")
    if type(config.resolution) is not int or not 1 <= config.resolution <= _LARGEST:
        raise Refused("resolution", f"{config.resolution!r:.40}", f"1 to {_LARGEST}")
    return config
