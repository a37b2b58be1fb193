"""What can be set of the trainings of bases and adapters. Needs no torch: help and menus are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..choices import CHECKPOINTING, HEADS, NORMS, PRECISIONS, SHAPES
from ..settings import check_settings, setting

_SEED = "Decides the first weights and every random choice."
_PRECISION = "Number format of the products: auto is bf16 on a GPU and fp32 on a CPU."
_RATE = "Peak learning rate of AdamW."


@dataclass(frozen=True)
class BaseTraining:
    """Settings of a base. Raises Refused for a setting out of its range."""

    resolution: int = setting(128, "Side of the training crops in pixels.", low=32, multiple=16)
    autoencoder_steps: int = setting(4000, "Optimiser steps of the autoencoder, which trains first.", low=1)
    steps: int = setting(6000, "Optimiser steps of the UNet.", low=1)
    batch: int = setting(16, "Crops per step.", low=1)
    learning_rate: float = setting(5e-4, _RATE, above=0)
    latent_noise: float = setting(
        0.0,
        "Most noise on the latents that the autoencoder learns to decode, against their own spread. It makes up for "
        "noise that the UNet leaves; the texture becomes softer.",
        low=0,
    )
    seed: int = setting(0, _SEED)
    precision: str = setting("auto", _PRECISION, choices=PRECISIONS)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class DrawnPool:
    """Settings of a base for any surface beside those of `BaseTraining`."""

    pool: int = setting(32768, "Crops that are drawn in all, each used again with other flips and exposures.", low=1)


@dataclass(frozen=True)
class AdapterTraining:
    """Settings of an adapter's training; each method adds its own.

    The precision is that of what trains and of a compact base; a host's model has its own.
    Raises Refused for a setting out of its range.
    """

    method: ClassVar[str]  # one of choices.ADAPTERS

    steps: int = setting(2000, "Optimiser steps; a few hundred are enough for a trial.", low=1)
    batch: int = setting(4, "Crops per step; the papers use 4, fewer need less memory.", low=1)
    learning_rate: float = setting(1e-3, _RATE, above=0)
    tokens: int = setting(8, "Learned anomaly tokens per defect type; the papers use 8.", low=1)
    checkpointing: str = setting(
        "auto",
        "Recompute the model's blocks for the gradient instead of keeping them: less memory, a third more time. auto "
        "does so where a GPU's memory is short.",
        choices=CHECKPOINTING,
    )
    precision: str = setting("auto", _PRECISION, choices=PRECISIONS)
    evaluate_every: int = setting(100, "Steps between two evaluations on held-out defects.", low=1)
    patience: int = setting(
        0, "Stop after so many evaluations without a lower error on held-out defects; 0 never stops early.", low=0
    )
    average: float = 0.999
    seed: int = setting(0, _SEED)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class FastTraining(AdapterTraining):
    """Settings of a FAST adapter; defaults are the paper's where it names them.

    norm, told_background: see `FARM`; balanced: the error in the mask counts as much as that of the whole map, however
    small the mask (the paper takes the plain mean).
    """

    method: ClassVar[str] = "fast"

    learning_rate: float = setting(1.5e-4, _RATE, above=0)
    norm: str = setting("group", "Normalisation of FARM's layers.", choices=NORMS)
    told_background: bool = True
    balanced: bool = True


@dataclass(frozen=True)
class StageTraining(AdapterTraining):
    """Settings of a STAGE adapter; defaults are the paper's where it names them.

    t_s, shape: of the mask that the anomaly-aware head receives, see `MaskSchedule`; released: form of the heads, see
    `MGA`; cache: draws that are denoised once where heads alone train, fewer where 4 GiB do not hold them.
    """

    method: ClassVar[str] = "stage"

    t_s: float = setting(200, "Noise level at which the mask has closed.", low=0, high=999)
    shape: str = setting("linear", "How the mask closes as the noise falls.", choices=SHAPES)
    normalise: bool = setting(
        True,
        "Average the error over each defect's own area, so that a small defect counts as much as a large one; the "
        "paper averages over the whole map.",
    )
    released: bool = False
    widths: tuple[int, ...] = setting(
        HEADS["paper"],
        "Channels of the layers of STAGE's heads; the default is the paper's. For a compact base 32 64 128 64 32 is "
        "enough, in a tenth of the time.",
        low=16,
        multiple=16,
    )
    cache: int = setting(4096, "Draws that are denoised once where the heads alone train.", low=1)
