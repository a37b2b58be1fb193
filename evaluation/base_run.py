"""From a dataset and its split to the file of a base, with the quality of its autoencoder in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from ..datasets.reading import read_dataset
from ..datasets.sample import Sample, read_sample
from ..datasets.split import load_split, part_of
from ..modules.base_file import file_digest, load_base, save_base
from ..modules.compact_ldm import CompactLDM
from ..synthesis.normal_fill import normal_fill
from ..training.base import PHASES, UNWATCHED, Watch, state_path, train_base, train_general_base, tune_base
from ..training.run_file import RunFile
from ..training.settings import BaseTraining, DrawnPool
from .base_quality import GATE, BaseQuality, base_quality, drawn_quality

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class BaseRun:
    """One training of a base, as the command and the node run it.

    asked: all that it depends on; notes: what else its record says; train(state): the base, trained; `state` as in
    `train_base`; measure(base): its quality on every side.
    """

    asked: dict
    notes: dict
    train: Callable[[Path], CompactLDM]
    measure: Callable[[CompactLDM], dict[str, BaseQuality]]

    def finished(self, file: RunFile, resume: bool) -> dict | None:
        """The record of the file where this run wrote it; None where there is work to do. Raises Refused as
        `RunFile.finished`."""
        return file.finished(self.asked, resume, lambda path: load_base(path)[1])

    def written(self, file: RunFile, state: Path, resume: bool) -> dict:
        """Train, measure and write the file, unless it is there already; its record. state: see `run_file`.

        Raises Refused where the file holds another run, or exists and `resume` is not set; OSError.
        """
        with file.locked():
            done = self.finished(file, resume)
            if done is not None:
                _log.info("%s is finished; nothing to resume", file.path)
                return done
            base = self.train(state)
            quality = {side: asdict(quality) | {"gate": GATE} for side, quality in self.measure(base).items()}
            parameters = sum(parameter.numel() for parameter in base.parameters())
            record = self.asked | self.notes | {"parameters": parameters, "quality": quality}
            save_base(file.path, base, record)
            file.remove_states()
        return record


def dataset_run(
    train: Sequence[Sample],
    held_back: Sequence[Sample],
    split: str,
    settings: BaseTraining,
    init: str | Path | None = None,
    *,
    device: str = "cpu",
    watch: Watch = UNWATCHED,
) -> BaseRun:
    """The run on the training part of a dataset: of a new base, or of the base of the file `init`, trained on.

    Args:
        train, held_back: the parts of the split; split: its digest.
        device, watch: see `train_base`.

    Raises:
        Refused: as `load_base`.
    """
    asked = {"training": asdict(settings), "split": split, "types": sorted({sample.type for sample in train})}
    options = {"device": device, "watch": watch}
    if init is None:
        trained = partial(train_base, train, settings, split=split, **options)
    else:
        base, _ = load_base(init)
        asked["init"] = file_digest(init)

        def filled(sample: Sample) -> Tensor:
            picture, mask = read_sample(sample)
            return normal_fill(base, picture, mask).eight_bit()

        trained = partial(tune_base, base, train, settings, filled=filled, split=split, **options)
    return BaseRun(
        asked,
        {"train_images": len(train)},
        lambda state: trained(state=state),
        lambda base: {"train": base_quality(base, train), "held_back": base_quality(base, held_back)},
    )


def train_base_file(
    data: str | Path,
    split_file: str | Path,
    out: str | Path,
    settings: BaseTraining,
    init: str | Path | None = None,
    *,
    types: Sequence[str] | None = None,
    layout: str | None = None,
    resume: bool = False,
    device: str = "cpu",
    report: Callable | None = None,
) -> dict:
    """Train a base on the training part and write it to `out` (.safetensors).

    Args:
        init: the file of a base that is trained on, see `tune_base`; None trains a new one.
        types, layout: as `read_dataset` takes them.
        resume: continue a killed run of the same data, split and settings; a finished one is left as it is.

    Returns:
        the training record that is kept in the file.

    Raises:
        ValueError: another process writes `out`; it is no .safetensors, or exists, or holds another run; anything wrong
            with data, split or `init`.
    """
    file = run_file(out, out)
    samples, split = read_dataset(data, types, layout), load_split(split_file)
    train, held_back = (part_of(split, samples, part) for part in ("train", "held_back"))
    watch = Watch(report=report)
    run = dataset_run(train, held_back, split.digest, settings, init, device=device, watch=watch)
    return run.written(file, file.path, resume)


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
    file, watch = run_file(out, out), Watch(report=report)
    run = BaseRun(
        {"training": asdict(settings), "drawn": pool},
        {},
        lambda state: train_general_base(settings, state, pool, device=device, watch=watch),
        lambda base: {"drawn": drawn_quality(base, settings.seed, pool)},
    )
    return run.written(file, file.path, resume)


def run_file(out: str | Path, state: str | Path) -> RunFile:
    """The file of a base, and the states of its two phases, which are named after `state`."""
    return RunFile(Path(out), [state_path(state, phase) for phase in PHASES])
