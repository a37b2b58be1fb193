"""Batch Plan: the items of the command line, by index."""

from __future__ import annotations

from .scenes import refused
from .start import call, own, room

KINDS = "bottle / crack\n\ncable / bent wire"


def _item(index: int, kinds: str = KINDS, count: int = 3, plan_seed: int = 7) -> tuple:
    return call("BatchPlan", kinds=kinds, count=count, plan_seed=plan_seed, index=index)


def check_items_are_those_of_the_command_line_and_kinds_come_in_turn():
    items = [_item(index) for index in range(6)]
    assert [item[:2] for item in items] == 3 * [("bottle", "crack"), ("cable", "bent wire")]
    seeds = [room("datasets.batch_plan").derived_seed(7, index, "anomaly 0") for index in range(6)]
    assert [item[2] for item in items] == seeds and len(set(seeds)) == 6
    assert [item[3] for item in items] == [0, 0, 1, 1, 2, 2] and {item[4] for item in items} == {6}
    assert [_item(index, count=9)[:4] for index in range(6)] == [item[:4] for item in items]


def check_the_end_of_the_plan_and_bad_kinds_are_reported_before_a_run():
    for words, widgets in (
        ("item: 6 of a plan of 6", {"index": 6}),
        ("kinds: line 1 is 'bottle'", {"index": 0, "kinds": "bottle"}),
        ("kinds: none; give at least one", {"index": 0, "kinds": " "}),
        ("kinds: bottle / crack is there twice", {"index": 0, "kinds": "bottle / crack\nbottle/crack"}),
    ):
        with refused("Batch Plan: ", words):
            _item(**widgets)
        widgets = {"kinds": KINDS, "count": 3} | widgets
        assert words in own("BatchPlan").validate_inputs(**widgets)
    assert own("BatchPlan").validate_inputs(kinds=None, count=3, index=0) is True
