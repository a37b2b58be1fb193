"""From a dataset and its split to the file of a base, with the quality of its autoencoder in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from ..datasets.reading import read_dataset
from ..datasets.sample import Sample, read_sample
from ..datasets.split import load_split, part_of
from ..modules.base_file import file_digest, load_base, save_base
from ..modules.compact_ldm import CompactLDM
from ..synthesis.normal_fill import normal_fill
from ..training.base import PHASES, state_path, train_base, train_general_base, tune_base
from ..training.run_file import RunFile
from ..training.settings import BaseTraining, DrawnPool
from .base_quality import GATE, BaseQuality, base_quality, drawn_quality

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
    file = _run_file(out)
    samples, split = read_dataset(data, types, layout), load_split(split_file)
    train = part_of(split, samples, "train")
    asked = {"training": asdict(settings), "split": split.digest, "types": sorted({s.type for s in train})}
    held_back = part_of(split, samples, "held_back")
    return _trained(
        file,
        asked,
        {"train_images": len(train)},
        lambda path: train_base(train, settings, path, split.digest, device=device, report=report),
        lambda base: {"train": base_quality(base, train), "held_back": base_quality(base, held_back)},
        resume,
    )


def tune_base_file(
    init: str | Path,
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
    """Train the base `init` on with the training part, see `tune_base`, and write it to `out`.

    Returns and raises as `train_base_file`; also what `load_base` raises.
    """
    file = _run_file(out)
    base, _ = load_base(init)
    samples, split = read_dataset(data, types, layout), load_split(split_file)
    train, held_back = (part_of(split, samples, part) for part in ("train", "held_back"))
    asked = {"training": asdict(settings), "init": file_digest(init), "split": split.digest}
    asked["types"] = sorted({sample.type for sample in train})

    def filled(sample: Sample) -> Tensor:
        picture, mask = read_sample(sample)
        return normal_fill(base, picture, mask).eight_bit()

    return _trained(
        file,
        asked,
        {"train_images": len(train)},
        lambda path: tune_base(base, train, settings, path, filled, split.digest, device=device, report=report),
        lambda tuned: {"train": base_quality(tuned, train), "held_back": base_quality(tuned, held_back)},
        resume,
    )


def train_general_base_file(
    out: str | Path,
    settings: BaseTraining,
    pool: int = DrawnPool.pool,
    *,
    resume: bool = False,
    device: str = "cpu",
    report: Callable | None = None,
) -> dict:
    """Train a base for any surface on drawn crops and write it to `out`; see `train_general_base`.

    Returns and raises as `train_base_file`.
    """
    return _trained(
        _run_file(out),
        {"training": asdict(settings), "drawn": pool},
        {},
        lambda path: train_general_base(settings, path, pool, device=device, report=report),
        lambda base: {"drawn": drawn_quality(base, settings.seed, pool)},
        resume,
    )


def _run_file(out: str | Path) -> RunFile:
    return RunFile(Path(out), [state_path(out, phase) for phase in PHASES])


def _trained(
    file: RunFile,
    asked: dict,
    notes: dict,
    train: Callable[[Path], CompactLDM],
    measure: Callable[[CompactLDM], dict[str, BaseQuality]],
    resume: bool,
) -> dict:
    """The record of the file: trained, measured and written, unless it is there already."""
    with file.locked():
        done = file.finished(asked, resume, lambda path: load_base(path)[1])
        if done is not None:
            _log.info("%s is finished; nothing to resume", file.path)
            return done
        base = train(file.path)
        record = (
            asked
            | notes
            | {
                "parameters": sum(parameter.numel() for parameter in base.parameters()),
                "quality": {side: asdict(quality) | {"gate": GATE} for side, quality in measure(base).items()},
            }
        )
        save_base(file.path, base, record)
        file.remove_states()
    return record
