"""Pixel metrics of anomaly segmentation, from tallies; scikit-learn computes what it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .tally import BINS, Tally, score_bins

THRESHOLD = 0.5
PRO_LIMIT = 0.3
NAMES = ("iou", "recall", "f1", "ap", "auroc", "aupro")


def metrics(tally: Tally) -> dict[str, float | None]:
    """Every metric in NAMES; None where it is not defined.

    iou, recall: of the anomaly class at probability 0.5 (the papers' "mIoU" and "Acc"); f1: at its best threshold; ap:
    average precision; auroc: over pixels; aupro: area under the per-region overlap curve up to a false positive rate
    of 0.3, divided by 0.3. Without anomalous pixels none is defined, without normal pixels neither auroc nor aupro.
    """
    if not tally.anomalous.sum():
        return dict.fromkeys(NAMES)
    both = bool(tally.normal.sum())
    hits, false, total = at_threshold(tally)
    iou, recall = hits / (total + false), hits / total
    f1, ap = _precision_recall(tally)
    return {
        "iou": iou,
        "recall": recall,
        "f1": f1,
        "ap": ap,
        "auroc": _auroc(tally) if both else None,
        "aupro": _aupro(tally) if both else None,
    }


def bootstrap(
    groups: Mapping[str, Tally], measure: Callable[[Tally], float | None], draws: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of a measure over groups drawn with replacement; None where fewer than two groups define it.

    Groups, not images: pictures of one part are not independent.
    """
    names, generator, values = sorted(groups), np.random.default_rng(seed), []
    if len(names) < 2:
        return None
    stacked = [np.stack([getattr(groups[name], key) for name in names]) for key in ("anomalous", "normal", "regions")]
    counts = np.array([groups[name].region_count for name in names])
    for _ in range(draws):
        weights = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names)).astype(float)
        drawn = Tally(*(weights @ histogram for histogram in stacked), region_count=float(weights @ counts))
        value = measure(drawn)
        if value is not None:
            values.append(value)
    return (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))) if len(values) > 1 else None


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


def at_threshold(tally: Tally) -> tuple[float, float, float]:
    """(hits, false alarms, anomalous pixels) at probability 0.5."""
    first = int(score_bins(np.array(THRESHOLD)))
    return float(tally.anomalous[first:].sum()), float(tally.normal[first:].sum()), float(tally.anomalous.sum())


def _precision_recall(tally: Tally) -> tuple[float, float]:
    """Best F1 over all thresholds, and average precision."""
    from sklearn.metrics import average_precision_score

    hits, false = np.cumsum(tally.anomalous[::-1]), np.cumsum(tally.normal[::-1])
    f1 = 2 * hits / (tally.anomalous.sum() + hits + false)
    truth, scores, weights = _as_samples(tally)
    return float(f1.max()), float(average_precision_score(truth, scores, sample_weight=weights))


def _auroc(tally: Tally) -> float:
    from sklearn.metrics import roc_auc_score

    truth, scores, weights = _as_samples(tally)
    return float(roc_auc_score(truth, scores, sample_weight=weights))


def _aupro(tally: Tally) -> float:
    from sklearn.metrics import auc

    overlap = np.concatenate([[0], np.cumsum(tally.regions[::-1]) / tally.region_count])
    false = np.concatenate([[0], np.cumsum(tally.normal[::-1]) / tally.normal.sum()])
    inside = false <= PRO_LIMIT
    at_limit = np.interp(PRO_LIMIT, false, overlap)
    x, y = np.append(false[inside], PRO_LIMIT), np.append(overlap[inside], at_limit)
    return float(auc(x, y) / PRO_LIMIT)


def _as_samples(tally: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One weighted sample per class and bin that holds any pixel."""
    held = [np.flatnonzero(histogram) for histogram in (tally.anomalous, tally.normal)]
    truth = np.repeat([1, 0], [len(bins) for bins in held])
    weights = np.concatenate([tally.anomalous[held[0]], tally.normal[held[1]]])
    return truth, np.concatenate(held) / BINS, weights
