"""The study: every method's pairs train every network under every seed; each cell is made once and kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ..baselines.draem import Textures
from ..datasets.foreign_pairs import ForeignPairs, check_sources, read_pairs
from ..datasets.groups import conditions_of
from ..datasets.reading import read_dataset
from ..datasets.sample import Sample, check_samples
from ..datasets.split import Kind, Split, load_split, part_of
from ..errors import Refused
from ..files.durable import make_folder, write_atomic
from ..files.folder_lock import Lock, check_free
from ..images.pictures import read_picture
from ..modules.adapter_modules import load_for
from ..modules.base_file import base_fit, check_base_of, file_digest, is_drawn, load_base
from ..modules.compact_ldm import CompactLDM
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..settings import check_values
from ..synthesis.adapters import modules_of
from ..synthesis.plan import Plan
from .cell import Cell, Data, Report, fill, validate
from .methods import (
    NEEDS_ADAPTER,
    NEEDS_BASE,
    NEEDS_DEFECTS,
    REAL_ONLY,
    AdapterKey,
    Tools,
    adapter_keys,
    check_adapters,
    check_methods,
    needs,
    pair_folders,
)
from .segmenter.training import train_segmenter
from .settings import Study, Training
from .shift import Shift
from .shots import check_shots

_log = logging.getLogger(__name__)
_TIMED = 5  # training steps


def run_study(
    study: Study, out: str | Path, report: Report | None = None, *, validated: bool = False
) -> Iterator[dict]:
    """Fill the table's cells below `out`; those that are there stay. A cell that fails holds its error and is tried
    again by the next run; the others go on.

    Args:
        validated: train every cell once more with groups of the training part held out, other ones under every seed.

    Returns:
        the cells, one by one as they are done, seed by seed; see `evaluation.cell.fill`. One that failed has an
        "error" instead of values; one that was validated has its "validation", see `evaluation.cell.validate`.

    Raises:
        Refused: another process fills `out`; anything about the study itself that cannot work, before the first
            cell; `out` of another study.
    """
    check_free(out)
    data = prepare(study)
    if report:
        seconds = estimated_seconds(study, data, Path(out))
        report(f"estimate: {_duration(seconds)} for the cells that are missing", 1, 1)
    return _cells(study, Path(out), data, report, validated, _claim(Path(out), study, data))


def estimated_seconds(study: Study, data: Data, out: Path) -> float:
    """How long the cells take that `out` lacks, by a few training steps of every network and the size of the test.

    The pairs of methods that sample take more: about a second each on a CPU.
    """
    missing = [cell for cell in cells_of(study, out) if "error" in (_stored(cell.path) or {"error": ""})]
    if not missing:
        return 0.0
    a_step = {name: _step_seconds(name, study.training, data) for name in study.networks}
    trainings = 1 + study.training.folds
    sampled = sum(needs(cell.method, NEEDS_BASE) for cell in missing) / len(study.networks)
    steps = sum(a_step[cell.network] for cell in missing) * study.training.steps * trainings
    return steps + sampled * data.count


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{max(seconds / 60, 1):.0f} min"


def _step_seconds(network: str, training: Training, data: Data) -> float:
    """Of one step with synthetic crops, for which real ones stand in."""
    few = replace(training, steps=_TIMED + 1, folds=0, hold_out=False, synthetic=training.synthetic + training.batch)
    real = [one for one in data.train if one.mask is not None]
    return train_segmenter(network, [], real, data.split, few)[1].seconds / (_TIMED + 1)


def _cells(study: Study, out: Path, data: Data, report: Report | None, validated: bool, lock: Lock) -> Iterator[dict]:
    with lock:
        for cell in cells_of(study, out):
            yield _kept(cell, data, study.training, report, validated)


def cells_of(study: Study, out: Path) -> Iterator[Cell]:
    """The study's cells, seed by seed. Without a real defect there are only the methods that need none."""
    for seed in range(study.seeds):
        for shots in study.shots:
            for method in (*study.methods, *pair_folders(study.pairs)):
                if shots != 0 or (method != REAL_ONLY and not needs(method, NEEDS_DEFECTS)):
                    yield from (Cell(method, network, seed, out, shots) for network in study.networks)


def prepare(study: Study) -> Data:
    """What all cells share. Raises Refused for anything about the study itself that cannot work."""
    check_methods(study.methods)
    folders = pair_folders(study.pairs)
    if not study.methods and not folders:
        raise Refused("methods", "none", "one or more")
    check_values(Study, networks=study.networks, seeds=study.seeds, per_type=study.per_type)
    samples, split = read_dataset(study.data, study.types, study.layout), load_split(study.split)
    all_train, held_back = (part_of(split, samples, part) for part in ("train", "held_back"))
    shift, train, shifted = Shift.read(study.shift) if study.shift else None, all_train, set()
    if shift:
        values = conditions_of(samples, study.data, shift.column)
        train, held_back = shift.parts(train, held_back, values)
        shifted = {name for name, value in values.items() if value == shift.value}
    check_samples([*train, *held_back])
    if not any(sample.mask for sample in held_back):
        raise Refused(
            study.split,
            f"none of the {len(held_back)} held-back images has a defect, so nothing could be measured",
            remedy="choose other types, or split with a smaller share",
        )
    types = Plan(train, train, 0).types
    check_shots(train, study.shots)
    base, knows_data = _base(study, split)
    if len(train) < len(all_train):
        _check_unseen(study, knows_data)
    pairs = {name: _pairs(folder, split, shifted, train) for name, folder in folders.items()}
    adapters = _adapters(study, base, split, types)
    digests = {key: file_digest(path) for key, (path, _) in adapters.items()}
    digests |= {"base": file_digest(study.base)} if base else {}
    modules = {key: found for key, (_, found) in adapters.items()}
    tools = Tools(train, base, modules, study.settings, Textures(study.textures), digests)
    return Data(split, train, held_back, tools, study.per_type * len(types), pairs, shift)


def _base(study: Study, split: Split) -> tuple[CompactLDM | None, bool]:
    """The base, where a method needs one, and whether it was trained on the training part."""
    if not any(needs(name, NEEDS_BASE) for name in study.methods):
        return None, False
    if study.base is None:
        raise Refused(
            "base", f"none for {', '.join(NEEDS_BASE)}", "one that was trained under this split", "give the base"
        )
    base, record = load_base(study.base)
    check_base_of(study.base, record, split.digest)
    knows_data = not is_drawn(study.base, record)
    few = [shots for shots in study.shots if shots is not None]
    if few and knows_data:
        raise Refused(
            "base",
            f"it was trained on all defects of the training part, and the study has cells of {few[0]} shots",
            "a base of drawn surfaces",
            "give bundled or one of `train-base --drawn`, or leave out the methods that sample",
        )
    return base, knows_data


def _check_unseen(study: Study, knows_data: bool) -> None:
    """Raise Refused for models that were trained on the whole training part, where some of it must not train."""
    adapted = [name for name in study.methods if needs(name, NEEDS_ADAPTER)]
    if adapted or knows_data:
        raise Refused(
            "shift",
            f"{'the adapter of ' + adapted[0] if adapted else 'the base'} was trained on images of {study.shift}, too",
            "a base of drawn surfaces",
            "give bundled or one of `train-base --drawn`, or leave out the methods that sample",
        )


def _pairs(folder: Path, split: Split, shifted: set[str], train: Sequence[Sample]) -> ForeignPairs:
    """A folder of pairs, none of them made from an image that must not train: held back, of a group that is, or of the
    condition that tests alone."""
    found = read_pairs(folder)
    trains = {split.groups[name] for name in split.train}
    check_sources(found, split, shifted | {name for name, group in split.groups.items() if group not in trains})
    size = read_picture(train[0].image).size
    if max(found.size) * 2 < max(size) or max(size) * 2 < max(found.size):
        _log.warning(
            "%s: an image of it has %d x %d px and one of the data %d x %d; crops are taken at the images' own scale, "
            "so its defects have another size",
            folder,
            *reversed(found.size),
            *reversed(size),
        )
    return found


def _adapters(
    study: Study, base: CompactLDM | None, split: Split, types: Sequence[Kind]
) -> dict[AdapterKey, tuple[str, FastModules | StageModules]]:
    """The study's adapters, each with its file."""
    found: dict[AdapterKey, tuple[str, FastModules | StageModules]] = {}
    wanted = any(adapter_keys(name, study.settings) for name in study.methods)
    for path in study.adapters if wanted else ():
        adapter = load_for(path, base_fit(base, file_digest(study.base)), split.digest, types)
        key = adapter.method, bool(adapter.training.get("aware", True))
        if key in found:
            raise Refused(
                path,
                f"it and {found[key][0]} are both {key[0].upper()}'s and were trained the same way (aware: {key[1]})",
                remedy="give one of them",
            )
        found[key] = path, modules_of(adapter)
    for name in study.methods:
        check_adapters(name, study.settings, found)
    return found


def _claim(out: Path, study: Study, data: Data) -> Lock:
    """Lock the folder against other processes, and write study.json, or check that the one there is of this study:
    methods, networks, seeds, shots, folders of pairs, and a base or adapters for the methods that need them may be
    added (pairs know theirs themselves), and the layout be named: the split knows its data. A folder of pairs that was
    given before must hold the same pairs."""
    growing = ("methods", "networks", "seeds", "shots", "base", "adapters", "layout", "pairs")
    fixed = {key: value for key, value in asdict(study).items() if key not in growing}
    if study.shift is None:
        del fixed["shift"]
    fixed = json.loads(json.dumps(fixed | {"split_digest": data.split.digest}))
    pairs = {name: {"folder": str(one.root.resolve()), "digest": one.digest} for name, one in data.pairs.items()}
    path = make_folder(out) / "study.json"
    lock = Lock(out)
    try:
        stored = _stored(path) if path.exists() else fixed
        known = stored.pop("pairs", {}) if stored else {}
        if stored != fixed:
            raise Refused(out, "it holds another study (see study.json)", remedy="choose another output folder")
        for name in known.keys() & pairs.keys():
            if known[name]["digest"] != pairs[name]["digest"]:
                got = f"the study has cells of {name!r} with other pairs, of {known[name]['folder']}"
                raise Refused(data.pairs[name].root, got, remedy="give these another name: NAME=DIR")
        grown = known | pairs
        text = json.dumps(fixed | ({"pairs": grown} if grown else {}), sort_keys=True, indent=2)
        write_atomic(path, text.encode())
    except BaseException:
        lock.release()
        raise
    return lock


def _kept(cell: Cell, data: Data, training: Training, report: Report | None, validated: bool) -> dict:
    """The cell as its file has it, or filled now; one that failed is filled again."""
    found = _stored(cell.path)
    if found is None or "error" in found:
        made = _tried(fill, cell, data, training, report)
        make_folder(cell.path.parent)
        write_atomic(cell.path, json.dumps(made).encode())
        found = json.loads(cell.path.read_text())
    if "error" not in found:
        cell.state(False).unlink(missing_ok=True)  # now that its result is on the disk
    if validated and "error" not in found and _stored(cell.validation) is None:
        _tried(validate, cell, data, training, report)
    validation = _stored(cell.validation)
    return found if validation is None else found | {"validation": validation}


def _stored(path: Path) -> dict | None:
    """A cell's file; None where it is not there, or damaged: it is made again."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _tried(make: Callable[..., dict], cell: Cell, *rest) -> dict:
    """What `make` gives for the cell, or its error."""
    try:
        return make(cell, *rest)
    except (ValueError, OSError, RuntimeError) as error:
        _log.error("%s: %s", cell.words, error)
        return cell.named | {"error": str(error)}
