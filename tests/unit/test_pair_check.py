"""Completeness, precision and boundary agreement on changes that are known."""

import pytest
import torch
from anomaly_synthesis.datasets.pairs import SCORES
from anomaly_synthesis.synthesis.scores import (
    NOT_SCORED,
    Scores,
    boundary_agreement,
    change_levels,
    changed_region,
    completeness,
    mean_scores,
    precision,
)

SIZE = (64, 72)


def box_mask(top, left, height, width):
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def changed(where, by=0.3):
    before = torch.full((3, *SIZE), 0.4)
    return torch.where(where, before + by, before), before


MASK = box_mask(20, 24, 12, 16)
LINE = box_mask(20, 24, 1, 30)


@pytest.mark.parametrize("mask", [MASK, LINE, box_mask(0, 0, 1, 1)], ids=["box", "line", "pixel"])
def test_completeness_is_1_for_a_full_change_and_0_for_none(mask):
    full, before = changed(mask)
    assert completeness(full, before, mask, 0.1) == 1
    assert completeness(before, before, mask, 0.1) == 0


def test_half_a_mask_is_half_complete_but_for_the_smoothed_seam():
    half, before = changed(box_mask(20, 24, 12, 8))
    assert completeness(half, before, MASK, 0.1) == pytest.approx(0.5, abs=1 / 16)


def test_a_faint_change_fills_nothing_and_a_rougher_surface_hides_more():
    faint, before = changed(MASK, by=0.05)
    assert completeness(faint, before, MASK, 0.1) == 0 and completeness(faint, before, MASK, 0.04) == 1
    assert completeness(faint, before, MASK, 0.1, changed_above=0.4) == 1


def test_smoothing_stays_inside_the_mask_and_takes_out_noise():
    noise = 0.05 * torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0))
    image, before = changed(~MASK, by=9.0)
    levels = change_levels(image + noise, before, MASK, 0.05)
    assert len(levels) == MASK.sum() and levels.max() < 2
    assert levels.mean() < 0.6 * (noise[:, MASK].abs().mean() / 0.05)


def test_precision_is_the_share_of_the_change_inside_the_mask():
    inside, before = changed(MASK)
    assert precision(inside, before, MASK) == pytest.approx(1)
    assert precision(inside, before, ~MASK) == pytest.approx(0)
    twice, _ = changed(box_mask(20, 24, 24, 16))
    assert precision(twice, before, MASK) == pytest.approx(0.5)
    assert precision(before, before, MASK) == 0


def test_boundaries_agree_where_the_shapes_are_equal_or_within_the_tolerance():
    for mask in (MASK, LINE):
        assert boundary_agreement(mask, mask) == 1
    assert boundary_agreement(box_mask(21, 25, 10, 14), MASK) == 1, "1 px inside everywhere"
    assert boundary_agreement(box_mask(45, 50, 5, 5), MASK) == 0
    apart = [boundary_agreement(box_mask(20 + shift, 24, 12, 16), MASK) for shift in (2, 4, 8)]
    assert apart[0] == 1 > apart[1] > apart[2] > 0


def test_boundary_agreement_is_symmetric():
    other = box_mask(14, 30, 20, 8)
    assert boundary_agreement(other, MASK) == pytest.approx(boundary_agreement(MASK, other))


def test_shapes_without_an_outline_agree_only_where_both_are_there_or_neither():
    everything, nothing = torch.ones(SIZE, dtype=torch.bool), torch.zeros(SIZE, dtype=torch.bool)
    assert boundary_agreement(everything, everything) == 1
    assert boundary_agreement(nothing, everything) == 0
    assert boundary_agreement(nothing, MASK) == 0 and boundary_agreement(everything, MASK) == 0


def test_the_changed_region_is_where_the_window_changed():
    made, before = changed(MASK)
    assert boundary_agreement(changed_region(made, before, 0.1), MASK) == 1
    assert not changed_region(before, before, 0.1).any()


def test_parts_count_by_area_and_unknown_distances_not_at_all():
    values = dict.fromkeys(NOT_SCORED, 1.0)
    mean = mean_scores([Scores(**values), Scores(**dict.fromkeys(NOT_SCORED, 4.0) | {"nearest_real": None})], [2, 1])
    assert mean.entries == dict.fromkeys(NOT_SCORED, 2.0) | {"nearest_real": 1.0}
    assert mean_scores([Scores(**values | {"nearest_real": None})], [3]).entries["nearest_real"] is None


def test_the_manifest_knows_every_score():
    assert tuple(NOT_SCORED) == SCORES
