"""Pixel metrics of anomaly segmentation, computed from tallies with numpy; ties and all they equal scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .tally import Tally, score_bins

THRESHOLD = 0.5
PRO_LIMIT = 0.3
NAMES = ("iou", "recall", "iou_chosen", "recall_chosen", "f1", "ap", "auroc", "aupro")


def metrics(tally: Tally, threshold: float = THRESHOLD) -> dict[str, float | None]:
    """Every metric in NAMES; None where it is not defined.

    iou, recall: of the anomaly class at probability 0.5 (the papers' "mIoU" and "Acc"); iou_chosen, recall_chosen: at
    `threshold`, see `evaluation.threshold`; f1: at its best threshold; ap:
    average precision; auroc: over pixels; aupro: area under the per-region overlap curve up to a false positive rate
    of 0.3, divided by 0.3. Without anomalous pixels none is defined, without normal pixels neither auroc nor aupro.
    """
    if not tally.anomalous.sum():
        return dict.fromkeys(NAMES)
    both = bool(tally.normal.sum())
    hits, false, total = at_threshold(tally)
    own_hits, own_false, _ = at_threshold(tally, threshold)
    f1, ap = map(float, precision_recall(tally.anomalous, tally.normal))
    return {
        "iou": hits / (total + false),
        "recall": hits / total,
        "iou_chosen": own_hits / (total + own_false),
        "recall_chosen": own_hits / total,
        "f1": f1,
        "ap": ap,
        "auroc": _auroc(tally) if both else None,
        "aupro": float(aupro(tally.regions, tally.normal, np.array([tally.region_count]))) if both else None,
    }


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over seeds, and half the 95 % interval of that mean (Student's t); None with one seed."""
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    return mean, float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def iou(tally: Tally) -> float | None:
    """IoU of the anomaly class at 0.5 alone: quick enough for thousands of draws."""
    hits, false, total = at_threshold(tally)
    return hits / (total + false) if total else None


def at_threshold(tally: Tally, threshold: float = THRESHOLD) -> tuple[float, float, float]:
    """(hits, false alarms, anomalous pixels) at a probability."""
    first = int(score_bins(np.array(threshold)))
    return float(tally.anomalous[first:].sum()), float(tally.normal[first:].sum()), float(tally.anomalous.sum())


def precision_recall(anomalous: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best F1 over all thresholds, and average precision: the precision at every threshold, weighted by the recall it
    adds (no interpolation, as in sklearn.metrics.average_precision_score).

    anomalous, normal: histograms of scores, [..., bins], ascending; the results are [...].
    """
    hits, false = _above(anomalous), _above(normal)
    total = hits[..., -1:]
    # No pixel at or above the threshold: no hit, and no recall added.
    precision = hits / np.maximum(hits + false, 1)
    f1 = (2 * hits / np.maximum(total + hits + false, 1)).max(-1)
    return f1, (np.diff(hits) * precision[..., 1:]).sum(-1) / np.maximum(total[..., 0], 1)


def _auroc(tally: Tally) -> float:
    hits, false = _above(tally.anomalous), _above(tally.normal)
    return _area(false / false[-1], hits / hits[-1])


def aupro(regions: np.ndarray, normal: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """AU-PRO up to PRO_LIMIT of histograms [..., bins], see `Tally`, and numbers of pieces [..., 1]; [...]."""
    overlap, false = _above(regions) / np.maximum(pieces, 1), _above(normal)
    false = false / np.maximum(false[..., -1:], 1)
    start, end = overlap[..., :-1], overlap[..., 1:]
    # The step over the limit counts up to it.
    step, inside = np.diff(false), np.diff(np.minimum(false, PRO_LIMIT))
    share = np.divide(inside, step, out=np.ones_like(inside), where=step > 0)
    return (inside * (start + start + (end - start) * share) / 2).sum(-1) / PRO_LIMIT


def _above(histogram: np.ndarray) -> np.ndarray:
    """[..., bins + 1]: the sum of the k highest bins, k from 0: what lies at or above each threshold, the highest
    first."""
    above = np.cumsum(histogram[..., ::-1], axis=-1)
    return np.concatenate([np.zeros_like(above[..., :1]), above], axis=-1)


def _area(x: np.ndarray, y: np.ndarray) -> float:
    """Below the polyline through (x, y), x ascending, by trapezoids."""
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
