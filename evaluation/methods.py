"""The methods that are compared: from the same normals, masks, types and seeds to pictures with defects.

A method is one entry here; "real-only" adds no pairs and needs none. A method that samples can be asked for with other
settings behind an @: "fast@preset=paper,steps=50".
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..baselines.copy_paste import copy_paste
from ..baselines.cutpaste import cutpaste
from ..baselines.draem import Textures, draem
from ..baselines.drawn import draw_defects
from ..datasets.sample import Sample, read_sample
from ..datasets.surfaces.kin import drawn_type
from ..errors import Refused
from ..files.relative_path import name_problem
from ..images.pictures import Picture
from ..modules.compact_ldm import NORMAL, CompactLDM
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..settings import settings_of
from ..synthesis.adapters import Adapters
from ..synthesis.labels import changed_mask
from ..synthesis.make import Redraw
from ..synthesis.pair import Settings, make_pairs
from ..synthesis.plan import Planned

REAL_ONLY = "real-only"
AdapterKey = tuple[str, bool]  # method, and whether it was trained with the base conditioned on mask and background


@dataclass(frozen=True)
class Tools:
    """What methods may use: the training part alone.

    train: its samples; base: a compact base trained under the same split, for the methods that need one; adapters: on
    that base; settings: how they sample; textures: DRAEM's; digests: of the files of "base" and of the adapters, by the
    same key.
    """

    train: Sequence[Sample]
    base: CompactLDM | None = None
    adapters: Mapping[AdapterKey, FastModules | StageModules] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    textures: Textures = field(default_factory=Textures)
    digests: Mapping[str | AdapterKey, str] = field(default_factory=dict)

    def source(self, name: str, type: str) -> Sample:
        """The training sample of that name and type. Raises Refused where there is none."""
        for sample in self.train:
            if (sample.name, sample.type) == (name, type):
                return sample
        raise Refused(name, "it is not in the training part, so its defect must not be copied")


Made = tuple[Picture, np.ndarray]  # a picture and the pixels of its mask that changed, bool [H, W]
Method = Callable[[Sequence[Planned], Tools], list[Made]]


def _each(items: Sequence[Planned], tools: Tools, paint: Callable[[Planned, Tools], Picture]) -> list[Made]:
    """Pictures that are painted without a model: what changed is known exactly."""
    pictures = [paint(item, tools) for item in items]
    return [
        (picture, changed_mask(picture, item.job.picture, item.job.mask.numpy()))
        for picture, item in zip(pictures, items, strict=True)
    ]


def _cutpaste(item: Planned, tools: Tools, variant: str) -> Picture:
    return cutpaste(item.job.picture, item.job.mask, item.job.seed, variant)


def _draem(item: Planned, tools: Tools) -> Picture:
    return draem(item.job.picture, item.job.mask, item.job.seed, tools.textures)


def _copy_paste(item: Planned, tools: Tools) -> Picture:
    """Every mask gets the defect that its own shape came from."""
    source, mask = read_sample(tools.source(item.mask_name, item.job.type))
    return copy_paste(item.job.picture, item.job.mask, source, mask)


def _drawn(item: Planned, tools: Tools) -> Picture:
    job = item.job
    return draw_defects(job.picture, job.mask, drawn_type(job.type, job.seed), job.seed)[0]


def _sampled(items: Sequence[Planned], tools: Tools, of: Sequence[str] = (), paste: bool = False, **changes):
    """By the base; of: with the adapters of these methods; paste: from copied defects, see PASTED."""
    settings = replace(tools.settings, **changes)
    adapters = Adapters(**{one: tools.adapters[one, settings.aware] for one in of}) if of else None
    jobs = [replace(item.job, **dict(zip(("object", "type"), _label(item, tools), strict=True))) for item in items]
    if paste:
        pasted = [Redraw(_copy_paste(item, tools), PASTED) for item in items]
        jobs = [replace(job, redraw=redraw) for job, redraw in zip(jobs, pasted, strict=True)]
    pairs = make_pairs(tools.base, jobs, settings, adapters, controlled=True)
    return [(pair.picture, pair.refined_mask) for pair in pairs]


def _label(item: Planned, tools: Tools) -> tuple[str, str]:
    """The item's (object, type), or what stands for it in a base that does not know it: the drawn type nearest to its
    name, else one of the base's types in turn."""
    job, labels = item.job, tools.base.config.labels
    if (job.object, job.type) in labels:
        return job.object, job.type
    types = [label for label in labels if label[1] != NORMAL]
    near = [label for label in types if label[1] == drawn_type(job.type, job.seed)]
    return (near or types)[job.seed % len(near or types)]


NEEDS_ADAPTER = {"fast": ("fast",), "stage": ("stage",), "fast-and-stage": ("fast", "stage")}
METHODS: dict[str, Method] = {
    "cutpaste": partial(_each, paint=partial(_cutpaste, variant="patch")),
    "cutpaste-scar": partial(_each, paint=partial(_cutpaste, variant="scar")),
    "draem": partial(_each, paint=_draem),
    "copy-paste": partial(_each, paint=_copy_paste),
    "drawn": partial(_each, paint=_drawn),
    "aias": _sampled,
    "paste-and-redraw": partial(_sampled, paste=True),
    **{name: partial(_sampled, of=of) for name, of in NEEDS_ADAPTER.items()},
}
SHORT = {"aias-unaware": "aias@aware=false", "fast-no-farm": "fast@farm=0"}
NEEDS_BASE = ("aias", "paste-and-redraw", *NEEDS_ADAPTER)
NEEDS_DEFECTS = ("copy-paste", "paste-and-redraw", *NEEDS_ADAPTER)  # of the training part
PASTED = 0.5  # share of the noise levels that paste-and-redraw samples again: the shape stays, the texture is new


def needs(name: str, methods: Container[str]) -> bool:
    """Whether a method, whatever its settings, is one of `methods` (NEEDS_BASE, NEEDS_ADAPTER)."""
    return _parted(name)[0] in methods


def method(name: str) -> Method:
    """The method of a name: one of METHODS or SHORT, or one that samples with "@option=value,..." behind it, options
    being those of `synthesis.pair.Settings`.

    Raises:
        Refused: an unknown name or option, a value that the option cannot take, options for a method that does not
            sample.
    """
    base, options = _parted(name)
    if base not in METHODS:
        known = ", ".join([REAL_ONLY, *METHODS, *SHORT])
        raise Refused("methods", f"unknown method {name!r}", known)
    if not options:
        return METHODS[base]
    if base not in NEEDS_BASE:
        raise Refused(repr(name), f"{base} does not sample and has no options", remedy="leave out what follows the @")
    changes = _changes(name)
    replace(Settings(), **changes)  # a value out of range is better known before the first cell
    return partial(METHODS[base], **changes)


def made_with(name: str, tools: Tools) -> dict[str, str | None]:
    """Digests of the files that a method's pairs depend on."""
    made = {"base": tools.digests.get("base")} if needs(name, NEEDS_BASE) else {}
    keys = adapter_keys(name, tools.settings)
    return made | ({"adapter": "+".join(tools.digests.get(key, "") for key in keys)} if keys else {})


def adapter_keys(name: str, settings: Settings) -> list[AdapterKey]:
    """The adapters that a method needs, trained as it samples; none for most methods."""
    if not needs(name, NEEDS_ADAPTER):
        return []
    aware = replace(settings, **_changes(name)).aware
    return [(one, aware) for one in NEEDS_ADAPTER[_parted(name)[0]]]


def check_adapters(name: str, settings: Settings, adapters: Container[AdapterKey]) -> None:
    """Raise Refused where a method lacks an adapter."""
    for one, aware in adapter_keys(name, settings):
        if (one, aware) not in adapters:
            how = "aware" if aware else "unaware"
            raise Refused(
                name,
                f"no adapter of method {one}, trained with the base {how} of mask and background",
                remedy="give such an adapter",
            )


def pair_folders(given: Sequence[str]) -> dict[str, Path]:
    """{name: folder} of folders of pairs that are judged like methods, each given as DIR or NAME=DIR; DIR has the
    folder's name.

    Raises Refused for a name that no file can have, that is a method's, or that stands there twice, in any case.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equal, folder = text.partition("=")
        if not equal or "/" in name or Path(text).is_dir():
            name, folder = Path(text).resolve().name, text
        if name_problem(name) or "/" in name or not folder:
            raise Refused("pairs", repr(text), "DIR or NAME=DIR, the name without a slash")
        if is_method(name.casefold()):  # some file systems do not know the case
            raise Refused("pairs", f"{name!r} is the name of a method", remedy=f"name the folder: NAME={folder}")
        if name.casefold() in map(str.casefold, found):
            raise Refused("pairs", f"two folders are named {name!r}", remedy=f"name one of them: NAME={folder}")
        found[name] = Path(folder)
    return found


def is_method(name: str) -> bool:
    """Whether a name is "real-only" or a method's, and not that of a folder of pairs."""
    return _parted(name)[0] in (REAL_ONLY, *METHODS)


def check_methods(names: Sequence[str]) -> None:
    """Raise Refused for a name that is neither "real-only" nor a `method`."""
    for name in names:
        if name != REAL_ONLY:
            method(name)


def _parted(name: str) -> tuple[str, str]:
    base, _, options = SHORT.get(name, name).partition("@")
    return base, options


def _changes(name: str) -> dict[str, str | int | float | bool]:
    """The settings that a method's name selects."""
    options = _parted(name)[1]
    return dict(_setting(name, option) for option in options.split(",")) if options else {}


def _setting(name: str, option: str) -> tuple[str, str | int | float | bool]:
    key, _, value = option.partition("=")
    kinds = {key: one.type for key, one in settings_of(Settings).items()}
    if key not in kinds:
        raise Refused(repr(name), f"it sets {key!r}", ", ".join(kinds))
    try:
        return key, _READ[kinds[key]](value)
    except (KeyError, ValueError) as error:
        raise Refused(repr(name), f"it sets {key} to {value!r}", f"a value of type {kinds[key]}") from error


_READ: dict[str, Callable[[str], str | int | float | bool]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": {"true": True, "false": False}.__getitem__,
}
