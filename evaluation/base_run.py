"""From a dataset and its split to the file of a base, with the quality of its autoencoder in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..datasets.reading import read_dataset
from ..datasets.split import load_split, part_of
from ..modules.base_file import load_base, save_base
from ..training.base import PHASES, BaseTraining, state_path, train_base
from ..training.run_file import RunFile
from .base_quality import GATE, base_quality

_log = logging.getLogger(__name__)


def train_base_file(
    data: str | Path,
    split_file: str | Path,
    out: str | Path,
    settings: BaseTraining,
    *,
    types: Sequence[str] | None = None,
    layout: str | None = None,
    resume: bool = False,
    device: str = "cpu",
    report: Callable | None = None,
) -> dict:
    """Train a base on the training part and write it to `out` (.safetensors).

    Args:
        types, layout: as `read_dataset` takes them.
        resume: continue a killed run of the same data, split and settings; a finished one is left as it is.

    Returns:
        the training record that is kept in the file.

    Raises:
        ValueError: another process writes `out`; it is no .safetensors, or exists, or holds another run; anything wrong
            with data or split.
    """
    file = RunFile("Train base", Path(out), [state_path(out, phase) for phase in PHASES])
    samples, split = read_dataset(data, types, layout), load_split(split_file)
    train = part_of(split, samples, "train")
    asked = {"training": asdict(settings), "split": split.digest, "types": sorted({s.type for s in train})}
    with file.locked():
        done = file.finished(asked, resume, lambda path: load_base(path)[1])
        if done is not None:
            _log.info("%s is finished; nothing to resume", out)
            return done
        base = train_base(train, settings, file.path, split.digest, device=device, report=report)
        held_back = part_of(split, samples, "held_back")
        sides = {"train": base_quality(base, train), "held_back": base_quality(base, held_back)}
        record = asked | {
            "train_images": len(train),
            "parameters": sum(parameter.numel() for parameter in base.parameters()),
            "quality": {side: asdict(quality) | {"gate": GATE} for side, quality in sides.items()},
        }
        save_base(file.path, base, record)
        file.remove_states()
    return record
