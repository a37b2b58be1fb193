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
    f1, ap = _precision_recall(tally)
    return {
        "iou": hits / (total + false),
        "recall": hits / total,
        "iou_chosen": own_hits / (total + own_false),
        "recall_chosen": own_hits / total,
        "f1": f1,
        "ap": ap,
        "auroc": _auroc(tally) if both else None,
        "aupro": _aupro(tally) if both else None,
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


def _precision_recall(tally: Tally) -> tuple[float, float]:
    """Best F1 over all thresholds, and average precision: the precision at every threshold, weighted by the recall it
    adds (no interpolation, as in sklearn.metrics.average_precision_score)."""
    hits, false = _above(tally.anomalous), _above(tally.normal)
    total = hits[-1]
    precision = hits / np.maximum(hits + false, 1)  # no pixel at or above the threshold: no hit, and no recall added
    return float((2 * hits / (total + hits + false)).max()), float((np.diff(hits) * precision[1:]).sum() / total)


def _auroc(tally: Tally) -> float:
    hits, false = _above(tally.anomalous), _above(tally.normal)
    return _area(false / false[-1], hits / hits[-1])


def _aupro(tally: Tally) -> float:
    overlap, false = _above(tally.regions) / tally.region_count, _above(tally.normal)
    false = false / false[-1]
    inside = false <= PRO_LIMIT
    at_limit = np.interp(PRO_LIMIT, false, overlap)
    return _area(np.append(false[inside], PRO_LIMIT), np.append(overlap[inside], at_limit)) / PRO_LIMIT


def _above(histogram: np.ndarray) -> np.ndarray:
    """[BINS + 1]: the sum of the k highest bins, k from 0: what lies at or above each threshold, the highest first."""
    return np.concatenate([[0.0], np.cumsum(histogram[::-1])])


def _area(x: np.ndarray, y: np.ndarray) -> float:
    """Below the polyline through (x, y), x ascending, by trapezoids."""
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
