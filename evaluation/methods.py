"""The methods that are compared: from the same normals, masks, types and seeds to pictures with defects.

A method is one entry here; "real-only" adds no pairs and needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ..baselines.copy_paste import copy_paste
from ..baselines.cutpaste import cutpaste
from ..baselines.draem import Textures, draem
from ..datasets.mvtec import Sample, read_sample
from ..datasets.pictures import Picture
from ..modules.compact_ldm import CompactLDM
from ..modules.fast import FastModules
from ..synthesis.pair import Settings, make_pairs
from ..synthesis.plan import Planned

REAL_ONLY = "real-only"


@dataclass(frozen=True)
class Tools:
    """What methods may use: the training part alone.

    train: its samples; base: a compact base trained under the same split, for the methods that need one; adapter: of
    FAST, on that base; settings: how they sample; textures: DRAEM's.
    """

    train: Sequence[Sample]
    base: CompactLDM | None = None
    adapter: FastModules | None = None
    settings: Settings = field(default_factory=Settings)
    textures: Textures = field(default_factory=Textures)

    def source(self, name: str) -> Sample:
        """The training sample of that name. Raises ValueError where there is none."""
        for sample in self.train:
            if sample.name == name:
                return sample
        raise ValueError(f"Evaluate: {name} is not in the training part; its defect must not be copied.")


Method = Callable[[Sequence[Planned], Tools], list[Picture]]


def _cutpaste(items: Sequence[Planned], tools: Tools, variant: str) -> list[Picture]:
    return [cutpaste(item.job.picture, item.job.mask, item.job.seed, variant) for item in items]


def _draem(items: Sequence[Planned], tools: Tools) -> list[Picture]:
    return [draem(item.job.picture, item.job.mask, item.job.seed, tools.textures) for item in items]


def _copy_paste(items: Sequence[Planned], tools: Tools) -> list[Picture]:
    """Every mask gets the defect that its own shape came from."""
    made = []
    for item in items:
        source, mask = read_sample(tools.source(item.mask_name))
        made.append(copy_paste(item.job.picture, item.job.mask, source, mask))
    return made


def _aias(items: Sequence[Planned], tools: Tools, aware: bool) -> list[Picture]:
    if tools.base is None:
        raise ValueError("Evaluate: the AIAS methods need a base trained under this split; give --base.")
    settings = replace(tools.settings, aware=aware)
    return [pair.picture for pair in make_pairs(tools.base, [item.job for item in items], settings)]


def _fast(items: Sequence[Planned], tools: Tools, farm: float) -> list[Picture]:
    if tools.base is None or tools.adapter is None:
        raise ValueError("Evaluate: the FAST methods need a base and its adapter; give --base and --adapter.")
    settings = replace(tools.settings, farm=farm)
    return [pair.picture for pair in make_pairs(tools.base, [i.job for i in items], settings, tools.adapter)]


METHODS: dict[str, Method] = {
    "cutpaste": partial(_cutpaste, variant="patch"),
    "cutpaste-scar": partial(_cutpaste, variant="scar"),
    "draem": _draem,
    "copy-paste": _copy_paste,
    "aias": partial(_aias, aware=True),
    "aias-unaware": partial(_aias, aware=False),
    "fast": partial(_fast, farm=1.0),
    "fast-no-farm": partial(_fast, farm=0.0),
}
NEEDS_ADAPTER = ("fast", "fast-no-farm")
NEEDS_BASE = ("aias", "aias-unaware", *NEEDS_ADAPTER)


def check_methods(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is neither a method nor "real-only"."""
    unknown = [name for name in names if name not in METHODS and name != REAL_ONLY]
    if unknown:
        raise ValueError(
            f"Evaluate: unknown method {', '.join(map(repr, unknown))}; choose from {', '.join([REAL_ONLY, *METHODS])}."
        )
