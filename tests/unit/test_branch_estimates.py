"""The preview of STAGE's branches: over the real background, repeatable, and the x0 of the noise estimate."""

import pytest
import torch
from anomaly_synthesis.modules.stage import StageModules
from anomaly_synthesis.samplers.mask_schedule import MaskSchedule
from anomaly_synthesis.training.frozen import FrozenCompact, Latents
from anomaly_synthesis.training.previews import LEVEL, branch_estimates


@pytest.fixture
def types(tiny_base):
    return [label for label in tiny_base.config.labels if label[1] != "good"][:2]


@pytest.fixture
def modules(tiny_base, types):
    torch.manual_seed(0)
    return StageModules(types, 4, tiny_base.config.token_channels, count=2, widths=(16,)).eval()


def latents():
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, 3:9, 3:9] = mask[1, :, 5, 5] = 1
    return Latents(torch.randn(2, 4, 16, 16), mask, torch.arange(2))


def test_a_base_that_predicts_all_noise_returns_the_defects(tiny_base, types, modules):
    frozen, some = FrozenCompact(tiny_base, types), latents()
    noise = torch.randn((2, *some.x0.shape), generator=torch.Generator().manual_seed(0))
    answers = iter([noise[0], noise[1], noise[0], noise[1]])  # both branches of the base alone, then with tokens
    frozen.noise = lambda *_: next(answers)
    for row in branch_estimates(frozen, modules, some, MaskSchedule()):
        assert torch.allclose(row, some.x0, atol=1e-5)


def test_each_head_has_its_own_row_inside_its_own_mask(tiny_base, types, modules):
    frozen, some, closed = FrozenCompact(tiny_base, types), latents(), MaskSchedule(t_s=LEVEL)
    made = branch_estimates(frozen, modules, some, closed)
    outside = (some.mask == 0).expand_as(some.x0)
    assert all(torch.equal(row[outside], some.x0[outside]) and row.isfinite().all() for row in made)
    assert all(torch.equal(a, b) for a, b in zip(made, branch_estimates(frozen, modules, some, closed), strict=True))
    for place, head in ((1, modules.aware), (2, modules.only)):
        with torch.no_grad():
            head.conv[-1].bias += 1
        changed = branch_estimates(frozen, modules, some, closed)
        differs = [not torch.equal(a, b) for a, b in zip(made, changed, strict=True)]
        assert differs == [row == place for row in range(3)]
        assert (changed[place] - made[place])[~outside].abs().min() > 0.1
        with torch.no_grad():
            head.conv[-1].bias -= 1


def test_the_aware_branch_draws_the_surroundings_where_its_mask_is_open(tiny_base, types, modules):
    some = latents()
    outside = (some.mask == 0).expand_as(some.x0)
    alone, aware, only = branch_estimates(FrozenCompact(tiny_base, types), modules, some, MaskSchedule(t_s=0))
    assert all((row - some.x0)[outside].abs().mean() > 0.01 for row in (alone, aware))
    assert torch.equal(only[outside], some.x0[outside])
