"""What can be set of a study and of its networks' training. Needs no torch: help and menus are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..choices import AUGMENTATIONS, LABELS, NETWORKS
from ..errors import Refused
from ..settings import check_settings, setting
from ..synthesis.settings import Settings


@dataclass(frozen=True)
class Training:
    """The recipe of a network's training; the same for every arm of a comparison.

    hold_out: train on about four fifths of the groups, evaluate on the others every `evaluate_every` steps, and keep
    the weights that were best there; otherwise all groups train and the last weights stay; average: decay of the weight
    average that is evaluated and kept.

    Raises Refused for a setting out of its range.
    """

    crop: int = setting(128, "Side of the training crops in pixels, at the images' own scale.", low=32)
    batch: int = setting(4, "Real crops per step.", low=1)
    synthetic: int = setting(4, "Synthetic crops per step, beside the real ones, where there are pairs.", low=1)
    synthetic_until: float = setting(
        1.0,
        "Share of the steps after which the pairs no longer train: at 0.5 the second half has real defects alone.",
        above=0,
        high=1,
    )
    synthetic_weight: float = setting(
        1.0, "Weight of the loss on synthetic crops; that on real crops weighs 1.", above=0
    )
    labels: str = setting(
        "refined",
        "Masks of the pairs that train: as requested, or refined, which are the pixels that changed.",
        choices=LABELS,
    )
    ignore: int = setting(1, "Pixels along the edges of synthetic masks that do not count.", low=0)
    augmentation: str = setting(
        "standard",
        "Changes of the crops: light mirrors them and changes the exposure; standard adds scale, small turns, gamma, "
        "blur, noise and JPEG.",
        choices=AUGMENTATIONS,
    )
    steps: int = setting(600, "Optimiser steps of every network; the learning rate falls to zero by a cosine.", low=1)
    folds: int = setting(
        2,
        "Parts of the training groups for the threshold: a network is trained without each, and the threshold is the "
        "best on what they did not see. 0 keeps 0.5.",
        low=0,
    )
    hold_out: bool = setting(False, "Hold out a fifth of the groups and keep the weights that are best on them.")
    evaluate_every: int = setting(50, "Steps between two evaluations on the groups that are held out.", low=1)
    learning_rate: float = setting(1e-3, "Peak learning rate; a third of it for pretrained weights.", above=0)
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
        if self.folds == 1:
            raise Refused("folds", "1", "0, or 2 and more")


@dataclass(frozen=True)
class Study:
    """What is compared on what.

    data: a dataset's folder; split: its split.json; methods: see `evaluation.methods`; base: a compact base trained
    under that split, or on drawn surfaces; adapters: trained on that base, at most one of each method with the base
    given mask and background and one without; shots: real defects of every type that train, None is all; types: None is
    all; textures: folder of DRAEM's textures, None the procedural surfaces; layout: the data's, None detects it; pairs:
    further methods, as folders of pairs that are there, each as DIR or NAME=DIR; shift: COLUMN=VALUE of the data's
    manifest.csv, images of which test alone, see `evaluation.shift`.
    """

    data: str
    split: str
    methods: tuple[str, ...]
    networks: tuple[str, ...] = setting(("unet",), "Segmentation networks to train.", choices=NETWORKS)
    seeds: int = setting(3, "Number of seeds. Each trains every network and samples every pair anew.", low=1)
    shots: tuple[int | None, ...] = (None,)
    per_type: int = setting(200, "Pairs per defect type and seed.", low=1)
    base: str | None = None
    adapters: tuple[str, ...] = ()
    types: tuple[str, ...] | None = None
    textures: str | None = None
    settings: Settings = field(default_factory=Settings)
    training: Training = field(default_factory=Training)
    layout: str | None = None
    pairs: tuple[str, ...] = ()
    shift: str | None = None


# A study that says better or worse, with its own noise: changes of Study and of Training.
QUICK, QUICK_TRAINING = {"seeds": 3, "per_type": 60}, {"steps": 300, "folds": 0}
