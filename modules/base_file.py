"""The file of a compact base: one .safetensors, its configuration and training record in the metadata."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .adapter_file import Fit
from .compact_ldm import CompactLDM, CompactLDMConfig
from .tensor_file import check_shapes, not_finite, write_tensors

FORMAT, VERSION = "anomaly_synthesis.base", 1
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
        ValueError: no such file, not a safetensors file (pickles are never opened), not a compact base, not whole, or
            NaN or infinity in it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"Load Anomaly LDM: no file {path}; give one written by `anomaly-synthesis train-base`.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"Load Anomaly LDM: {path.name} is not a compact base (its format is {metadata.get('format')!r}, "
                    f"wanted {FORMAT!r}); other checkpoints go through ComfyUI's own loaders."
                )
            version = metadata.get("version")
            if version != str(VERSION):
                raise ValueError(f"Load Anomaly LDM: {path.name} is version {version}; update the pack.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"Load Anomaly LDM: {path.name} is no readable safetensors file ({error}); pickles are never opened."
        ) from error
    bad = not_finite(tensors)
    if bad:
        raise ValueError(
            f"Load Anomaly LDM: {path.name} holds NaN or infinity in {bad}; its training failed, or "
            "the file is damaged. Train or fetch it again."
        )
    try:
        config, record = _config(json.loads(metadata["config"])), json.loads(metadata["record"])
        check_shapes(lambda: CompactLDM(config), tensors, {"unet_widths": config.unet_widths})
        base = CompactLDM(config)
        base.load_state_dict(tensors)
        if not isinstance(record, dict):
            raise ValueError("its record is no table")
    except Exception as error:  # whatever a configuration holds that no training wrote
        reason = str(error).partition("\n")[0]  # torch adds where in its own code
        raise ValueError(f"Load Anomaly LDM: {path.name} is not whole ({reason}); train or fetch it again.") from error
    return base.eval().requires_grad_(False), record


def load_base_of(path: str | Path, split_digest: str, otherwise: str = "") -> CompactLDM:
    """As `load_base`, for work whose figures count: the base must have been trained under the split.

    Args:
        otherwise: what else the user may do, for the error's end.

    Raises:
        ValueError: as `load_base`, and for a base of another split.
    """
    base, record = load_base(path)
    if record.get("split") != split_digest:
        raise ValueError(
            f"Load Anomaly LDM: {path} was not trained under this split; what the split holds back may be known to "
            f"it. Train a base with this split{otherwise}."
        )
    return base


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
        raise ValueError("its labels are no names")
    if type(config.resolution) is not int or not 1 <= config.resolution <= _LARGEST:
        raise ValueError(f"its resolution is {config.resolution!r:.40}; accepted is 1 to {_LARGEST}")
    return config
