"""From a frozen base and the defects of a training part to an adapter of either method, with notes on its training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

import torch

from ..modules.adapter_file import Adapter, Fit
from ..modules.fast import to_adapter as fast_adapter
from ..modules.stage import to_adapter as stage_adapter
from ..modules.tokens import AnomalyTokens
from . import fast, stage
from .defects import Defects
from .fast import train_fast
from .frozen import Frozen
from .loss_curve import LossCurve
from .memory import step_memory
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
    begun, trained, to_adapter = {
        "fast": (fast.begun, train_fast, fast_adapter),
        "stage": (stage.begun, train_stage, stage_adapter),
    }[settings.method]
    given = {} if tokens is None else {"tokens": tokens}
    begin = partial(begun, base, defects.types, device=device, **given)
    memory = step_memory(base.network, begin, defects.fitting, settings, free)
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
