from math import log

import pytest
import torch
from anomaly_synthesis.samplers.grid import KINDS, aias_grid, grid_sigmas
from anomaly_synthesis.samplers.schedule import DATA_STD, ldm_sigmas

from .refusals import refused

LOG_SIGMAS = ldm_sigmas().log().tolist()
WINDOWS = [((1000, 800), (400, 300)), ((800, 700), (400, 300))]


def descends(grid):
    return all(e < s for s, e in zip(grid, grid[1:], strict=False))


@pytest.mark.parametrize("steps", [*range(3, 31), 48, 50, 77, 100, 250, 500, 999, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_levels_descend_from_the_noisiest_to_0(kind, steps):
    for refine in (1, 2):
        grid = aias_grid(steps, kind, refine)
        assert len(grid) == steps and descends(grid) and grid[0] == 999 and grid[-refine:] == [1, 0][-refine:]


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 50, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_without_refinement_the_length_is_still_exact(kind, steps):
    grid = aias_grid(steps, kind, refine=0)
    assert len(grid) == steps and descends(grid) and grid[0] == 999 and grid[-1] >= 0


def test_uniform_50_is_the_papers_48_segments_and_2_steps():
    assert aias_grid(50) == [round(999 - 998 * k / 48) for k in range(48)] + [1, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_steps_as_levels_visit_all(kind):
    assert aias_grid(1000, kind) == list(range(999, -1, -1))
    assert aias_grid(40, kind, timesteps=40) == list(range(39, -1, -1))


def test_quadratic_is_uniform_in_the_root_of_t():
    start, end = 1000**0.5, 2**0.5
    assert aias_grid(10, "quadratic")[:8] == [round((start + (end - start) * k / 8) ** 2 - 1) for k in range(8)]


def nearest(log_sigma):
    """The level of the LDM table nearest to a log sigma."""
    return min(range(1000), key=lambda t: abs(LOG_SIGMAS[t] - log_sigma))


def test_lambda_is_uniform_in_log_sigma():
    top, low = LOG_SIGMAS[-1], LOG_SIGMAS[0]
    assert aias_grid(12, "lambda", refine=0) == [nearest(top + (low - top) * k / 11) for k in range(12)]
    low = LOG_SIGMAS[1]  # where the last segment of 12 ends
    assert aias_grid(14, "lambda") == [nearest(top + (low - top) * k / 12) for k in range(12)] + [1, 0]


@pytest.mark.parametrize("steps", [2, 5, 8, 10, 20])
def test_half_spreads_its_levels_about_the_datas_scale(steps):
    high, low = min(LOG_SIGMAS[-1] - log(2), log(DATA_STD * steps)), max(LOG_SIGMAS[0], log(DATA_STD / steps))
    levels = [nearest(high + (low - high) * k / max(steps - 2, 1)) for k in range(steps - 1)]
    assert aias_grid(steps, "half", refine=0) == [999, *levels]


def test_half_means_the_same_noise_over_signal_in_a_flow_model():
    flow = torch.arange(1, 1001, dtype=torch.float64) / 1000
    sigmas = grid_sigmas(aias_grid(8, "half", refine=0, sigmas=flow), flow)
    ratios = (sigmas / (1 - sigmas))[1:-1]
    assert ratios[0].item() == pytest.approx(8 * DATA_STD, rel=0.02)
    assert ratios[-1].item() == pytest.approx(DATA_STD / 8, rel=0.02)
    assert (ratios[:-1] / ratios[1:]).tolist() == pytest.approx([2] * 6, rel=0.02)


def test_a_collision_takes_the_nearest_free_level_upward():
    # Uniform in sqrt(t) over 20 levels with 18 segments wants 2, 2, 1, 0, 0 .. at its end, below the floor of 0.
    wanted = [round((20**0.5 * (1 - k / 18)) ** 2 - 1) for k in range(18)]
    assert len(set(wanted)) < len(wanted)
    taken = set()
    for level in wanted:
        level = max(level, 0)
        while level in taken:
            level += 1
        taken.add(level)
    assert aias_grid(18, "quadratic", refine=0, timesteps=20) == sorted(taken, reverse=True)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_window_is_hit_by_every_grid_of_5_steps_or_more(kind, windows):
    for refine in (0, 2):
        for steps in range(5, 61):
            grid = aias_grid(steps, kind, refine, windows=windows)
            assert len(grid) == steps and descends(grid) and grid[0] == 999
            assert grid[-2:] == [1, 0] or refine == 0
            assert all(any(low <= level <= high for level in grid) for high, low in windows), (steps, refine, grid)


def test_a_level_that_hits_one_window_is_not_moved_into_another():
    assert 799 in aias_grid(5, refine=0)  # the only level in the first window, and the nearest to the second
    grid = aias_grid(5, refine=0, windows=[(800, 790), (789, 780)])
    assert 799 in grid and any(780 <= level <= 789 for level in grid) and len(grid) == 5 and descends(grid)


def test_windows_that_are_hit_already_change_nothing():
    for windows in WINDOWS:
        assert aias_grid(50, windows=windows) == aias_grid(50)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_scale_with_the_table(kind):
    for steps in range(5, 61):
        grid = aias_grid(steps, kind, windows=[(800, 700), (400, 300)], timesteps=500)
        t = [999 * level / 499 for level in grid]
        assert len(grid) == steps and descends(grid) and grid[0] == 499 and grid[-2:] == [1, 0]
        assert any(700 <= one <= 800 for one in t) and any(300 <= one <= 400 for one in t)


@pytest.mark.parametrize("timesteps", [10, 57, 500, 777, 1000, 4000])
def test_a_window_at_either_end_holds_the_end_of_any_table(timesteps):
    grid = aias_grid(4, refine=0, windows=[(999, 999), (0, 0)], timesteps=timesteps)
    assert grid[0] == timesteps - 1 and grid[-1] == 0 and len(grid) == 4


def test_another_table_moves_the_levels_of_lambda():
    flow = torch.arange(1, 1001, dtype=torch.float64) / 1000
    grid = aias_grid(10, "lambda", refine=0, sigmas=flow)
    assert grid == [round(1000 ** (1 - k / 9)) - 1 for k in range(10)]


@pytest.mark.parametrize(
    "arguments, subject, words",
    [
        ({"steps": 2}, "steps", "^2 with 2 refinement"),
        ({"steps": 0, "refine": 0}, "steps", "^0 with 0"),
        ({"steps": 5, "refine": -1}, "steps", "refinement"),
        ({"steps": 1001}, "steps", "has 1000 levels"),
        ({"steps": 10, "kind": "cosine"}, "kind", "^'cosine'$"),
        ({"steps": 10, "kind": "lambda", "sigmas": ldm_sigmas(500)}, "sigmas", "^a table of 500 levels"),
        ({"steps": 10, "windows": [(300, 400)]}, "windows", "holds no level"),
        ({"steps": 10, "windows": [(400.4, 400.2)]}, "windows", "holds no level"),
        ({"steps": 3, "windows": [(800, 700), (400, 300)]}, "steps", "^1 segments cannot reach"),
    ],
)
def test_impossible_grids_are_refused(arguments, subject, words):
    with refused(f"^{subject}$", words):
        aias_grid(**arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grid_sigmas_are_the_tables_and_end_at_0(dtype):
    table = ldm_sigmas().to(dtype)
    sigmas = grid_sigmas([999, 500, 3], table)
    assert sigmas.dtype == dtype and sigmas.tolist() == [table[999].item(), table[500].item(), table[3].item(), 0.0]
