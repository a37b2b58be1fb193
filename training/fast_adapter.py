"""From a frozen base and the defects of a training part to an adapter and the notes on its training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict

import torch

from ..modules.adapter_file import Adapter, Fit
from ..modules.fast import to_adapter
from .defects import Defects
from .fast import FastTraining, train_fast
from .frozen import Frozen
from .loss_curve import LossCurve
from .memory import step_memory


def train_adapter(
    base: Frozen, defects: Defects, settings: FastTraining, fit: Fit, split: str, asked: Mapping, *,
    free: int | None = None, device: str | torch.device = "cpu", **options,
) -> Adapter:  # fmt: skip
    """`train_fast` on the defects of a training part, and the adapter to write.

    Args:
        fit: what the adapter fits; split: digest of the split that chose the defects.
        asked: what else the run depends on, for the adapter's notes.
        free: bytes that the device has for a step; None where that is not known.
        options: as for `train_fast`.

    Returns:
        the adapter; its notes hold `asked`, and settings, types, counts of images, the curves of loss and held-out
        error, bytes that a step keeps for its gradients, and seconds of this sitting.

    Raises:
        ValueError: as `train_fast`, and where a step needs far more than `free`.
    """
    started = time.monotonic()
    memory = step_memory(base, defects.fitting, settings, free, device)
    losses = LossCurve(settings.evaluate_every, settings.steps, device)
    modules, curve = train_fast(
        base, defects.types, defects.fitting, defects.held_out, settings, checkpointing=memory.checkpointing,
        losses=losses, device=device, **options,
    )  # fmt: skip
    notes = dict(asked) | {
        "settings": asdict(settings), "types": defects.types, "split": split, "base": fit.digest,
        "training_images": defects.fitting_images, "held_out_images": defects.held_out_images, "curve": curve,
        "losses": losses.points, "memory": asdict(memory), "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    return to_adapter(modules.cpu(), fit, split, notes)
