"""What can be set of a study and of its networks' training. Needs no torch: help and menus are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..choices import NETWORKS
from ..settings import check_settings, setting
from ..synthesis.settings import Settings


@dataclass(frozen=True)
class Training:
    """How a network is trained; the same for every arm of a comparison.

    hold_out: train on about four fifths of the groups, evaluate on the others every `evaluate_every` steps, and keep
    the weights that were best there; otherwise all groups train and the last weights stay; average: decay of the weight
    average that is evaluated and kept.

    Raises Refused for a setting out of its range.
    """

    crop: int = setting(128, "Side of the training crops in pixels, at the images' own scale.", low=32)
    batch: int = setting(8, "Real crops per step, and as many synthetic ones where there are any.", low=1)
    steps: int = setting(600, "Optimiser steps of every network; the learning rate falls to zero by a cosine.", low=1)
    hold_out: bool = setting(False, "Hold out a fifth of the groups and keep the weights that are best on them.")
    evaluate_every: int = setting(50, "Steps between two evaluations on the groups that are held out.", low=1)
    learning_rate: float = setting(1e-3, "Peak learning rate.", above=0)
    average: float = setting(0.99, "Decay of the running average of the weights.", low=0, below=1)
    seed: int = setting(0, "Decides the first weights and every random choice.", low=0)
    weights: str = setting(
        "pretrained",
        "First weights of the encoders of unet and segformer: trained on ImageNet, or random. The other networks "
        "always begin at random.",
        choices=("pretrained", "random"),
    )
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Study:
    """What is compared on what.

    data: a dataset's folder; split: its split.json; methods: see `evaluation.methods`; base: a compact base trained
    under that split; adapters: trained on that base, at most one of each method with the base given mask and background
    and one without; types: None is all; textures: folder of DRAEM's textures, None the procedural surfaces; layout: the
    data's, None detects it.
    """

    data: str
    split: str
    methods: tuple[str, ...]
    networks: tuple[str, ...] = setting(("unet",), "Segmentation networks to train.", choices=NETWORKS)
    seeds: int = setting(3, "Number of seeds. Each trains every network and samples every pair anew.", low=1)
    per_type: int = setting(200, "Pairs per defect type and seed.", low=1)
    base: str | None = None
    adapters: tuple[str, ...] = ()
    types: tuple[str, ...] | None = None
    textures: str | None = None
    settings: Settings = field(default_factory=Settings)
    training: Training = field(default_factory=Training)
    layout: str | None = None


# A study that says better or worse, with its own noise: changes of Study and of Training.
QUICK, QUICK_TRAINING = {"seeds": 3, "per_type": 60}, {"steps": 300}
