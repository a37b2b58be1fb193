import inspect

import pytest
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.grid import aias_grid
from anomaly_synthesis.samplers.presets import NOISE_FROM, PRESETS, preset

from .refusals import refused


def test_the_papers_setting_stays_a_preset():
    assert set(PRESETS) == {"recommended", "fast", "paper"}
    grid, sampler = preset("paper", 50)
    assert grid == {"steps": 50, "kind": "uniform", "refine": 2}
    assert sampler == {"order": 1, "eta": 1.0, "foreground_mode": "renoise", "foreground_until": 2}


@pytest.mark.parametrize("name", PRESETS)
def test_options_are_keywords_of_the_grid_and_the_sampler(name):
    grid, sampler = preset(name, 10)
    assert len(aias_grid(**grid)) == 10
    keywords = {p.name for p in inspect.signature(sample_aias).parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert set(sampler) <= keywords


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_changed_by_its_user_stays_itself(name):
    grid, sampler = preset(name, 10)
    grid["kind"], sampler["eta"] = "changed", 7
    again = preset(name, 10)
    assert again[0]["kind"] != "changed" and again[1]["eta"] != 7


def test_unknown_name_is_refused():
    with refused("^preset$", "^'best'$", "^one of recommended"):
        preset("best", 10)


@pytest.mark.parametrize("name", PRESETS)
def test_as_few_steps_as_one_leave_out_refinement(name):
    for steps, most in ((1, 0), (2, 1), (3, 2)):
        grid, _ = preset(name, steps)
        assert grid["refine"] <= most and len(aias_grid(**grid)) == steps
    assert preset("paper", 2)[0]["refine"] == 1 and preset("paper", 3)[0]["refine"] == 2


def test_recommended_is_fast_with_noise_from_a_number_of_steps_on():
    for steps in (1, 6, NOISE_FROM - 1, NOISE_FROM, 20, 50):
        (fast_grid, fast), (grid, recommended) = preset("fast", steps), preset("recommended", steps)
        assert grid == fast_grid and fast["eta"] == 0
        assert recommended == fast | {"eta": 0.5 if steps >= NOISE_FROM else 0.0}
