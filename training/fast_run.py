"""From a dataset, its split and a compact base to the file of a FAST adapter: what `train --method fast` does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..datasets.hold_out import hold_out
from ..datasets.mvtec import check_samples, read_mvtec
from ..datasets.split import load_split, part_of
from ..modules.adapter_file import load_adapter, save_adapter
from ..modules.base_file import base_fit, file_digest, load_base_of
from ..modules.fast import to_adapter
from .fast import FastTraining, train_fast
from .frozen_compact import FrozenCompact, defect_latents, types_of
from .loop import Report
from .run_file import RunFile

FITTING, HELD_OUT = 1024, 128  # crops that are encoded once, to train on and to look at


def train_fast_file(
    data: str | Path,
    split_file: str | Path,
    base_file: str | Path,
    out: str | Path,
    settings: FastTraining,
    *,
    types: Sequence[str] | None = None,
    aware: bool = True,
    resume: bool = False,
    device: str = "cpu",
    report: Report | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> dict:
    """Train an adapter on the training part and write it to `out` (.safetensors).

    Args:
        types: defect types to use; None is all.
        aware: whether the base is told mask and background while the adapter trains.
        resume: continue a killed run of the same data, split, base and settings; a finished one is left as it is.

    Returns:
        the notes that are kept in the file: settings, seconds, the curve on groups held out of the training part.

    Raises:
        ValueError: `out` is no .safetensors, or exists, or holds another run; anything wrong with data, split or base;
            see `train_fast`.
    """
    started, state = time.monotonic(), Path(f"{out}.state")
    file = RunFile("Train FAST Adapter", Path(out), [state])
    samples, split = read_mvtec(data, types), load_split(split_file)
    train = [sample for sample in part_of(split, samples, "train") if sample.mask is not None]
    base, kinds = load_base_of(base_file, split.digest).to(device), types_of(train)
    digest = file_digest(base_file)
    asked = {"settings": asdict(settings), "aware": aware, "base": digest, "split": split.digest, "types": kinds}
    done = file.finished(asked, resume, lambda path: load_adapter(path).training)
    if done is not None:
        return done
    check_samples(train)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    frozen = FrozenCompact(base, kinds, aware)
    parts = hold_out(train, split.groups, settings.seed) if kinds else (train, [])
    fitting, held_out = (
        defect_latents(base, part, kinds, count, settings.seed, check_interrupt)
        for part, count in zip(parts, (FITTING, HELD_OUT), strict=True)
    )
    modules, curve = train_fast(
        frozen, kinds, fitting, held_out, settings, state=state, run=json.dumps(asked), device=device, report=report,
        check_interrupt=check_interrupt,
    )  # fmt: skip
    notes = asked | {"training_images": len(parts[0]), "held_out_images": len(parts[1]), "curve": curve,
                     "seconds": round(time.monotonic() - started, 1)}  # fmt: skip
    save_adapter(file.path, to_adapter(modules, base_fit(base, digest), split.digest, notes))
    file.remove_states()
    return notes
