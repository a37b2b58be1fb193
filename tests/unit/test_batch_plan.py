"""Batch plans: item i by (seed, i) alone, kinds in turn, bad plans refused."""

from collections import Counter

from anomaly_synthesis.datasets.batch_plan import BatchPlan, derived_seed, kinds_from_text, kinds_of

from .refusals import refused

KINDS = kinds_of([{"object": "bottle", "type": ["crack", "dirt"]}, {"object": "cable", "type": "cut"}])


def test_kinds_take_turns_and_every_kind_gets_its_count():
    plan = BatchPlan(KINDS, 4, seed=3)
    kinds = [tuple(plan.item(index).kind.values()) for index in range(len(plan))]
    assert kinds[:3] == [("bottle", "crack"), ("bottle", "dirt"), ("cable", "cut")]
    assert set(Counter(kinds).values()) == {4}
    assert [plan.item(index).round for index in range(6)] == [0, 0, 0, 1, 1, 1]


def test_an_item_does_not_depend_on_the_count_or_on_earlier_items():
    short, long = BatchPlan(KINDS, 2, seed=3), BatchPlan(KINDS, 200, seed=3)
    for index in (5, 0, 3):
        one, other = short.item(index), long.item(index)
        assert one == other and one.seed("a") == other.seed("a")
        assert one.choose(range(1000), "b") == other.choose(range(1000), "b")


def test_seeds_are_the_command_lines_and_differ_by_item_seed_and_purpose():
    assert BatchPlan(seed=5, count=9).item(7).seed() == derived_seed(5, 7, "anomaly 0")
    seeds = {BatchPlan(seed=s, count=9).item(i).seed(p) for s in range(3) for i in range(9) for p in "ab"}
    assert len(seeds) == 54 and all(0 <= seed < 2**63 for seed in seeds)


def test_choices_are_spread_and_turns_combine_every_value_with_every_kind():
    plan = BatchPlan(KINDS, 400)
    items = [plan.item(index) for index in range(len(plan))]
    counts = Counter(item.choose("abcd", "x") for item in items)
    assert min(counts.values()) > 240, counts
    assert Counter((*item.kind.values(), item.turn("ab")) for item in items).keys() == {
        (*kind.values(), value) for kind in KINDS for value in "ab"
    }


def test_kinds_are_read_from_text():
    assert kinds_from_text("bottle / crack\n\n cable/cut ") == [
        {"object": "bottle", "type": "crack"},
        {"object": "cable", "type": "cut"},
    ]
    for text in ("bottle", "a / b / c", "a / "):
        with refused(got="line 1 is ", accepted="object / type"):
            kinds_from_text(text)


def test_bad_plans_are_refused():
    for make, fields in (
        (lambda: BatchPlan([]), {"subject": "^kinds$", "got": "none", "remedy": "give at least one"}),
        (lambda: BatchPlan(count=0), {"subject": "^count$", "got": "^0$", "accepted": "1 or more"}),
        (lambda: BatchPlan([{"type": "a"}, {"type": "a"}]), {"got": "^a is there twice", "remedy": "name it once"}),
        (lambda: BatchPlan(count=3).item(3), {"subject": "item", "got": "^3 of a plan of 3", "accepted": "^0 to 2$"}),
        (lambda: BatchPlan(count=3).item(-1), {"subject": "item", "got": "^-1 of", "accepted": "^0 to 2$"}),
        (lambda: BatchPlan().item(0).choose([], "files"), {"subject": "item 0", "got": "nothing to choose files from"}),
        (lambda: BatchPlan().item(0).turn([]), {"subject": "item 0", "got": "nothing to take in turn"}),
    ):
        with refused(**fields):
            make()
