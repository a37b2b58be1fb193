"""From a dataset and its split to the file of a base, with the quality of its autoencoder in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..datasets.mvtec import read_mvtec
from ..datasets.split import load_split, part_of
from ..modules.base_file import load_base, save_base
from ..training.base import BaseTraining, remove_state, state_path, train_base
from .base_quality import GATE, base_quality

_log = logging.getLogger(__name__)


def train_base_file(
    data: str | Path,
    split_file: str | Path,
    out: str | Path,
    settings: BaseTraining,
    *,
    types: Sequence[str] | None = None,
    resume: bool = False,
    device: str = "cpu",
    report: Callable | None = None,
) -> dict:
    """Train a base on the training part and write it to `out` (.safetensors).

    Args:
        types: defect types to use; None is all.
        resume: continue a killed run of the same data, split and settings; a finished one is left as it is.

    Returns:
        the training record that is kept in the file.

    Raises:
        ValueError: `out` is no .safetensors, or exists, or holds another run; anything wrong with data or split.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise ValueError(f"Train base: the output is {out}; a base is a .safetensors file.")
    samples, split = read_mvtec(data, types), load_split(split_file)
    train = part_of(split, samples, "train")
    asked = {"training": asdict(settings), "split": split.digest, "types": sorted({s.type for s in train})}
    if not resume and any(path.exists() for path in (out, *(state_path(out, p) for p in ("autoencoder", "unet")))):
        raise ValueError(f"Train base: {out} or its training state exists; pass --resume, or choose another --out.")
    if out.exists():
        return _finished(out, asked)
    out.parent.mkdir(parents=True, exist_ok=True)
    base = train_base(train, settings, out, split.digest, device=device, report=report)
    sides = {"train": base_quality(base, train), "held_back": base_quality(base, part_of(split, samples, "held_back"))}
    record = asked | {
        "train_images": len(train),
        "parameters": sum(parameter.numel() for parameter in base.parameters()),
        "quality": {side: asdict(quality) | {"gate": GATE} for side, quality in sides.items()},
    }
    save_base(out, base, record)
    remove_state(out)
    return record


def _finished(out: Path, asked: dict) -> dict:
    """The record of a base that is there already; what a kill after its last step left behind is removed."""
    _, record = load_base(out)
    differing = [key for key in asked if record.get(key) != asked[key]]
    if differing:
        raise ValueError(
            f"Train base: {out} is finished, with other {', '.join(differing)} than asked for; choose another --out."
        )
    _log.info("%s is finished; nothing to resume", out)
    remove_state(out)
    return record
