"""The preview of what FARM has learnt: in the masks alone, repeatable, and changed by training."""

import torch
from anomaly_synthesis.modules.fast import FastModules
from anomaly_synthesis.training.frozen import FrozenCompact, Latents
from anomaly_synthesis.training.previews import made_by_farm


def test_it_fills_the_masks_alone(tiny_base):
    types = [label for label in tiny_base.config.labels if label[1] != "good"][:2]
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, 3:9, 3:9] = mask[1, :, 5, 5] = 1
    some = Latents(torch.randn(2, 4, 16, 16), mask, torch.arange(2))
    torch.manual_seed(0)
    modules = FastModules(types, 4, tiny_base.config.token_channels, count=2).eval()
    frozen = FrozenCompact(tiny_base, types)
    frozen.noise = None  # would fail if it were called
    made = made_by_farm(frozen, modules, some)
    outside = (mask == 0).expand_as(made)
    assert torch.allclose(made[outside], some.x0[outside], atol=1e-5) and made.isfinite().all()
    assert torch.equal(made, made_by_farm(frozen, modules, some))
    with torch.no_grad():
        modules.farm.outlet.bias += 1
    assert (made_by_farm(frozen, modules, some) - made)[~outside].abs().min() > 0.1
