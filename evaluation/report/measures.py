"""The measures that the report gives intervals of, from sums over any draw of groups, many draws at once.

A measure reads vectors that add up over images: pixels at a threshold, or histograms of scores (see `Tally.packed`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics import aupro, precision_recall
from ..tally import COARSE, unpacked

Found = dict[tuple[str, str], np.ndarray]  # (type, group) -> vector


@dataclass(frozen=True)
class Measure:
    """head: in tables; of: a cell's vectors; value: [..., K] -> [...]; anomalous: pixels in [..., K] -> [...]."""

    head: str
    of: Callable[[dict], Found]
    value: Callable[[np.ndarray], np.ndarray]
    anomalous: Callable[[np.ndarray], np.ndarray]


def mean_over_types(measure: Measure, sums: np.ndarray) -> np.ndarray:
    """[..., type, K] to [...]: the mean over the types that have anomalous pixels, NaN where none has."""
    known = measure.anomalous(sums) > 0
    values = np.where(known, measure.value(sums), 0).sum(-1)
    return np.divide(values, known.sum(-1), out=np.full_like(values, np.nan), where=known.any(-1))


def _pixels(hits: str, false: str) -> Callable[[dict], Found]:
    def of(cell: dict) -> Found:
        found: Found = {}
        for image in defect_images([cell]):
            key = f"{image['object']}/{image['type']}", image["group"]
            found[key] = found.get(key, np.zeros(3)) + (image[hits], image[false], image["anomalous"])
        return found

    return of


def _histograms(cell: dict) -> Found:
    return {
        (type, group): unpacked(text)
        for type, groups in cell.get("tallies", {}).items()
        for group, text in groups.items()
    }


def defect_images(cells: Sequence[dict]) -> list[dict]:
    """Every tested image with a defect, once, whichever cells tested it."""
    return list(
        {image_key(image): image for cell in cells for image in cell["images"] if image["type"] != "good"}.values()
    )


def image_key(image: dict) -> tuple[str, str, str]:
    return image["object"], image["type"], image["name"]


def _iou(sums: np.ndarray) -> np.ndarray:
    hits, false, anomalous = np.moveaxis(sums, -1, 0)
    return hits / np.maximum(anomalous + false, 1)


def _histogram(sums: np.ndarray, place: int) -> np.ndarray:
    return sums[..., place * COARSE.count : (place + 1) * COARSE.count]


def _ap(sums: np.ndarray) -> np.ndarray:
    return precision_recall(_histogram(sums, 0), _histogram(sums, 1))[1]


def _f1(sums: np.ndarray) -> np.ndarray:
    return precision_recall(_histogram(sums, 0), _histogram(sums, 1))[0]


def _aupro(sums: np.ndarray) -> np.ndarray:
    return aupro(_histogram(sums, 2), _histogram(sums, 1), sums[..., -1:])


def _last(sums: np.ndarray) -> np.ndarray:
    return sums[..., -1]


def _hit(sums: np.ndarray) -> np.ndarray:
    return _histogram(sums, 0).sum(-1)


MEASURES = {
    "iou": Measure("IoU at 0.5", _pixels("hits", "false"), _iou, _last),
    "iou_chosen": Measure("IoU at the chosen threshold", _pixels("chosen_hits", "chosen_false"), _iou, _last),
    "f1": Measure("best F1", _histograms, _f1, _hit),
    "ap": Measure("AP", _histograms, _ap, _hit),
    "aupro": Measure("AU-PRO", _histograms, _aupro, _hit),
}
