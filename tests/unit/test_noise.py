import pytest
import torch
from anomaly_synthesis.samplers.noise import ItemNoise, initial_noise, item_seeds

from .refusals import refused

LIKE = torch.empty(3, 4, 16, 16)


def test_first_state_and_later_noise_of_a_seed_do_not_repeat_each_other():
    first, later = initial_noise(LIKE, [7, 8, 9]), ItemNoise(LIKE, [7, 8, 9])
    draws = torch.stack([first, later(), later()]).flatten(2)  # draw, item, value
    together = torch.corrcoef(draws.reshape(9, -1))
    assert (together - torch.eye(9)).abs().max() < 0.15


def test_noise_is_standard_normal():
    like = torch.empty(2, 4, 128, 128)
    for drawn in (initial_noise(like, [0, 1]), ItemNoise(like, [0, 1])()):
        assert drawn.mean().abs() < 0.02 and abs(drawn.std() - 1) < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_does_not_change_what_is_drawn(dtype):
    seeds = [1, 2, 3]
    assert torch.equal(initial_noise(LIKE.to(dtype), seeds), initial_noise(LIKE, seeds).to(dtype))
    one, other = ItemNoise(LIKE.to(dtype), seeds), ItemNoise(LIKE, seeds)
    for _ in range(2):
        assert torch.equal(one(), other().to(dtype))


def test_an_items_noise_depends_on_its_seed_alone():
    many, one = ItemNoise(LIKE, [5, 6, 7]), ItemNoise(LIKE[:1], [6])
    for _ in range(2):
        assert torch.equal(many()[1:2], one())
    assert torch.equal(initial_noise(LIKE, [5, 6, 7])[2:], initial_noise(LIKE[:1], [7]))


def test_an_item_that_is_left_out_draws_nothing():
    some, all_of_them = ItemNoise(LIKE, [5, 6, 7]), ItemNoise(LIKE, [5, 6, 7])
    drawn, first = some([True, False, True]), all_of_them()
    assert not drawn[1].any() and torch.equal(drawn[0], first[0])
    second = some()
    assert torch.equal(second[1], first[1]) and torch.equal(second[0], all_of_them()[0])


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    ItemNoise(LIKE, [1, 2, 3])()
    initial_noise(LIKE, [1, 2, 3])
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_are_given_or_counted_or_drawn():
    assert item_seeds(3, [9, 9, 1], 5) == [9, 9, 1]
    assert item_seeds(3, None, 5) == [5, 6, 7]
    torch.manual_seed(0)
    drawn = item_seeds(3, None, None)
    torch.manual_seed(0)
    assert item_seeds(3, None, None) == drawn and len(set(drawn)) == 3


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**64 - 1])
def test_any_seed_that_a_host_gives_is_accepted(seed):
    assert torch.isfinite(ItemNoise(LIKE[:1], [seed])()).all() and torch.isfinite(initial_noise(LIKE[:1], [seed])).all()


def test_one_seed_per_item():
    with refused("^seeds$", "^2 for a batch of 3$", "one seed per item"):
        ItemNoise(LIKE, [1, 2])
