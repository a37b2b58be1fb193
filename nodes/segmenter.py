"""A segmentation network trained inside the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.utils
import torch
from torch import nn

from ..datasets.mvtec import Sample
from ..evaluation.segmenter.training import Record, Training, train_segmenter
from .errors import named
from .split_dataset import Dataset

NODE = "Train Segmenter"
ROOM = 4 * 2**30  # bytes that a training may want on the device, which models of other nodes may still fill


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
    dataset: Dataset, name: str, steps: int, crop: int, seed: int, hold_out: bool, pairs: Sequence[Sample]
) -> Segmenter:
    """Train on the dataset's training part, and on `pairs` beside it; `hold_out`: see `Training`.

    Raises:
        ValueError: an unknown network, no defect in the training part, what the network needs is not installed, a loss
            that is no longer finite.
    """
    stop, device = comfy.model_management.throw_exception_if_processing_interrupted, _device()
    bar = comfy.utils.ProgressBar(steps)
    # The host runs its nodes in inference mode, in which nothing can be trained.
    with named(NODE), torch.inference_mode(False), torch.enable_grad():
        network, record = train_segmenter(
            name,
            dataset.train,
            pairs,
            dataset.split,
            Training(crop=crop, steps=steps, hold_out=hold_out, seed=seed, device=str(device)),
            check_interrupt=stop,
            report=lambda _, step, *__: bar.update_absolute(step),
        )
    return Segmenter(name, network, record, hold_out, frozenset(sample.image for sample in dataset.train))


def told(segmenter: Segmenter) -> str:
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


def _device() -> torch.device:
    device = comfy.model_management.get_torch_device()
    comfy.model_management.free_memory(ROOM, device)
    return device
