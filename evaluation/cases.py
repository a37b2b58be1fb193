"""Best and worst cases as a picture: what a network found, beside what it should have found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..datasets.sample import Sample, read_sample, whole_images
from ..images.drawing import labelled_row, tiled
from ..images.pictures import Picture, write_picture
from .metrics import THRESHOLD
from .segmenter.prediction import predict
from .segmenter.testing import Seen, Tested

LONGEST, FONT = 300, 14  # px
OF_A_KIND = 2  # best, and as many worst, of every type; good images with the most false alarms


def save_cases(path: Path, network: nn.Module, tested: Tested, samples: Sequence[Sample]) -> None:
    """Write `case_sheet` as a PNG; nothing where it has no case."""
    sheet = case_sheet(network, tested, samples)
    if sheet is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, Picture(sheet.numpy()))


def case_sheet(network: nn.Module, tested: Tested, samples: Sequence[Sample], columns: int = 2) -> Tensor | None:
    """A tile per case: the image, the truth's outline, the found region's outline.

    Args:
        network: the one that was tested.
        tested: its test.
        samples: the tested ones, to read the pictures from.
        columns: tiles side by side.

    Returns:
        [h, w, 3] uint8; None where no image has a defect and none a false alarm.
    """
    named = {sample.name: sample for sample in whole_images(samples)}
    rows = [_row(network, named[seen.name], words) for seen, words in chosen(tested)]
    return tiled(rows, columns) if rows else None


def chosen(tested: Tested) -> list[tuple[Seen, str]]:
    """(image, words): of every type the best and the worst, no group twice, then the noisiest good images."""
    found = []
    for kind in tested.defects:
        images = [seen for seen in tested.images if (seen.object, seen.type) == kind]
        best = _apart(sorted(images, key=_iou, reverse=True), OF_A_KIND)
        taken = {seen.group for seen in best}
        worst = _apart([seen for seen in sorted(images, key=_iou) if seen.group not in taken], OF_A_KIND)
        found += [(seen, _words(seen)) for seen in best + worst[::-1]]
    good = sorted((seen for seen in tested.images if seen.type == "good"), key=lambda seen: seen.false, reverse=True)
    return found + [(seen, f"good, {seen.false} px of false alarms") for seen in _apart(good, OF_A_KIND) if seen.false]


def _words(seen: Seen) -> str:
    return f"{seen.type}, IoU {100 * _iou(seen):.0f}, {seen.anomalous} px"


def _iou(seen: Seen) -> float:
    return seen.hits / max(seen.anomalous + seen.false, 1)


def _apart(images: Sequence[Seen], count: int) -> list[Seen]:
    """The first images of different groups: pictures of one part say the same thing twice."""
    first: dict[str, Seen] = {}
    for seen in images:
        first.setdefault(seen.group, seen)
    return list(first.values())[:count]


def _row(network: nn.Module, sample: Sample, words: str) -> Tensor:
    picture, mask = read_sample(sample)
    image = picture.image()
    found = predict(network, image) >= THRESHOLD
    truth = torch.zeros_like(found) if mask is None else mask
    shown = image.permute(1, 2, 0)
    return labelled_row([(shown, None), (shown, truth), (shown, found)], words, LONGEST, FONT)
