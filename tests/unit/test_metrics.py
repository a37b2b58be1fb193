"""Pixel metrics against hand-computed cases, scikit-learn on bins and on raw pixels, and an independent AU-PRO."""

import numpy as np
import pytest
from anomaly_synthesis.evaluation.metrics import NAMES, PRO_LIMIT, metrics, spread
from anomaly_synthesis.evaluation.tally import Tally, score_bins, tally
from scipy.ndimage import label

from .refusals import refused


def _noisy(seed: int, size: int = 96, strength: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Scores that correlate with a mask of several pieces."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(4):
        top, left = generator.integers(0, size - 20, 2)
        height, width = generator.integers(1, 18, 2)
        mask[top : top + height, left : left + width] = True
    logits = generator.normal(size=mask.shape) + strength * mask - 2
    return 1 / (1 + np.exp(-logits)), mask


def _sum(images) -> Tally:
    return sum((tally(*image) for image in images), Tally())


def _reference_aupro(images, limit: float = 0.3) -> float:
    """Straight from the definition: every distinct score is a threshold."""
    thresholds = np.unique(np.concatenate([scores.ravel() for scores, _ in images]))[::-1]
    curve = [(0.0, 0.0)]
    pieces = []
    for scores, mask in images:
        labels, count = label(mask, np.ones((3, 3)))
        pieces += [np.sort(scores[labels == number]) for number in range(1, count + 1)]
    normal = np.sort(np.concatenate([scores[~mask] for scores, mask in images]))
    for threshold in thresholds:
        false = (len(normal) - np.searchsorted(normal, threshold)) / len(normal)
        overlap = np.mean([(len(p) - np.searchsorted(p, threshold)) / len(p) for p in pieces])
        curve.append((false, overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(curve, curve[1:], strict=False):
        if x0 >= limit:
            break
        if x1 > limit:
            y1, x1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0), limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def test_a_hand_computed_case():
    mask = np.array([[1, 1, 0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.4, 0.6, 0.1]])
    found = metrics(tally(scores, mask))
    assert found["iou"] == pytest.approx(1 / 3) and found["recall"] == pytest.approx(1 / 2)
    assert found["f1"] == pytest.approx(0.8)  # at 0.4: two hits, one false
    assert found["ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["auroc"] == pytest.approx(3 / 4)


def test_a_perfect_predictor_gets_one_everywhere():
    mask = _noisy(0)[1]
    assert metrics(tally(mask.astype(float), mask)) == dict.fromkeys(NAMES, pytest.approx(1))


@pytest.mark.parametrize("value", [0.2, 0.7])
def test_a_constant_predictor_gets_what_chance_gives(value):
    mask = _noisy(1)[1]
    share = mask.mean()
    found = metrics(tally(np.full(mask.shape, value), mask))
    assert found["iou"] == pytest.approx(share if value > 0.5 else 0)
    assert found["recall"] == (1 if value > 0.5 else 0)
    assert found["f1"] == pytest.approx(2 * share / (1 + share))
    assert found["ap"] == pytest.approx(share) and found["auroc"] == pytest.approx(0.5)
    assert found["aupro"] == pytest.approx(0.15)


@pytest.mark.parametrize("strength", [-3.0, 0.0, 0.8, 1.5, 4.0, 30.0])
@pytest.mark.parametrize("levels", [1, 3, 200, None])
def test_metrics_equal_scikit_learn_on_the_bins(strength, levels):
    """The same formulas, to rounding, at every share of ties: `levels` is how many distinct scores there are."""
    sklearn = pytest.importorskip("sklearn.metrics")
    images = [_noisy(seed, strength=strength) for seed in range(3)]
    if levels:
        images = [(np.ceil(scores * levels) / levels, mask) for scores, mask in images]
    found, summed = metrics(_sum(images)), _sum(images)
    bins, truth = np.concatenate([[score_bins(s).ravel(), m.ravel()] for s, m in images], axis=1)
    precision, recall, _ = sklearn.precision_recall_curve(truth, bins)
    with np.errstate(invalid="ignore"):
        f1 = np.nanmax(2 * precision * recall / (precision + recall))
    predicted = bins >= score_bins(np.array(0.5))
    false, overlap = (np.append(0, np.cumsum(h[::-1]) / total) for h, total in _curves(summed))
    end = np.append(overlap[false <= PRO_LIMIT], np.interp(PRO_LIMIT, false, overlap))
    aupro = sklearn.auc(np.append(false[false <= PRO_LIMIT], PRO_LIMIT), end) / PRO_LIMIT
    assert found == {
        "iou": pytest.approx(sklearn.jaccard_score(truth, predicted), abs=1e-12),
        "recall": pytest.approx(sklearn.recall_score(truth, predicted), abs=1e-12),
        "f1": pytest.approx(f1, abs=1e-12),
        "ap": pytest.approx(sklearn.average_precision_score(truth, bins), abs=1e-12),
        "auroc": pytest.approx(sklearn.roc_auc_score(truth, bins), abs=1e-12),
        "aupro": pytest.approx(aupro, abs=1e-12),
    }


def _curves(summed: Tally):
    return (summed.normal, summed.normal.sum()), (summed.regions, summed.region_count)


def test_streamed_metrics_equal_scikit_learn_on_the_pixels():
    pytest.importorskip("sklearn")
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    images = [_noisy(seed) for seed in range(5)]
    scores, truth = (np.concatenate([image[place].ravel() for image in images]) for place in (0, 1))
    found = metrics(_sum(images))
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-4)
    # Pixels of one bin count as a tie, which average precision feels most.
    assert found["ap"] == pytest.approx(average_precision_score(truth, scores), abs=5e-4)
    precision, recall, _ = precision_recall_curve(truth, scores)
    assert found["f1"] == pytest.approx((2 * precision * recall / (precision + recall + 1e-12)).max(), abs=5e-4)
    predicted = scores > 0.5
    assert found["iou"] == pytest.approx((predicted & truth).sum() / (predicted | truth).sum(), abs=1e-4)


@pytest.mark.parametrize("strength", [0.0, 0.8, 1.5, 4.0])
def test_aupro_equals_its_definition(strength):
    images = [_noisy(seed, strength=strength) for seed in range(4)]
    assert metrics(_sum(images))["aupro"] == pytest.approx(_reference_aupro(images), abs=1e-4)


def test_a_small_piece_counts_as_much_as_a_large_one():
    mask = np.zeros((40, 40), dtype=bool)
    mask[0, 0] = mask[10:30, 10:30] = True
    scores = np.where(mask, 0.9, 0.1)
    scores[0, 0] = 0.1
    assert metrics(tally(scores, mask))["aupro"] == pytest.approx(0.5 + 0.5 * 0.15)


def test_what_is_not_defined_is_none_and_not_zero():
    empty = np.zeros((8, 8), dtype=bool)
    assert metrics(tally(np.full((8, 8), 0.5), empty)) == dict.fromkeys(NAMES)
    full = metrics(tally(np.full((8, 8), 0.9), ~empty))
    assert full["auroc"] is None and full["aupro"] is None and full["iou"] == 1


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_bad_scores_are_refused(bad):
    scores = np.full((4, 4), 0.5)
    scores[1, 2] = bad
    with refused(subject="scores", got="diverged"):
        tally(scores, np.zeros((4, 4), dtype=bool))


def test_the_spread_over_seeds_is_students():
    mean, half = spread([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.303 / 3**0.5, abs=1e-3)
    assert spread([4.0]) == (4.0, None)


def test_what_is_kept_of_a_test_does_not_grow_with_its_images():
    """A thousand megapixel images must fit: a tally is as large after them as after one."""
    generator = np.random.default_rng(0)
    one = tally(generator.random((400, 300)), generator.random((400, 300)) > 0.9)
    many = sum([one] * 20, Tally())
    held = [sum(array.nbytes for array in (t.anomalous, t.normal, t.regions)) for t in (one, many)]
    assert held[0] == held[1] < 2**20
    assert many.anomalous.sum() == 20 * one.anomalous.sum() and many.region_count == 20 * one.region_count
