"""A pair's controls: the same mask made again as normal surface."""

from dataclasses import replace

import numpy as np
import pytest
from anomaly_synthesis.synthesis.controls import COUNT, SEED, STEPS, control_pictures, control_settings
from anomaly_synthesis.synthesis.pair import Settings, make_pairs
from anomaly_synthesis.synthesis.plan import Plan

SETTINGS = Settings(steps=2)


@pytest.fixture
def jobs(train_part):
    plan = Plan(train_part, train_part, 0)
    return [plan.item(index).job for index in range(3)]


def test_controls_are_normal_surface_in_the_mask_and_the_image_outside_it(tiny_base, jobs):
    controls, calls = control_pictures(tiny_base, jobs, SETTINGS)
    for job, own in zip(jobs, controls, strict=True):
        assert len(own) == COUNT and len({picture.pixels.tobytes() for picture in own}) == COUNT
        for picture in own:
            changed = (picture.pixels != job.picture.pixels).any(2)
            assert changed.any() and not (changed & ~job.mask.numpy()).any()
    assert all(count >= STEPS * COUNT for count in calls)


def test_neither_the_pair_s_seed_nor_its_type_moves_its_controls(tiny_base, jobs):
    others = [replace(job, seed=job.seed + 1, type="good") for job in jobs]
    found = [
        control_pictures(tiny_base, some, replace(SETTINGS, guidance=g))[0] for some, g in ((jobs, 1.0), (others, 3.0))
    ]
    for own, other in zip(*found, strict=True):
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(own, other, strict=True))


def test_controls_cost_their_steps_and_change_no_pair(tiny_base, jobs):
    plain, checked = (make_pairs(tiny_base, jobs, SETTINGS, controlled=on) for on in (False, True))
    for one, other in zip(plain, checked, strict=True):
        assert np.array_equal(one.picture.pixels, other.picture.pixels) and one.strength == other.strength
        assert one.excess is None and other.excess > 0
        assert other.calls - one.calls == STEPS * COUNT * len(one.windows)


def test_a_pair_that_is_one_of_its_controls_is_nearer_to_them_than_they_to_each_other(tiny_base, jobs):
    same = [replace(job, seed=SEED, type="good") for job in jobs]
    for pair in make_pairs(tiny_base, same, control_settings(SETTINGS), controlled=True):
        assert 0.3 < pair.excess < 1
