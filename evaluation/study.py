"""The study: every method's pairs train every network under every seed; each cell is made once and kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ..baselines.draem import Textures
from ..datasets.mvtec import Sample, check_samples, read_mvtec
from ..datasets.pictures import write_atomic
from ..datasets.split import Split, load_split, part_of
from ..modules.base_file import load_base
from ..synthesis.pair import Settings
from ..synthesis.plan import Plan
from .arms import Report, make_arm
from .methods import NEEDS_BASE, REAL_ONLY, Tools, check_methods
from .metrics import at_threshold, metrics
from .networks import NETWORKS
from .pair_statistics import Defect, measure_samples, summary
from .segment import Training, test, train_segmenter

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """What is compared on what.

    data: folder in MVTec layout; split: its split.json; base: a compact base trained under that split, for the AIAS
    methods; per_type: pairs per (object, type) and seed; seeds: 0 .. seeds - 1; types: None is all; textures: folder of
    DRAEM's textures, None the procedural surfaces.
    """

    data: str
    split: str
    methods: tuple[str, ...]
    networks: tuple[str, ...] = ("small_unet",)
    seeds: int = 3
    per_type: int = 200
    base: str | None = None
    types: tuple[str, ...] | None = None
    textures: str | None = None
    settings: Settings = field(default_factory=Settings)
    # No early stop: the arms then see the same number of real crops; the best weights are kept all the same.
    training: Training = field(default_factory=lambda: Training(max_steps=1200, patience=0))


def run_study(study: Study, out: str | Path, report: Report | None = None) -> list[dict]:
    """Fill the table's cells below `out`; those that are there stay. A cell that fails holds its error and is tried
    again by the next run; the others go on.

    Returns:
        the cells: method, network, seed, metrics overall and per type, counts per group, seconds.

    Raises:
        ValueError: anything about the study itself that cannot work, before the first cell; `out` of another study.
    """
    data = _prepared(study)
    out = Path(out)
    _claim(out, study, data.split)
    cells = []
    for seed in range(study.seeds):
        for method in study.methods:
            for network in study.networks:
                path = out / "cells" / method / network / f"{seed}.json"
                cell = json.loads(path.read_text()) if path.exists() else {}
                if not cell or "error" in cell:
                    text = json.dumps(_cell(study, data, out, method, network, seed, report))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_atomic(path, text.encode())
                    cell = json.loads(text)
                cells.append(cell)
    return cells


@dataclass(frozen=True)
class _Data:
    split: Split
    train: list[Sample]
    held_back: list[Sample]
    tools: Tools
    count: int

    @cached_property
    def defects(self) -> dict[str, dict[tuple[str, str], list[Defect]]]:
        """The real defects by part and (object, type), measured once for all cells."""
        return {"train": _measured(self.train), "held_back": _measured(self.held_back)}


def _prepared(study: Study) -> _Data:
    check_methods(study.methods)
    unknown = set(study.networks) - set(NETWORKS)
    if unknown:
        raise ValueError(f"Evaluate: unknown network {sorted(unknown)[0]!r}; choose from {', '.join(NETWORKS)}.")
    if study.seeds < 1 or study.per_type < 1 or not study.methods:
        raise ValueError("Evaluate: at least one method, one seed and one pair per type are needed.")
    samples, split = read_mvtec(study.data, study.types), load_split(study.split)
    train, held_back = (part_of(split, samples, part) for part in ("train", "held_back"))
    check_samples([*train, *held_back])
    tools = Tools(train, _base(study, split), study.settings, Textures(study.textures))
    return _Data(split, train, held_back, tools, study.per_type * len(Plan(train, train, 0).types))


def _base(study: Study, split: Split):
    if not set(study.methods) & set(NEEDS_BASE):
        return None
    if study.base is None:
        raise ValueError(f"Evaluate: {', '.join(NEEDS_BASE)} need a base trained under this split; give --base.")
    base, record = load_base(study.base)
    if record.get("split") != split.digest:
        raise ValueError(f"Evaluate: {study.base} was trained under another split; it may know what is held back.")
    return base


def _claim(out: Path, study: Study, split: Split) -> None:
    """Write study.json, or check that the one there is of this study: methods, networks and seeds may be added."""
    fixed = {key: value for key, value in asdict(study).items() if key not in ("methods", "networks", "seeds")}
    text = json.dumps(fixed | {"split_digest": split.digest}, sort_keys=True, indent=2)
    path = out / "study.json"
    if path.exists() and path.read_text() != text:
        raise ValueError(f"Evaluate: {out} holds another study (see study.json); choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())


def _cell(study: Study, data: _Data, out: Path, method: str, network: str, seed: int, report: Report | None) -> dict:
    named = {"method": method, "network": network, "seed": seed}
    try:
        synthetic, seconds = _synthetic(study, data, out, method, seed, report)
        model, record = train_segmenter(
            network, data.train, synthetic, data.split, replace(study.training, seed=seed),
            report=report and (lambda _, step, steps, *__: report(f"{method}, {network}, seed {seed}", step, steps)),
        )  # fmt: skip
        tested = test(model, data.held_back, data.split.groups)
        statistics = _statistics(data, synthetic)
    except (ValueError, OSError, RuntimeError) as error:
        _log.error("%s, %s, seed %s: %s", method, network, seed, error)
        return named | {"error": str(error)}
    return named | {
        "overall": metrics(tested.total()),
        "types": {"/".join(kind): metrics(tested.total(kind)) for kind in tested.kinds if kind[1] != "good"},
        "groups": {group: list(at_threshold(tally)) for group, tally in tested.groups().items()},
        "statistics": statistics,
        "seconds_per_pair": seconds,
        "training": asdict(record),
    }


def _statistics(data: _Data, synthetic: Sequence[Sample]) -> dict[str, dict]:
    """Per type: the pairs against the real training defects ("train") and against the held-back ones."""
    return {
        "/".join(kind): {part: summary(made, real.get(kind, [])) for part, real in data.defects.items()}
        for kind, made in _measured(synthetic).items()
    }


def _measured(samples: Sequence[Sample]) -> dict[tuple[str, str], list[Defect]]:
    kinds = sorted({(sample.object, sample.type) for sample in samples if sample.mask is not None})
    return {
        kind: measure_samples(sample for sample in samples if (sample.object, sample.type) == kind) for kind in kinds
    }


def _synthetic(
    study: Study, data: _Data, out: Path, method: str, seed: int, report: Report | None
) -> tuple[Sequence[Sample], float]:
    if method == REAL_ONLY:
        return [], 0.0
    folder = out / "pairs" / method / str(seed)
    described = {"split": data.split.digest, "base": study.base, "settings": asdict(study.settings)}
    seconds = make_arm(method, Plan(data.train, data.train, seed), data.count, data.tools, folder, described, report)
    return [sample for sample in read_mvtec(folder) if sample.type != "good"], seconds
