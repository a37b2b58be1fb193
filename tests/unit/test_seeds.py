"""Seeds that are derived from seeds: the values of every rule, since pairs are made from them."""

import pytest
from anomaly_synthesis.datasets.batch_plan import BatchPlan
from anomaly_synthesis.seeds import CONTROL_SEED, anomaly_seed, checksum_seed, derived_seed, part_seed, round_seed


def test_the_rules_give_the_seeds_that_pairs_were_made_from():
    assert derived_seed(0, 0, "anomaly 0") == 4812831587493127261
    assert part_seed(7, 2) == 4354685564936845361
    assert round_seed(7, 1) == 4701663079357100694
    assert checksum_seed(1, "train", "good", 3) == 1339798173
    assert CONTROL_SEED == 4611686018427387905


def test_the_command_line_and_a_batch_plan_agree_on_the_seed_of_an_item():
    plan = BatchPlan(count=9, seed=4)
    assert [plan.item(i).seed() for i in range(9)] == [anomaly_seed(4, i) for i in range(9)]
    assert anomaly_seed(4, 2, 3) == derived_seed(4, 2, "anomaly 3")


def test_the_first_part_and_no_round_keep_the_seed():
    assert part_seed(41, 0) == round_seed(41, 0) == 41


@pytest.mark.parametrize("seed", [0, 2**63 - 100])
def test_parts_rounds_and_items_of_a_run_do_not_meet(seed):
    found = [
        part_seed(round_seed(seed, number) + item, part)
        for number in range(6)
        for item in range(8)
        for part in range(8)
    ]
    assert len(set(found)) == len(found) and all(0 <= one < 2**63 for one in found)
