"""The pack's own socket types, declared once."""

from __future__ import annotations

from inspect import signature

from comfy_api.latest import io

from .folders import AS_TYPED, choices

CATEGORY = "anomaly synthesis"

Crop = io.Custom("SIAS_CROP")  # synthesis.windows.Crop: which window of which image every crop is
Scores = io.Custom("SIAS_SCORES")  # list of nodes.pairs.Score, one per pair of a batch
Dataset = io.Custom("SIAS_DATASET")  # nodes.split_dataset.Dataset: images that train, images held back, and their split
RealDefects = io.Custom("SIAS_REAL_DEFECTS")  # nodes.real_defects.Measured: features of the real defects that train
Segmenter = io.Custom("SIAS_SEGMENTER")  # nodes.segmenter.Segmenter: a trained segmentation network and its record
Adapter = io.Custom("SIAS_ADAPTER")  # nodes.adapters.LoadedAdapter: trained tokens with FARM or with MGA heads
MaskSchedule = io.Custom("SIAS_MASK_SCHEDULE")  # samplers.mask_schedule.MaskSchedule
# As in datasets.layouts, which is not imported before a node runs; a test holds them together.
LAYOUTS = [
    "auto",
    "mvtec",
    "loco",
    "btad",
    "visa",
    "coco",
    "labelme",
    "stems",
    "index",
    "yolo",
    "folder",
    "voc",
    "roboflow",
    "mvtec_ad2",
    "mvtec_3d",
    "dagm",
    "severstal",
    "real_iad",
    "magnetic_tile",
    "kolektor",
    "kolektor2",
]


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
