"""What the checks of STAGE's training share: a short training, and an adapter of FAST."""

from __future__ import annotations

from functools import cache

from .fast_scenes import dataset
from .fast_scenes import train as train_fast
from .scenes import base
from .start import call, room


def train(model=None, vae=None, data=None, widths=(16,), **changed) -> tuple:
    """Train STAGE Adapter on a few images: (adapter, record, curve); narrow heads are quicker."""
    widgets = {
        "steps": 2,
        "batch": 2,
        "learning_rate": 1e-3,
        "tokens": 3,
        "resolution": 64,
        "patience": 0,
        "seed": 0,
        "conditioning": None,
    } | changed
    training = room("nodes.training")
    real = training.head_settings
    training.head_settings = lambda heads: {"widths": widths} | real(heads)
    try:
        return call(
            "TrainSTAGEAdapter", model=model or base()[0], vae=vae or base()[1], dataset=data or dataset(), **widgets
        )
    finally:
        training.head_settings = real


@cache
def fast_adapter():
    """Of FAST, trained on the same split."""
    return train_fast()[0]
