"""A pair's controls: the same mask filled with normal surface."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from anomaly_synthesis.seeds import CONTROL_SEED
from anomaly_synthesis.synthesis.controls import COUNT, STEPS, KnownControls, control_settings, controls_key
from anomaly_synthesis.synthesis.labels import refined_mask
from anomaly_synthesis.synthesis.pair import Settings, made_parts, make_pairs
from anomaly_synthesis.synthesis.plan import Plan
from anomaly_synthesis.synthesis.windows import crop_parts

SETTINGS = Settings(steps=2)


@pytest.fixture
def jobs(train_part):
    plan = Plan(train_part, train_part, 0)
    return [plan.item(index).job for index in range(3)]


def controls_of(base, jobs, settings=SETTINGS):
    """For every job the pixels of its mask, [COUNT, N, C] for every part."""
    return [one.controls for one in made_parts(base, jobs, settings, known=KnownControls())]


def test_controls_are_the_mask_made_again_each_time_in_another_way(tiny_base, jobs):
    for job, parts in zip(jobs, controls_of(tiny_base, jobs), strict=True):
        values = np.concatenate(parts, axis=1)
        assert values.shape == (COUNT, job.mask.sum(), job.picture.pixels.shape[2])
        assert values.dtype == job.picture.pixels.dtype
        assert len({one.tobytes() for one in values}) == COUNT
        inside = np.concatenate([part_pixels(job, number) for number in range(len(parts))])
        assert all((one != inside).any() for one in values)


def part_pixels(job, number):
    """The normal picture's pixels [N, C] of a part of the mask."""
    part = crop_parts(0, job.mask, 64)[number]
    top, left, bottom, right = part.box
    return job.picture.pixels[top:bottom, left:right][part.inside.numpy()]


def test_a_control_is_the_pair_of_the_controls_seed_and_settings(tiny_base, jobs):
    same = [replace(job, seed=CONTROL_SEED, type="good") for job in jobs]
    pairs = make_pairs(tiny_base, same, control_settings(SETTINGS))
    for job, pair, parts in zip(jobs, pairs, controls_of(tiny_base, jobs), strict=True):
        for part, values in zip(crop_parts(0, job.mask, 64), parts, strict=True):
            top, left, bottom, right = part.box
            made = pair.picture.pixels[top:bottom, left:right][part.inside.numpy()]
            assert abs(made.astype(int) - values[0].astype(int)).max() <= 1, "a batch's size may move the last bit"


def test_neither_the_pair_s_seed_nor_its_type_moves_its_controls(tiny_base, jobs):
    others = [replace(job, seed=job.seed + 1, type="good") for job in jobs]
    found = [controls_of(tiny_base, some, replace(SETTINGS, guidance=g)) for some, g in ((jobs, 1.0), (others, 3.0))]
    for own, other in zip(*found, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(own, other, strict=True))


def test_cached_controls_cost_no_call_and_give_the_same_excess(tiny_base, jobs):
    known = KnownControls()
    first = make_pairs(tiny_base, jobs, SETTINGS, controlled=True, known=known)
    again = make_pairs(tiny_base, jobs, SETTINGS, controlled=True, known=known)
    for one, other in zip(first, again, strict=True):
        assert one.excess == other.excess and one.calls - other.calls == STEPS * COUNT * len(one.windows)


@pytest.mark.parametrize(
    "changed", [{"context": 0.5}, {"mode": "paste"}, {"feather": 1}, {"aware": False}], ids=lambda c: next(iter(c))
)
def test_controls_of_other_windows_or_composing_are_not_reused(tiny_base, jobs, changed):
    known = KnownControls()
    make_pairs(tiny_base, jobs, SETTINGS, controlled=True, known=known)
    other = replace(SETTINGS, **changed)
    assert all(known.of(controls_key(job, other)) is None for job in jobs)
    fresh = make_pairs(tiny_base, jobs, other, controlled=True)
    assert [pair.excess for pair in make_pairs(tiny_base, jobs, other, controlled=True, known=known)] == [
        pair.excess for pair in fresh
    ]


def test_another_picture_mask_or_object_has_controls_of_its_own(tiny_base, jobs):
    known, job = KnownControls(), jobs[0]
    made_parts(tiny_base, [job], SETTINGS, known=known)
    mask = job.mask.clone()
    mask[tuple(torch.nonzero(~mask)[0])] = True
    picture = job.picture.with_pixels(job.picture.pixels[::-1].copy())
    assert known.of(controls_key(replace(job, seed=1, type="good"), SETTINGS)) is not None
    for other in (replace(job, mask=mask), replace(job, picture=picture), replace(job, object="another")):
        assert known.of(controls_key(other, SETTINGS)) is None


def test_a_picture_is_read_once_for_its_key(tiny_base, jobs, monkeypatch):
    keyed = []
    patched = "anomaly_synthesis.synthesis.pair.controls_key"
    monkeypatch.setattr(patched, lambda job, settings: keyed.append(job) or controls_key(job, settings))
    make_pairs(tiny_base, jobs, SETTINGS, controlled=True)
    assert len(keyed) == len(jobs)


def test_controls_cached_in_a_block_are_dropped_after_it(tiny_base, jobs):
    run = KnownControls()
    made_parts(tiny_base, jobs[:1], SETTINGS, known=run)
    block = KnownControls(run)
    made_parts(tiny_base, jobs, SETTINGS, known=block)
    assert all(block.of(controls_key(job, SETTINGS)) is not None for job in jobs)
    assert [run.of(controls_key(job, SETTINGS)) is not None for job in jobs] == [True, False, False]


def test_a_window_is_encoded_once_for_the_pair_and_its_controls(tiny_base, jobs, monkeypatch):
    seen, encode = [], tiny_base.autoencoder.encode
    monkeypatch.setattr(tiny_base.autoencoder, "encode", lambda x: seen.append(len(x)) or encode(x))
    pairs = make_pairs(tiny_base, jobs, SETTINGS, controlled=True)
    assert sum(seen) == sum(len(pair.windows) for pair in pairs)


def test_the_refined_mask_is_made_when_asked_for_and_needs_controls(tiny_base, jobs, monkeypatch):
    asked = []
    patched = "anomaly_synthesis.synthesis.pair.refined_mask"
    monkeypatch.setattr(patched, lambda *given: asked.append(given) or refined_mask(*given))
    plain, checked = (make_pairs(tiny_base, jobs[:1], SETTINGS, controlled=on)[0] for on in (False, True))
    assert plain.refined_mask is None and not asked
    assert (checked.refined_mask <= jobs[0].mask.numpy()).all() and checked.refined_mask is checked.refined_mask
    assert len(asked) == 1


def test_controls_cost_their_steps_and_change_no_pair(tiny_base, jobs):
    plain, checked = (make_pairs(tiny_base, jobs, SETTINGS, controlled=on) for on in (False, True))
    for one, other in zip(plain, checked, strict=True):
        assert np.array_equal(one.picture.pixels, other.picture.pixels) and one.strength == other.strength
        assert one.excess is None and other.excess > 0
        assert other.calls - one.calls == STEPS * COUNT * len(one.windows)


def test_a_pair_that_is_one_of_its_controls_is_nearer_to_them_than_they_to_each_other(tiny_base, jobs):
    same = [replace(job, seed=CONTROL_SEED, type="good") for job in jobs]
    for pair in make_pairs(tiny_base, same, control_settings(SETTINGS), controlled=True):
        assert 0.3 < pair.excess < 1
