"""What can be set where pairs are made and looked at. Needs no torch: help and menus are made from it."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from math import nan
from typing import Any

from ..choices import MODES, POLICIES, PRESETS, SCORES, STAGES
from ..errors import Refused
from ..settings import check_settings, check_values, setting


@dataclass(frozen=True)
class Settings:
    """How pairs are made. Raises Refused for values out of range, or steps that the sampler cannot run with.

    preset: see `samplers.presets`; graded: see `samplers.stage_presets`; context: see `images.windows.context_side`;
    mode, feather: see `synthesis.compose`.
    """

    preset: str = setting(
        "recommended", "Sampler settings. paper is FAST as published and needs 50 steps.", choices=PRESETS
    )
    steps: int = setting(20, "Sampling steps. Each calls the model once, twice with guidance.", low=1, high=1000)
    guidance: float = setting(
        2.0, "Classifier-free guidance towards the anomaly; 1 switches it off and is twice as fast.", low=0
    )
    aware: bool = setting(
        True,
        "Give the model the mask and the background, as a compact base is trained with them.",
        off="Do not give the model the mask and the background, as in the papers.",
    )
    context: float = setting(
        1.0, "Normal surface that the window shows on each side of the mask, in lengths of the mask's box.", low=0
    )
    mode: str = setting(
        "difference",
        "How the result enters the image. difference adds the change and keeps the surface's fine texture. paste "
        "copies the pixels inside the mask, as in the papers.",
        choices=MODES,
    )
    feather: int = setting(0, "Width in pixels over which the defect fades in, from the mask's edge inwards.", low=0)
    farm: float = setting(
        1.0, "With an adapter of FAST: FARM's share of the estimate in the mask; 0 leaves FARM out.", low=0, high=1
    )
    farm_until: float | None = setting(
        None,
        "Noise level below which FARM no longer works. By default that of the preset: 40, in the paper 2.",
        low=0,
        below=1000,
    )
    graded: str | None = setting(
        None,
        "Parts of STAGE to use. By default all with an adapter of STAGE, else none. stage-paper needs 1000 steps.",
        choices=STAGES,
    )

    def __post_init__(self) -> None:
        from .start import sampling  # brings torch, which help and menus do without

        check_settings(self)
        for stage in {None, self.graded}:
            sampling(self.preset, self.steps, stage).levels()


@dataclass(frozen=True)
class Look:
    """How a defect is asked to look; None leaves an entry to the base. See `datasets.surfaces.crops.Appearance`."""

    contrast: float | None = setting(
        None, "Below 0 darker than the surface, above 0 lighter. By default the model decides.", low=-1, high=1
    )
    strength: float | None = setting(
        None,
        "How much the defect changes the surface, from 0.1 faint to 0.6 strong. By default the model decides.",
        low=0,
        high=1,
    )
    softness: float | None = setting(
        None, "How softly the defect ends, from 0.1 sharp to 0.7 blurred. By default the model decides.", low=0, high=1
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def free(self) -> bool:
        """Whether all is left to the base."""
        return all(value is None for value in astuple(self))

    def row(self) -> list[float]:
        """The entries, NaN for None: a row of what `modules.appearance.AppearanceTokens` reads."""
        return [nan if value is None else float(value) for value in astuple(self)]


FREE = Look()


@dataclass(frozen=True)
class MakeSettings:
    """How a defect is made on one photograph. Raises Refused for values out of range."""

    seed: int = setting(0, "Decides every random choice: another seed is another defect.", low=0)
    steps: int = setting(10, "Sampling steps. 10 is quick, more draw finer defects.", low=1, high=1000)
    guidance: float = setting(
        2.0, "Classifier-free guidance towards the anomaly; 1 switches it off and is twice as fast.", low=0
    )
    tries: int = setting(3, "Draws at most, with other seeds, until the defect is visible.", low=1, high=32)
    refine: bool = setting(
        True,
        "Let the mask that is written follow the defect.",
        off="Write the mask as it was given, and redraw all of it. By default the mask that is written holds only the "
        "pixels that the defect fills.",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Policy:
    """What happens to pairs whose defect is not visible. Raises Refused for values that are out of range or exclude
    each other."""

    name: str = setting(
        "keep",
        "Pairs whose defect is not visible: drop them, keep and flag them, or refine: make every pair several more "
        "times with other seeds and settings, and keep the best.",
        choices=POLICIES,
    )
    redraw: int = setting(0, "New seeds to try for a pair that is not visible, before it is kept or dropped.", low=0)
    rounds: int = setting(3, "Rounds of refinement per pair; each costs as much as the first draw.", low=1)

    def __post_init__(self) -> None:
        if self.name not in POLICIES:
            raise Refused("policy", repr(self.name), f"one of {', '.join(POLICIES)}")
        check_values(Policy, redraw=self.redraw, rounds=self.rounds)
        if self.name == "refine" and self.redraw:
            raise Refused(
                "redraw", "refine tries new seeds itself", remedy="leave redraw out, or choose another policy"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What defines a run: rounds for "refine" alone."""
        rounds = {"rounds": self.rounds} if self.name == "refine" else {}
        return {"name": self.name, "redraw": self.redraw, **rounds}


DROP = Policy("drop")  # the default for pairs to train on: a mask that shows nothing is a wrong label


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run beside those of its pairs."""

    count: int = setting(help="Pairs to make, including those that are dropped or blank.", low=1)
    seed: int = setting(0, "Decides every random choice.")
    negatives: int = setting(
        64, "Samples of normal surface that the visibility threshold is measured on; more make it steadier.", low=1
    )


@dataclass(frozen=True)
class WorstSettings:
    """Which pairs of a folder to look at."""

    by: str = setting(
        "visibility",
        "Score to sort by. Low values are the worst, except for seam and nearest_real, where high ones are. The flag "
        "visible of `synthesize` comes from excess, and from visibility where there is no excess.",
        choices=SCORES,
    )
    count: int = setting(12, "Pairs to show.", low=1)
