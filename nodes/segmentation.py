"""The test of a segmenter inside the host: its table, and its best and worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import comfy.model_management
import comfy.utils
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import Refused
from ..evaluation.cases import case_sheet
from ..evaluation.cell import tested_values
from ..evaluation.metrics import NAMES
from ..evaluation.report import compare
from ..evaluation.segmenter.testing import Tested, test
from .errors import named
from .images import to_batch
from .segmenter import Segmenter
from .split_dataset import Dataset
from .tables import SIZE, Table, picture

NODE = "Evaluate Segmentation"
COLUMNS = 4  # a type's best two and worst two fill a line
HEAD = ["object / type", "images", "IoU", "95 %", "recall", "best F1", "AP", "AUROC", "AU-PRO"]
NOTES = [
    "In percent. IoU and recall are of the anomaly at probability 0.5; 95 % is IoU's interval over groups (bootstrap).",
    "A type is measured on its own images, 'all images' on every pixel of the held-back part, good images included.",
]
CASES = "Below of every type the best two and the worst two: image, truth, found; then good images with false alarms."
UNDEFINED = (
    "- is not defined: the type has no held-back image, or no normal pixel (AUROC, AU-PRO), or fewer than two groups "
    "(95 %)."
)


def evaluate(dataset: Dataset, segmenter: Segmenter) -> tuple[Table, float, Tensor]:
    """The table, the mean IoU over types, and the cases [1, h, w, 3] in 0 .. 1.

    Raises:
        Refused: images that the segmenter was trained on, a picture that can no longer be read, scores that are not
            finite.
    """
    _check_unseen(dataset, segmenter)
    bar = comfy.utils.ProgressBar(len(dataset.held_back))

    def before_every_image() -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(1)

    with named(NODE):
        tested = test(segmenter.network, dataset.held_back, dataset.split.groups, before_every_image)
        sheet = case_sheet(segmenter.network, tested, dataset.held_back, COLUMNS)
    values = tested_values(tested)
    return _table(dataset, tested, values), values["mean"]["iou"], to_batch([sheet / 255])


def shown(table: Table, cases: Tensor) -> Tensor:
    """The table above the cases as one picture [1, h, w, 3], its letters as large as the width allows."""
    table = replace(table, notes=[*table.notes, CASES])
    size = SIZE * cases.shape[2] // picture(table).shape[1]
    parts = [picture(table, max(size, SIZE)), cases[0].cpu()]
    width = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, 0, 0, width - part.shape[1]), value=1.0) for part in parts])[None]


def _check_unseen(dataset: Dataset, segmenter: Segmenter) -> None:
    known = sum(sample.image in segmenter.seen for sample in dataset.held_back)
    if known:
        raise Refused(
            "dataset",
            f"{known} of the {len(dataset.held_back)} held-back images are among those that the segmenter was trained "
            "on",
            remedy="connect one Split Defect Dataset to both nodes",
            door=NODE,
        )


def _table(dataset: Dataset, tested: Tested, values: Mapping) -> Table:
    kinds = sorted({(s.object, s.type) for s in (*dataset.train, *dataset.held_back) if s.mask is not None})
    rows, images = [], values["images"]
    for kind in kinds:
        own = [image for image in images if (image["object"], image["type"]) == kind]
        rows.append([" / ".join(kind), str(len(own)), *_cells(values["types"].get("/".join(kind), {}), own)])
    defects = [image for image in images if image["type"] != "good"]
    together = [image | {"object": "", "type": "any"} for image in images]
    rows.append(["mean over types", str(len(defects)), *_cells(values["mean"], defects)])
    rows.append(["all images", str(len(images)), *_cells(values["overall"], together)])
    undefined = any("-" in row for row in rows)
    return Table(HEAD, rows, [*NOTES, UNDEFINED] if undefined else NOTES)


def _cells(metrics: Mapping[str, float | None], images: Sequence[dict]) -> list[str]:
    """IoU with its interval, and the other metrics."""
    interval = compare.score([{"method": "", "seed": 0, "images": images}], "")
    between = f"{100 * interval.low:.1f} to {100 * interval.high:.1f}" if interval else "-"
    iou, *others = (_percent(metrics.get(name)) for name in NAMES)
    return [iou, between, *others]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
