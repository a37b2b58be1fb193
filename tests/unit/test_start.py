"""Start state and sampler options, by hand: shared by the command line and the nodes."""

import pytest
import torch
from anomaly_synthesis.samplers.mask_schedule import MaskSchedule
from anomaly_synthesis.synthesis.start import farm_options, sampling, start_state

BACKGROUND, NOISE = torch.full((1, 2, 4, 4), 3.0), torch.full((1, 2, 4, 4), 0.5)
MASK = torch.zeros(1, 1, 4, 4)
MASK[..., 1:3, 1:3] = 1


def values(state):
    """(inside, outside) the mask."""
    return state[0, 0, 1, 1].item(), state[0, 0, 0, 0].item()


@pytest.mark.parametrize(
    ("options", "full", "expected"),
    [
        ({}, True, (5.0, 8.0)),  # noise of sigma 10 alone in the mask, on the background outside it
        ({}, False, (8.0, 8.0)),  # a run that begins in the middle shows what the image shows there
        ({"pure_start": True}, True, (5.0, 8.0)),
        ({"aif": True}, True, (5.0, 8.0)),
        ({"pure_start": True, "aif": True}, True, (5.0, 5.0)),
    ],
)
def test_start_state(options, full, expected):
    assert values(start_state(BACKGROUND, MASK, 10.0, NOISE, options, full=full)) == expected


def test_a_flow_model_scales_the_background():
    assert values(start_state(BACKGROUND, MASK, 0.8, NOISE, {}, alpha=0.2)) == pytest.approx((0.4, 1.0))


def test_without_a_stage_it_is_aias_and_with_one_graded_diffusion():
    plain, graded = sampling("recommended", 10), sampling("recommended", 10, "stage")
    assert not plain.graded and not plain.heads and plain.windows == () and "aif" not in plain.options
    assert graded.graded and graded.heads and graded.windows == ((1000, 800), (400, 300)) and graded.options["aif"]
    assert plain.options["eta"] == 0.5 and graded.options["eta"] == 1.0
    assert all(any(lo <= level <= hi for level in graded.levels()) for hi, lo in graded.windows)


def test_given_windows_and_schedule_count_only_where_the_stage_has_these_parts():
    schedule = MaskSchedule(300.0, shape="cosine")
    full = sampling("fast", 8, "stage", windows=[(900, 700)], mask_schedule=schedule)
    assert full.windows == ((900, 700),) and full.options["mask_schedule"] is schedule
    assert sampling("fast", 8, "stage", windows=()).windows == ()
    bare = sampling("fast", 8, "mga-aif", windows=[(900, 700)], mask_schedule=schedule)
    assert bare.windows == () and bare.options["mask_schedule"] is None


def test_farm_adds_nothing_where_it_is_absent_or_off_and_leaves_the_presets_end():
    def foreground(x, sigma):
        return x

    assert farm_options(None, 1.0, 40) == farm_options(foreground, 0.0, 40) == {}
    assert farm_options(foreground, 0.5, None) == {"foreground": foreground, "foreground_strength": 0.5}
    assert farm_options(foreground, 1.0, 2)["foreground_until"] == 2
