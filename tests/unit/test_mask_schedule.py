"""EMA: all ones at T, the defect's own mask from t_s down, a function of the level alone."""

import pytest
import torch
from anomaly_synthesis.samplers.mask_schedule import SHAPES, MaskSchedule, ema_mask

from .refusals import refused


def mask():
    drawn = torch.rand(2, 1, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.where(drawn > 0.7, 1, torch.where(drawn > 0.5, drawn, 0))


def test_it_is_the_paper_s_equation_8():
    for t, zeta in ((1000, 1.0), (600, 0.5), (999, 799 / 800), (201, 1 / 800), (200, 0.0), (0, 0.0)):
        assert torch.allclose(ema_mask(mask(), t), mask() + zeta * (1 - mask()), rtol=0, atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("t_s", [0, 200, 999])
def test_it_starts_as_ones_and_closes_to_the_mask_without_a_way_back(shape, t_s):
    assert (ema_mask(mask(), 1000, t_s, shape=shape) == 1).all()
    assert torch.equal(ema_mask(mask(), t_s, t_s, shape=shape), mask())
    levels = torch.stack([ema_mask(mask(), t, t_s, shape=shape) for t in range(0, 1001, 50)])
    assert (levels.diff(dim=0) >= 0).all() and (levels >= mask()).all() and (levels <= 1).all()


def test_cosine_is_flat_at_both_ends_and_half_way_in_the_middle():
    schedule = MaskSchedule(200, 1000, "cosine")
    assert schedule.zeta(600) == pytest.approx(0.5)
    assert schedule.zeta(240) < MaskSchedule().zeta(240) and schedule.zeta(960) > MaskSchedule().zeta(960)


def test_a_level_per_item():
    found = ema_mask(mask(), torch.tensor([700, 100]))
    assert torch.allclose(found[0], ema_mask(mask(), 700)[0]) and torch.equal(found[1], mask()[1])


def test_another_number_of_levels():
    assert MaskSchedule(20, 100).zeta(60) == MaskSchedule().zeta(600) == 0.5


@pytest.mark.parametrize(
    ("change", "subject", "got", "accepted"),
    [
        ({"t_s": -1}, "t_s", "-1", "^0 to 999,"),
        ({"t_s": 1000}, "t_s", "1000", "^0 to 999,"),
        ({"t_s": float("nan")}, "t_s", "nan", "^0 to 999,"),
        ({"t_s": 200, "timesteps": 100}, "t_s", "200", "^0 to 99,"),
        ({"timesteps": 1}, "timesteps", "1", "^2 or more$"),
        ({"shape": "step"}, "shape", "'step'", "^linear or cosine$"),
        ({"t": 1001}, "t", "1001.0", "^0 to 1000$"),
        ({"t": -0.5}, "t", "-0.5", "^0 to 1000$"),
        ({"t": torch.tensor([1, 2, 3])}, "t", r"\(3,\) for a mask of .*", "one number, or one per item"),
    ],
)
def test_values_out_of_range_are_refused_with_what_is_accepted(change, subject, got, accepted):
    with refused(f"^{subject}$", f"^{got}$", accepted):
        ema_mask(mask(), **({"t": 500} | change))
