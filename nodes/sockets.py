"""What the nodes' schemas share: the pack's own socket types, menus, and widgets that several nodes have."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

from comfy_api.latest import io

from ..choices import LAYOUTS as NAMES
from ..errors import Refused
from ..settings import settings_of, shown
from .folders import AS_TYPED, choices

CATEGORY = "anomaly synthesis"
MAX_SEED, MAX_STEPS = 0xFFFFFFFFFFFFFFFF, 1000  # of sampling, as ComfyUI's own samplers have them
MAX_DATA_SEED = 2**63 - 1  # of plans, splits and trainings

SEED = (
    "The random choice. Item i of a batch uses seed + i, whatever else is in the batch. Items of a list differ, too, "
    "unless another node computes the seed."
)

# Hosts that know of it start an index with "increment"; older ones offer the choice and start with "randomize".
_MODES = getattr(io, "ControlAfterGenerate", None)
NEXT = _MODES.increment if _MODES else True
Crop = io.Custom("SIAS_CROP")  # synthesis.windows.Crop: which window of which image every crop is
Scores = io.Custom("SIAS_SCORES")  # list of nodes.compose.Score, one per pair of a batch
Dataset = io.Custom("SIAS_DATASET")  # nodes.split_dataset.Dataset: images that train, images held back, and their split
RealDefects = io.Custom("SIAS_REAL_DEFECTS")  # nodes.nearest.Measured: features of the real defects that train
Segmenter = io.Custom("SIAS_SEGMENTER")  # nodes.segmentation.Segmenter: a trained segmentation network and its record
Adapter = io.Custom("SIAS_ADAPTER")  # nodes.adapters.LoadedAdapter: trained tokens with FARM or with MGA heads
MaskSchedule = io.Custom("SIAS_MASK_SCHEDULE")  # samplers.mask_schedule.MaskSchedule

DATA_SEED = {"min": 0, "max": MAX_DATA_SEED, "control_after_generate": False}
LAYOUTS = ["auto", *NAMES]


def widget(of: type, name: str, id: str = "", more: str = "", **options: Any) -> io.Input:
    """The widget of a setting: its default, range and help.

    Args:
        of: a dataclass with settings, see `settings.setting`; name: its field.
        id: of the input, where it is not the field's name.
        more: sentences that only this node has to say.
        options: of the widget, in place of the setting's own: max, step, optional, ...
    """
    found = settings_of(of)[name]
    default = options.pop("default", found.default)
    if found.choices:
        kind, limits = io.Combo, {"options": list(found.choices)}
        default = found.choices[0] if default is None else default[0] if isinstance(default, tuple) else default
    else:
        kind = {"int": io.Int, "float": io.Float, "bool": io.Boolean}[found.type]
        number = float if found.type == "float" else int
        limits = {"min": found.low, "max": found.high}
        limits = {side: number(bound) for side, bound in limits.items() if bound is not None}
    words = f"{found.help} {more}".strip()
    return kind.Input(id or name, default=default, tooltip=f"{words} Default {shown(default)}.", **limits | options)


def advanced() -> dict[str, bool]:
    """Keyword of a widget that is seldom used, for hosts that hide such ones."""
    return {"advanced": True} if "advanced" in signature(io.Combo.Input.__init__).parameters else {}


def dataset_menu() -> io.Input:
    """The menu beside a node's `folder`, which stays a text: wires and older workflows lead to it."""
    return io.Combo.Input(
        "choose",
        options=[AS_TYPED, *choices()],
        default=AS_TYPED,
        optional=True,
        tooltip="The folders that are there: in ComfyUI's input, output and datasets folders, and those that you "
        f"listed (see the help page). '{AS_TYPED}' (default): folder counts; else what is chosen here goes first.",
    )


def single(**inputs: Sequence) -> list:
    """The one value of every input. Raises Refused where a list holds different ones."""
    for name, values in inputs.items():
        others = [value for value in values if value != values[0]]
        if others:
            raise Refused(
                name,
                f"a list of different values ({values[0]}, {others[0]}, ...), but this node runs once",
                remedy="connect one value",
            )
    return [values[0] for values in inputs.values()]
