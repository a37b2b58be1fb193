"""From a frozen base and the defects of a training part to an adapter, and from a dataset to an adapter's file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from ..datasets.reading import read_dataset
from ..datasets.sample import check_samples
from ..datasets.split import load_split, part_of
from ..errors import Refused
from ..modules.adapter_file import Adapter, Fit, load_adapter, save_adapter
from ..modules.adapter_modules import load_for, tokens_of
from ..modules.base_file import base_fit, file_digest, load_base_of
from ..modules.fast import to_adapter as fast_adapter
from ..modules.stage import to_adapter as stage_adapter
from ..modules.tokens import AnomalyTokens
from . import fast, stage
from .adapter_loop import LossCurve
from .defects import Defects, read_defects, types_of
from .fast import train_fast
from .frozen import Frozen, FrozenCompact
from .loop import Report
from .memory import step_memory
from .run_file import RunFile
from .settings import AdapterTraining
from .stage import train_stage


def train_adapter(
    base: Frozen,
    defects: Defects,
    settings: AdapterTraining,
    fit: Fit,
    split: str,
    asked: Mapping,
    *,
    tokens: AnomalyTokens | None = None,
    free: int | None = None,
    device: str | torch.device = "cpu",
    **options,
) -> Adapter:
    """`train_fast` or `train_stage` on the defects of a training part, and the adapter to write.

    Args:
        settings: of the method that is wanted.
        fit: what the adapter fits; split: digest of the split that chose the defects.
        asked: what else the run depends on, for the adapter's notes.
        tokens: for STAGE, see `train_stage`.
        free: bytes that the device has for a step; None where that is not known.
        options: as for `train_fast` or `train_stage`.

    Returns:
        the adapter; its notes hold `asked`, and settings, types, counts of images, the curves of loss and held-out
        error, bytes that a step keeps for its gradients, and seconds of this sitting.

    Raises:
        ValueError: as the method's training, and where a step needs far more than `free`.
    """
    started = time.monotonic()
    prepare, trained, to_adapter = {
        "fast": (fast.prepare, train_fast, fast_adapter),
        "stage": (stage.prepare, train_stage, stage_adapter),
    }[settings.method]
    given = {} if tokens is None else {"tokens": tokens}
    prepared = partial(prepare, base, defects.types, device=device, **given)
    memory = step_memory(base.network, prepared, defects.fitting, settings, free)
    losses = LossCurve(settings.evaluate_every, settings.steps, device)
    modules, curve = trained(
        base,
        defects.types,
        defects.fitting,
        defects.held_out,
        settings,
        checkpointing=memory.checkpointing,
        losses=losses,
        device=device,
        **given,
        **options,
    )
    notes = dict(asked) | {
        "settings": asdict(settings),
        "types": defects.types,
        "split": split,
        "base": fit.digest,
        "training_images": defects.fitting_images,
        "held_out_images": defects.held_out_images,
        "curve": curve,
        "losses": losses.points,
        "memory": asdict(memory),
        "seconds": round(time.monotonic() - started, 1),
    }
    return to_adapter(modules.cpu(), fit, split, notes)


def train_adapter_file(
    data: str | Path,
    split_file: str | Path,
    base_file: str | Path,
    out: str | Path,
    settings: AdapterTraining,
    *,
    types: Sequence[str] | None = None,
    layout: str | None = None,
    tokens_file: str | Path | None = None,
    aware: bool = True,
    resume: bool = False,
    device: str = "cpu",
    report: Report | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> dict:
    """Train an adapter on the training part and write it to `out` (.safetensors).

    Args:
        types, layout: as `read_dataset` takes them.
        tokens_file: adapter of the same base and split whose tokens are kept, so that only STAGE's heads train; None
            trains new tokens.
        aware: whether the base is conditioned on mask and background while the adapter trains.
        resume: continue a killed run of the same data, split, base and settings; a finished one is left as it is.

    Returns:
        the notes that are kept in the file: settings, seconds, the curve on groups held out of the training part.

    Raises:
        Refused: another process writes `out`; it is no .safetensors, or exists, or holds another run; anything wrong
            with data, split, base or tokens; too little memory; see `train_adapter`.
    """
    state = Path(f"{out}.state")
    file = RunFile(Path(out), [state])
    samples, split = read_dataset(data, types, layout), load_split(split_file)
    train = part_of(split, samples, "train")
    base, kinds = load_base_of(base_file, split.digest).to(device), types_of(train)
    fit = base_fit(base, file_digest(base_file))
    tokens = tokens_file and tokens_of(load_for(tokens_file, fit, split.digest, kinds), kinds)
    asked = {
        "settings": asdict(settings),
        "aware": aware,
        "base": fit.digest,
        "split": split.digest,
        "types": kinds,
        "tokens": tokens_file and file_digest(tokens_file),
    }
    with file.locked():
        done = file.finished(asked, resume, lambda path: load_adapter(path).training)
        if done is not None:
            return done
        frozen = FrozenCompact(base, kinds, aware)
        check_samples([sample for sample in train if sample.mask is not None])
        resolution, drawn = base.config.resolution, settings.steps * settings.batch
        defects = read_defects(train, split.groups, frozen.encode, resolution, settings.seed, drawn, check_interrupt)
        try:
            adapter = train_adapter(
                frozen,
                defects,
                settings,
                fit,
                split.digest,
                asked | {"resolution": resolution},
                tokens=tokens,
                free=_free(device),
                state=state,
                run=json.dumps(asked),
                device=device,
                report=report,
                check_interrupt=check_interrupt,
            )
        except torch.cuda.OutOfMemoryError as error:
            raise Refused(
                device,
                f"too little memory for a batch of {settings.batch} at {resolution} px with gradients",
                remedy="lower batch, or switch checkpointing on; a resumed training goes on where it was",
            ) from error
        save_adapter(file.path, adapter)
        file.remove_states()
    return adapter.training


def _free(device: str) -> int | None:
    """Bytes that a GPU has free; that of main memory is not known."""
    return torch.cuda.mem_get_info(device)[0] if torch.device(device).type == "cuda" else None
