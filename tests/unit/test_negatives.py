"""Thresholds from negatives."""

import numpy as np
import pytest
from anomaly_synthesis.synthesis.negatives import Negative, measure_negatives, thresholds
from anomaly_synthesis.synthesis.pair import Settings, make_pairs
from anomaly_synthesis.synthesis.plan import Plan


def test_the_thresholds_are_the_99th_percentile_of_pairs_and_the_95th_of_pixels():
    negatives = [Negative(i / 1000, np.linspace(0, 1, 101)) for i in range(1000)]
    found = thresholds(negatives)
    assert found.visible == pytest.approx(0.99, abs=0.002) and found.changed == pytest.approx(0.95, abs=0.01)


def test_five_percent_of_the_pixels_of_the_negatives_themselves_count_as_changed(tiny_base, train_part):
    plan, settings = Plan(train_part, train_part, 0), Settings(steps=2)
    jobs = [plan.item(index).job for index in range(8)]
    negatives = measure_negatives(tiny_base, jobs, settings)
    limit = thresholds(negatives).changed
    assert np.mean([(one.levels > limit).mean() for one in negatives]) == pytest.approx(0.05, abs=0.01)
    assert len(negatives) == 8 and all(one.excess > 0 for one in negatives)


def test_completeness_falls_as_the_threshold_rises(tiny_base, train_part):
    plan = Plan(train_part, train_part, 0)
    jobs = [plan.item(index).job for index in range(2)]
    found = [make_pairs(tiny_base, jobs, Settings(steps=2), changed_above=above) for above in (0.0, 1.0, 1e6)]
    for low, middle, high in zip(*found, strict=True):
        assert low.completeness == 1 >= middle.completeness >= high.completeness == 0
