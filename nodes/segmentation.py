"""Train Segmenter and Evaluate Segmentation: do pairs train a better segmentation network?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import comfy.model_management
import comfy.utils
import torch
import torch.nn.functional as F
from comfy_api.latest import io
from torch import Tensor, nn

from ..datasets.sample import Sample
from ..errors import Refused
from ..evaluation.cases import case_sheet
from ..evaluation.cell import tested_values
from ..evaluation.report import compare
from ..evaluation.segmenter.testing import Tested, test
from ..evaluation.segmenter.training import Record, Training, train_segmenter
from ..evaluation.settings import Study
from ..images.drawing import LETTERS, Table, table_picture
from . import sockets
from .errors import answer
from .images import to_batch
from .pairs import pairs_root, pairs_state, saved_pairs
from .sockets import CATEGORY, DATA_SEED, single, widget
from .split_dataset import Dataset
from .tables import markdown, on_node

ROOM = 4 * 2**30  # bytes that a training may want on the device, which models of other nodes may still fill

COLUMNS = 4  # a type's best two and worst two fill a line
MEASURED = ("iou", "recall", "f1", "ap", "auroc", "aupro")  # without those at a threshold that a study chooses
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


class TrainSegmenter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_TrainSegmenter",
            display_name="Train Segmenter",
            category=f"{CATEGORY}/evaluation",
            description=(
                "Trains a segmentation network to find defects: on the real ones of the training part alone, or with "
                "synthetic pairs beside them. The real crops of a seed are the same with and without pairs, so two of "
                "these nodes compare."
            ),
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="From Split Defect Dataset; only its training part is read."),
                widget(
                    Study,
                    "networks",
                    "network",
                    more="unet has an ImageNet encoder and 5.2 million parameters; it needs "
                    "segmentation-models-pytorch and timm. small_unet has 0.5 million, needs nothing and takes minutes "
                    "on a CPU. segformer (SegFormer-B0, needs transformers), bisenetv2 and stdc1 are the papers' "
                    "networks.",
                ),
                widget(
                    Training, "steps", more="Each takes 4 real crops and, with pairs, 4 synthetic ones.", max=100_000
                ),
                widget(Training, "crop", more="The time grows with its square.", max=1024, step=8),
                widget(Training, "seed", more="Compare under the same seed, and under several.", **DATA_SEED),
                io.String.Input(
                    "pairs",
                    default="",
                    optional=True,
                    tooltip="Folder of pairs below ComfyUI's output. Connect Save Pairs' folder, so that the pairs are "
                    "saved first. Empty (default): real defects only.",
                ),
                widget(
                    Training,
                    "hold_out",
                    more="The record then says whether the steps suffice. Off: all groups train, as in a comparison, "
                    "and the last weights are kept.",
                    optional=True,
                ),
                widget(Training, "weights", optional=True),
            ],
            outputs=[
                sockets.Segmenter.Output("segmenter", display_name="segmenter", tooltip="For Evaluate Segmentation."),
                io.String.Output(
                    "record",
                    display_name="record",
                    tooltip="Steps, the best of them, validation, seconds, and how many crops were seen, in words.",
                ),
            ],
            is_input_list=True,  # pairs that were saved one by one bring their folder's name as often
        )

    @classmethod
    def validate_inputs(cls, pairs=None):
        return answer(cls, pairs_root, pairs or [])

    @classmethod
    def fingerprint_inputs(cls, pairs=None, **_):
        return pairs_state(pairs)

    @classmethod
    def execute(
        cls,
        dataset: list,
        network: list[str],
        steps: list[int],
        crop: list[int],
        seed: list[int],
        pairs: list[str] | None = None,
        hold_out: list[bool] | None = None,
        weights: list[str] | None = None,
    ) -> io.NodeOutput:
        data, *settings = single(
            dataset=dataset,
            network=network,
            steps=steps,
            crop=crop,
            seed=seed,
            hold_out=hold_out or [Training.hold_out],
            weights=weights or [Training.weights],
        )
        segmenter = train(data, *settings, saved_pairs(pairs or [], data))
        return io.NodeOutput(segmenter, in_words(segmenter))


class EvaluateSegmentation(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_EvaluateSegmentation",
            display_name="Evaluate Segmentation",
            category=f"{CATEGORY}/evaluation",
            description=(
                "Tests a segmenter on the whole images that were held back, and shows its metrics per type with its "
                "best and worst cases."
            ),
            inputs=[
                sockets.Dataset.Input(
                    "dataset",
                    tooltip="From Split Defect Dataset, the one that the segmenter was trained "
                    "on; only its held-back part is read.",
                ),
                sockets.Segmenter.Input("segmenter", tooltip="From Train Segmenter."),
            ],
            outputs=[
                io.String.Output(
                    "table",
                    display_name="table",
                    tooltip="Markdown, in percent: IoU with its 95 % interval, recall, best F1, AP, AUROC "
                    "and AU-PRO of every type, their mean over types, and over all images.",
                ),
                io.Float.Output(
                    "iou", display_name="iou", tooltip="Mean IoU over types: 0 finds nothing, 1 is every pixel right."
                ),
                io.Image.Output(
                    "cases",
                    display_name="cases",
                    tooltip="The best and the worst images of every type, "
                    "and good ones with false alarms: image, truth, found.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, dataset, segmenter) -> io.NodeOutput:
        table, iou, cases = evaluate(dataset, segmenter)
        text = markdown(table)
        return io.NodeOutput(text, iou, cases, ui=on_node(results_picture(table, cases), text, cls))


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained network of evaluation.networks.NETWORKS, by that name, in evaluation mode on the host's device;
    hold_out: as it was asked for; seen: the real images of its training part."""

    name: str
    network: nn.Module
    record: Record
    hold_out: bool
    seen: frozenset[Path]


def train(
    dataset: Dataset, name: str, steps: int, crop: int, seed: int, hold_out: bool, weights: str, pairs: Sequence[Sample]
) -> Segmenter:
    """Train on the dataset's training part, and on `pairs` beside it; `hold_out`, `weights`: see `Training`.

    Raises:
        Refused: an unknown network, no defect in the training part, a package or pretrained weights that the network
            needs are missing, a loss that is no longer finite.
    """
    stop, device = comfy.model_management.throw_exception_if_processing_interrupted, training_device()
    bar = comfy.utils.ProgressBar(steps)
    # The host runs its nodes in inference mode, in which nothing can be trained.
    with torch.inference_mode(False), torch.enable_grad():
        network, record = train_segmenter(
            name,
            dataset.train,
            pairs,
            dataset.split,
            Training(
                crop=crop,
                steps=steps,
                hold_out=hold_out,
                seed=seed,
                weights=weights,
                augmentation="light",  # the other needs a package that ComfyUI lacks
                device=str(device),
            ),
            check_interrupt=stop,
            report=lambda _, step, *__: bar.update_absolute(step),
        )
    return Segmenter(name, network, record, hold_out, frozenset(sample.image for sample in dataset.train))


def in_words(segmenter: Segmenter) -> str:
    """The record in words."""
    record = segmenter.record
    return (
        f"{segmenter.name}, {record.parameters / 1e6:.2f} million parameters: {record.steps} steps in "
        f"{record.seconds:.0f} s. {_kept(segmenter)} Crops seen: {record.real} real, {record.synthetic} synthetic."
    )


def _kept(segmenter: Segmenter) -> str:
    record, curve = segmenter.record, segmenter.record.curve
    if curve:
        return (
            f"Kept are the weights of step {record.best_step}, with an IoU of {max(iou for _, iou in curve):.1%} on "
            f"{len(record.validation)} groups held out of the training part; at the end it was {curve[-1][1]:.1%}."
        )
    few = ": the training part has too few groups with defects to hold one out" if segmenter.hold_out else ""
    return f"Kept are the last weights{few}."


def training_device() -> torch.device:
    """The host's device, with room made for a training."""
    device = comfy.model_management.get_torch_device()
    comfy.model_management.free_memory(ROOM, device)
    return device


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

    tested = test(segmenter.network, dataset.held_back, dataset.split.groups, before_every_image)
    sheet = case_sheet(segmenter.network, tested, dataset.held_back, COLUMNS)
    values = tested_values(tested)
    return _table(dataset, tested, values), values["mean"]["iou"], to_batch([sheet / 255])


def results_picture(table: Table, cases: Tensor) -> Tensor:
    """The table above the cases as one picture [1, h, w, 3], its letters as large as the width allows."""
    table = replace(table, notes=[*table.notes, CASES])
    size = LETTERS * cases.shape[2] // table_picture(table).shape[1]
    parts = [table_picture(table, max(size, LETTERS)), cases[0].cpu()]
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
    iou, *others = (_percent(metrics.get(name)) for name in MEASURED)
    return [iou, between, *others]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


NODES = [TrainSegmenter, EvaluateSegmentation]
