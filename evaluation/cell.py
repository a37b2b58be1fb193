"""One cell of a study: a method's pairs, a network trained with them under one seed, its test, and what to remember."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ..datasets.foreign_pairs import ForeignPairs
from ..datasets.hold_out import hold_out
from ..datasets.mvtec import read_mvtec
from ..datasets.sample import Sample
from ..datasets.split import Split
from ..errors import Refused
from ..files.durable import write_atomic
from ..seeds import derived_seed
from ..synthesis.plan import DrawnPlan, Plan
from .arms import make_arm
from .cases import save_cases
from .methods import REAL_ONLY, Tools, made_with
from .metrics import NAMES, THRESHOLD, metrics
from .pair_statistics import Defect, measure_samples, summary
from .pixel_filter import unlikely_pixels, without
from .segmenter.testing import Kind, Tested, test
from .segmenter.training import Record, Training, train_segmenter
from .shift import Shift
from .shots import some_defects
from .tally import Tally
from .threshold import Fold, best_threshold, folds

Report = Callable[[str, int, int], None]  # what, done, of


@dataclass(frozen=True)
class Data:
    """What all cells of a study share.

    train, held_back: the split's samples, or those that a shift leaves; tools: what methods may use; count: pairs per
    method and seed; pairs: folders of pairs that are judged like methods, by their names; shift: see
    `evaluation.shift`.
    """

    split: Split
    train: Sequence[Sample]
    held_back: Sequence[Sample]
    tools: Tools
    count: int
    pairs: Mapping[str, ForeignPairs] = field(default_factory=dict)
    shift: Shift | None = None

    @cached_property
    def defects(self) -> dict[str, dict[Kind, list[Defect]]]:
        """The real defects by part and (object, type), measured once for all cells."""
        return {"train": _measured(self.train), "held_back": _measured(self.held_back)}

    def shown(self, shots: int | None, seed: int) -> Sequence[Sample]:
        """The training part with so many defects of every type; None: all."""
        return self.train if shots is None else some_defects(self.train, shots, seed)


@dataclass(frozen=True)
class Cell:
    """Which cell, and below `out` its files. shots: real defects of every type that train; None: all."""

    method: str
    network: str
    seed: int
    out: Path
    shots: int | None = None

    @property
    def path(self) -> Path:
        return self.out / "cells" / self.method / self.network / self._shots / f"{self.seed}.json"

    @property
    def validation(self) -> Path:
        """The record of a further training with groups held out."""
        return self.path.with_name(f"{self.seed}-validation.json")

    def state(self, held_out: bool) -> Path:
        """The state of a training that was stopped, or whose result is not on the disk yet."""
        return (self.validation if held_out else self.path).with_suffix(".state")

    def filter_state(self, fold: int) -> Path:
        """Of a network that judges the pairs' pixels; the same for all methods."""
        return self.out / "filter" / self.network / self._shots / f"{self.seed}-{fold}.state"

    @property
    def pairs(self) -> Path:
        return self.out / "pairs" / self.method / self._shots / str(self.seed)

    @property
    def named(self) -> dict:
        return {"method": self.method, "network": self.network, "seed": self.seed, "shots": self.shots}

    @property
    def words(self) -> str:
        shots = "" if self.shots is None else f", {self.shots} shots"
        return f"{self.method}, {self.network}{shots}, seed {self.seed}"

    @property
    def _shots(self) -> str:
        return "" if self.shots is None else f"shots-{self.shots}"


def fill(cell: Cell, data: Data, training: Training, report: Report | None = None) -> dict:
    """Make, train, test, measure; beside the cell's file a picture of its best and worst cases.

    A training that was stopped goes on where it was, as does a folder of pairs. Its state stays: the caller removes it
    once the result is on the disk.

    Returns:
        what the report needs, JSON-able: see `evaluation.report`.

    Raises:
        ValueError, OSError, RuntimeError: whatever the method, the training or the test cannot do.
    """
    synthetic, seconds = _synthetic(cell, data, report)
    network, record = _trained(cell, data, replace(training, hold_out=False), synthetic, report)
    threshold = _threshold(cell, data, training, synthetic, report)
    tested = test(network, data.held_back, data.split.groups, threshold=THRESHOLD if threshold is None else threshold)
    save_cases(cell.path.with_suffix(".png"), network, tested, data.held_back)
    made = _measured(synthetic)
    return (
        cell.named
        | tested_values(tested)
        | {
            "threshold": threshold,
            "real_defects": len({one.name for one in data.shown(cell.shots, cell.seed) if one.mask is not None}),
            "statistics": {
                "/".join(kind): {part: summary(found, real.get(kind, [])) for part, real in data.defects.items()}
                for kind, found in made.items()
            },
            "contrasts": {part: _contrasts(found) for part, found in (data.defects | {"pairs": made}).items()},
            "pairs": len(synthetic),
            "seconds_per_pair": seconds,
            "training": asdict(record),
        }
        | ({"shift": str(data.shift)} if data.shift else {})
    )


def validate(cell: Cell, data: Data, training: Training, report: Report | None = None) -> dict:
    """Train once more with groups of the training part held out, to see how the cell's training goes on what it does
    not know: a `Record` as `cell.validation` keeps it.

    Raises:
        ValueError, OSError, RuntimeError: as `fill`, and where there are too few groups to hold one out.
    """
    real = data.shown(cell.shots, cell.seed)
    if all(sample.mask is None for sample in hold_out(real, data.split.groups, cell.seed)[1]):
        raise Refused(
            "validation",
            "every defect type trains on one group, so none can be held out",
            remedy="split with a larger share, or leave the validation out",
        )
    synthetic, _ = _synthetic(cell, data, report)
    _, record = _trained(cell, data, replace(training, hold_out=True), synthetic, report)
    write_atomic(cell.validation, json.dumps(asdict(record)).encode())
    cell.state(True).unlink()
    return asdict(record)


def _trained(
    cell: Cell, data: Data, training: Training, synthetic: Sequence[Sample], report: Report | None
) -> tuple[nn.Module, Record]:
    """The network, and what its training did; its state file is left."""
    state = cell.state(training.hold_out)
    state.parent.mkdir(parents=True, exist_ok=True)
    what = cell.words + ", held out" * training.hold_out
    real, unlikely = data.shown(cell.shots, cell.seed), _unlikely(cell, data, training, synthetic, report)
    return _network(cell, data, real, synthetic, training, state, what, report, unlikely)


def _threshold(
    cell: Cell, data: Data, training: Training, synthetic: Sequence[Sample], report: Report | None
) -> float | None:
    """The best one on training groups that a network did not see: one network is trained without each fold, and without
    the pairs that come from its images. None where no fold shows a type that the rest shows, too."""
    groups = data.split.groups
    kinds: dict[Kind, Tally] = {}
    for fold in _folds(cell, data, training):
        state, what = cell.path.with_name(f"{cell.seed}-fold-{fold.number}.state"), f"{cell.words}, {fold.words}"
        some = without(synthetic, fold.groups, groups)
        network, _ = _network(cell, data, fold.rest, some, replace(training, hold_out=False), state, what, report)
        tested = test(network, fold.unseen, groups)
        for kind in tested.defects:
            kinds[kind] = kinds.get(kind, Tally()) + tested.total(kind)
        state.unlink(missing_ok=True)
    return best_threshold(kinds)


def _unlikely(
    cell: Cell, data: Data, training: Training, synthetic: Sequence[Sample], report: Report | None
) -> Mapping[Sample, Tensor]:
    """The pixels of pairs that do not count, see `Training.filtered`, judged by networks of real defects alone. Their
    states stay below the study's folder for all methods."""
    if not training.filtered or not synthetic:
        return {}
    networks = []
    for fold in _folds(cell, data, replace(training, folds=max(training.folds, 2))):
        state = cell.filter_state(fold.number)
        state.parent.mkdir(parents=True, exist_ok=True)
        what = f"filter, {cell.network}, seed {cell.seed}, {fold.words}"
        network, _ = _network(cell, data, fold.rest, [], replace(training, hold_out=False), state, what, report)
        networks.append((fold.groups, network))
    return unlikely_pixels(synthetic, networks, data.split.groups, training)


def _folds(cell: Cell, data: Data, training: Training) -> list[Fold]:
    real = data.shown(cell.shots, cell.seed)
    return folds(real, data.split.groups, training.folds, cell.seed) if training.folds else []


def _network(
    cell: Cell,
    data: Data,
    real: Sequence[Sample],
    synthetic: Sequence[Sample],
    training: Training,
    state: Path,
    what: str,
    report: Report | None,
    unlikely: Mapping[Sample, Tensor] | None = None,
) -> tuple[nn.Module, Record]:
    return train_segmenter(
        cell.network,
        real,
        synthetic,
        data.split,
        replace(training, seed=cell.seed),
        unlikely=unlikely,
        state=state,
        report=report and (lambda _, step, steps, *__: report(what, step, steps)),
    )


def tested_values(tested: Tested) -> dict:
    """{"threshold"; "overall", "mean", "types": metrics; "images": pixels per image; "tallies": {type: {group: see
    `Tally.packed`}}}; the mean is over types that define it."""
    types = {"/".join(kind): metrics(tested.total(kind), tested.threshold) for kind in tested.defects}
    return {
        "threshold": tested.threshold,
        "overall": metrics(tested.total(), tested.threshold),
        "mean": {name: _mean([values[name] for values in types.values()]) for name in NAMES},
        "types": types,
        "images": [asdict(seen) for seen in tested.images],
        "tallies": {
            "/".join(kind): {group: tally.packed() for group, tally in tested.groups(kind).items()}
            for kind in tested.defects
        },
    }


def _synthetic(cell: Cell, data: Data, report: Report | None) -> tuple[Sequence[Sample], float | None]:
    """The pairs, and the seconds that one took; None where they were made elsewhere."""
    if cell.method == REAL_ONLY:
        return [], 0.0
    if cell.method in data.pairs:
        return data.pairs[cell.method].samples, None
    real = data.shown(cell.shots, cell.seed)
    # Pairs of few defects are others than those of all.
    seed = cell.seed if cell.shots is None else derived_seed(cell.seed, cell.shots, "shots")
    plan = Plan(real, real, seed) if cell.shots != 0 else DrawnPlan(real, seed)
    described = {"split": data.split.digest} | made_with(cell.method, data.tools)
    seconds = make_arm(cell.method, plan, data.count, data.tools, cell.pairs, described, report)
    return [sample for sample in read_mvtec(cell.pairs) if sample.type != "good"], seconds


def _measured(samples: Sequence[Sample]) -> dict[Kind, list[Defect]]:
    kinds = sorted({(sample.object, sample.type) for sample in samples if sample.mask is not None})
    return {
        kind: measure_samples(sample for sample in samples if (sample.object, sample.type) == kind) for kind in kinds
    }


def _contrasts(defects: Mapping[Kind, Sequence[Defect]]) -> dict[str, list[float]]:
    return {"/".join(kind): [round(one.contrast, 3) for one in found] for kind, found in defects.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
