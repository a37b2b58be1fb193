"""FARM: any size, the mask everywhere, no mixing of items, and every condition has an effect."""

import pytest
import torch
from anomaly_synthesis.modules.farm import FARM

from .refusals import refused


def _inputs(size=(13, 10), channels=4, batch=2):
    generator = torch.Generator().manual_seed(0)
    x, background = (torch.randn(batch, channels, *size, generator=generator) for _ in range(2))
    mask = torch.zeros(batch, 1, *size)
    mask[:, :, size[0] // 3, size[1] // 2] = 1
    return x, torch.tensor([10.0, 900.0])[:batch], mask, background


@pytest.fixture
def farm():
    torch.manual_seed(0)
    return FARM(4, token_channels=16).eval()


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (13, 10), (16, 31)])
@pytest.mark.parametrize("channels", [4, 16])
def test_any_size_and_channels(size, channels):
    x, t, _, background = _inputs(size, channels)
    mask = torch.ones(2, 1, *size)
    assert FARM(channels).eval()(x, t, mask, background).shape == x.shape


def test_the_paper_s_module_needs_neither_background_nor_type():
    x, t, mask, _ = _inputs()
    module = FARM(4, told_background=False, norm="batch").eval()
    assert module(x, t, mask).shape == x.shape
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in module.modules())


def test_an_item_alone_is_the_item_of_a_batch(farm):
    x, t, mask, background = _inputs()
    tokens = torch.randn(2, 8, 16)
    both = farm(x, t, mask, background, tokens)
    alone = farm(x[1:], t[1:], mask[1:], background[1:], tokens[1:])
    assert torch.allclose(both[1:], alone, atol=1e-5)
    farm.train()  # group norm: training and evaluation are one
    assert torch.equal(farm(x, t, mask, background, tokens), both)


def test_time_mask_type_and_background_change_the_answer(farm):
    x, t, mask, background = _inputs()
    tokens = torch.randn(2, 8, 16)
    plain = farm(x, t, mask, background, tokens)
    moved = mask.roll(2, -1)
    for other in (
        farm(x, t.flip(0), mask, background, tokens),
        farm(x, t, moved, background, tokens),
        farm(x, t, mask, background + 1, tokens),
        farm(x, t, mask, background, tokens + 1),
    ):
        assert (other - plain).abs().max() > 1e-4


def test_the_clean_background_is_read_outside_the_mask_only(farm):
    x, t, mask, background = _inputs()
    tokens = torch.zeros(2, 8, 16)
    inside = background + 5 * mask
    assert torch.equal(farm(x, t, mask, background, tokens), farm(x, t, mask, inside, tokens))


def test_inputs_that_it_was_trained_with_are_required(farm):
    x, t, mask, background = _inputs()
    with refused(subject="background", got="clean one", remedy="give background"):
        farm(x, t, mask, tokens=torch.zeros(2, 8, 16))
    with refused(subject="tokens", got="got none", remedy="give the type's tokens"):
        farm(x, t, mask, background)
    with refused(got="norm 'layer'", accepted="group or batch"):
        FARM(4, norm="layer")


def test_it_learns_to_recover_an_anomaly_from_noise():
    """Two types of one constant each: with the type FARM can predict it; without, only their mean, 0."""
    torch.manual_seed(0)
    farm = FARM(2, token_channels=4)
    tokens, level = torch.eye(4)[:2, None], torch.tensor([1.0, -1.0])
    optimiser = torch.optim.AdamW(farm.parameters(), lr=2e-3)
    mask = torch.zeros(8, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    for _ in range(60):
        type = torch.randint(2, (8,))
        x0 = level[type][:, None, None, None] * mask.expand(-1, 2, -1, -1)
        made = farm(0.3 * x0 + torch.randn_like(x0), torch.full((8,), 700.0), mask, torch.zeros_like(x0), tokens[type])
        loss = ((made - x0) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.05
    assert all(weight.grad is not None for weight in farm.parameters())
