"""The report's numbers: differences pair seeds and groups, and errors stay in the table."""

import pytest
from anomaly_synthesis.evaluation.report import best_baseline, difference, report

NAMES = ("iou", "recall", "f1", "ap", "auroc", "aupro")


def cell(method, seed, hits, groups=6):
    counts = {f"g{group}": [hits + group, 10, 100 + group] for group in range(groups)}
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    iou = total[0] / (total[2] + total[1])
    overall = dict.fromkeys(NAMES, iou)
    return {
        "method": method, "network": "small_unet", "seed": seed, "overall": overall, "types": {"tile/crack": overall},
        "groups": counts, "seconds_per_pair": 0.1, "statistics": {}, "training": {"seconds": 3.0},
    }  # fmt: skip


def test_the_difference_is_of_shared_seeds_and_its_interval_holds_it():
    cells = [cell("a", 0, 60), cell("a", 1, 64), cell("real-only", 0, 50), cell("real-only", 1, 52), cell("a", 2, 90)]
    mean, low, high = difference(cells, "a", "real-only", draws=200)
    assert mean == pytest.approx((10 + 12) / 2 * 6 / (6 * 110 + 15)) and low <= mean <= high and low > 0


def test_the_same_arm_twice_differs_by_nothing():
    assert difference([cell("a", 0, 50), cell("b", 0, 50)], "a", "b", draws=50) == (0, 0, 0)


def test_too_little_gives_no_interval():
    assert difference([cell("a", 0, 50), cell("b", 1, 50)], "a", "b") is None
    assert difference([cell("a", 0, 50, groups=1), cell("b", 0, 50, groups=1)], "a", "b") is None


def test_the_best_baseline_is_none_of_ours():
    cells = [cell("aias", 0, 90), cell("cutpaste", 0, 60), cell("real-only", 0, 50)]
    assert best_baseline(cells) == "cutpaste"


def test_a_failed_cell_is_told_and_the_table_goes_on():
    undefined = cell("draem", 0, 40) | {"overall": dict.fromkeys(NAMES)}
    failed = {"method": "aias", "network": "small_unet", "seed": 0, "error": "no base"}
    text = report([cell("real-only", 0, 50), undefined, failed])
    assert "aias, small_unet, seed 0: no base" in text and "| draem | 1 | - | - |" in text
