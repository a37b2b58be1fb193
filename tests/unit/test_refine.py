"""Refinement: proposals, the order of pairs, and that no pair gets worse."""

from dataclasses import replace

import pytest
import torch
from anomaly_synthesis.modules.fast import FastModules
from anomaly_synthesis.samplers.presets import PRESETS
from anomaly_synthesis.synthesis.pair import Settings, make_pairs
from anomaly_synthesis.synthesis.plan import Plan
from anomaly_synthesis.synthesis.refine import Varied, farm_varies, gain, proposal, rank, refine
from anomaly_synthesis.synthesis.scores import NOT_SCORED, Scores

SETTINGS = Settings(steps=2)


def scores(**values):
    return Scores(**dict.fromkeys(NOT_SCORED, 1.0) | values)


def test_every_round_changes_one_setting_at_most_and_the_first_none():
    proposals = [proposal(SETTINGS, number, has_farm=True) for number in range(1, 13)]
    names = ("guidance", "context", "farm")
    changed = [[name for name in names if getattr(p, name) != getattr(SETTINGS, name)] for p in proposals]
    assert changed[:6] == [[], ["guidance"], ["context"], ["farm"], ["guidance"], ["context"]]
    assert proposals[6:] == proposals[:6] and len(set(proposals[:6])) == 6
    assert all(replace(p, guidance=2.0, context=1.0, farm=1.0) == SETTINGS for p in proposals)


def test_what_is_switched_off_stays_off():
    off = replace(SETTINGS, guidance=1.0)
    for number in range(1, 7):
        assert proposal(off, number, has_farm=False).guidance == 1
        assert proposal(off, number, has_farm=False).farm == off.farm
        assert proposal(replace(SETTINGS, farm=0.0), number, has_farm=True).farm == 0


def test_where_the_windows_are_given_no_round_is_one_of_context():
    given = Varied(guidance=3.0, farm=0.8)
    proposals = [proposal(given, number, has_farm=True) for number in range(1, 9)]
    assert [(p.guidance, p.farm) for p in proposals[:4]] == [(3.0, 0.8), (4.5, 0.8), (3.0, 0.4), (2.0, 0.8)]
    assert proposals[4:] == proposals[:4] and {p.context for p in proposals} == {None}
    off = Varied(guidance=1.0, farm=0.0)
    assert {proposal(off, number, has_farm=False) for number in range(1, 9)} == {off}


@pytest.mark.parametrize("name", PRESETS)
def test_farm_s_share_is_proposed_where_the_preset_takes_it(tiny_base, train_part, name):
    job, settings = Plan(train_part, train_part, 0).item(0).job, Settings(preset=name, steps=4)
    config = tiny_base.config
    modules = FastModules([(job.object, job.type)], config.latent_channels, config.token_channels, count=2)
    tried = proposal(settings, 4, farm_varies(settings))
    assert make_pairs(tiny_base, [job], tried, modules)[0].calls > 0
    assert (tried.farm == 0.5) == (name != "paper")
    assert not farm_varies(replace(settings, farm=0.0))


def test_visible_comes_before_near_before_complete_before_the_outline():
    faint = rank(scores(nearest_real=1.0), False)
    far, near = (rank(scores(nearest_real=d, completeness=c), True) for d, c in ((3.0, 1.0), (2.0, 0.2)))
    assert faint < far < near
    assert rank(scores(completeness=0.4, boundary=1.0), True) < rank(scores(completeness=0.5, boundary=0.0), True)
    assert rank(scores(boundary=0.4), True) < rank(scores(boundary=0.5), True)


def test_a_copy_of_a_real_defect_is_not_preferred_to_one_as_near_as_real_ones():
    assert rank(scores(nearest_real=0.1), True) == rank(scores(nearest_real=1.0), True)
    assert rank(scores(nearest_real=None), True) == rank(scores(nearest_real=1.0), True)


@pytest.mark.parametrize("rounds", [1, 4])
def test_the_kept_pair_is_never_worse_than_the_first_nor_than_any_round(tiny_base, train_part, rounds):
    plan, threshold = Plan(train_part, train_part, 0), 3.0
    items = [plan.item(index) for index in range(4)]

    def visible(pair):
        return pair.visibility > threshold

    def make(jobs, settings):
        made.append(make_pairs(tiny_base, jobs, settings))
        return made[-1]

    made = []
    first = make([item.job for item in items], SETTINGS)
    found = refine(
        make,
        first,
        lambda number: [plan.item(index, number).job for index in range(4)],
        SETTINGS,
        visible,
        rounds,
        has_farm=False,
    )
    assert len(made) == rounds + 1
    for place, one in enumerate(found):
        tried = [batch[place] for batch in made]
        best = max(tried, key=lambda pair: rank(pair, visible(pair)))
        assert (one.pair.picture.pixels == best.picture.pixels).all() and one.pair.entries == best.entries
        assert one.first is tried[0] and rank(one.pair, visible(one.pair)) >= rank(tried[0], visible(tried[0]))
        assert one.calls == sum(pair.calls for pair in tried) and one.pair.job.seed == tried[one.round].job.seed
        assert torch.equal(one.pair.job.mask, items[place].job.mask)
        assert one.settings == (SETTINGS if one.round == 0 else proposal(SETTINGS, one.round, False))
        record = one.record(visible, SETTINGS)
        assert record["first"]["visible"] == visible(tried[0]) and record["rounds"] == rounds
        assert replace(SETTINGS, **record["changed"]) == one.settings


def test_only_pairs_that_pay_are_made_again_and_none_once_no_pair_does(tiny_base, train_part):
    plan, batches = Plan(train_part, train_part, 0), []

    def make(jobs, settings):
        batches.append([job.seed for job in jobs])
        return make_pairs(tiny_base, jobs, settings)

    def again(number):
        return [plan.item(index, number).job for index in range(3)]

    first = make_pairs(tiny_base, [plan.item(index).job for index in range(3)], SETTINGS)
    wanted = [0, 1, 2]  # rounds of each

    def pays(best):
        place = next(place for place, pair in enumerate(first) if pair is best.first)
        wanted[place] -= 1
        return wanted[place] >= 0

    found = refine(make, first, again, SETTINGS, lambda pair: True, 5, has_farm=False, pays=pays)
    assert [len(batch) for batch in batches] == [2, 1]
    assert batches == [[again(1)[1].seed, again(1)[2].seed], [again(2)[2].seed]]
    assert found[0].pair is first[0] and found[0].calls == first[0].calls and found[2].calls > found[1].calls


def test_calls_are_two_a_step_with_guidance_and_one_without(tiny_base, train_part):
    job = Plan(train_part, train_part, 0).item(0).job
    calls = [make_pairs(tiny_base, [job], replace(SETTINGS, steps=n, guidance=g))[0] for n, g in ((3, 1.0), (3, 2.0))]
    assert calls[1].calls == 2 * calls[0].calls and calls[0].calls == 3 * len(calls[0].windows)


def test_the_gain_is_computed_from_the_manifest_alone():
    def line(visible, near, first_visible, first_near):
        first = {"visible": first_visible, "nearest_real": first_near}
        return {"visible": visible, "nearest_real": near, "refined": {"first": first, "first_calls": 10, "calls": 40}}

    found = gain([line(True, 1.0, False, 3.0), line(True, 2.0, True, 4.0), line(False, None, False, None)])
    assert found["visible"] == pytest.approx((1 / 3, 2 / 3))
    assert found["nearest_real"] == (3.5, 1.5) and found["calls"] == (10, 40)
