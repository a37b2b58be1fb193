"""Mixed precision: the dtypes, and nearly the same gradients for FAST."""

from dataclasses import replace

import pytest
import torch
from anomaly_synthesis.training.fast import FastTraining, fast_loss, new_modules
from anomaly_synthesis.training.frozen import FrozenCompact, Latents
from anomaly_synthesis.training.loop import mixed

from .refusals import refused

SETTINGS = FastTraining(steps=2, batch=2, tokens=3)


@pytest.mark.parametrize(
    ("precision", "product"), [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_products_on_a_cpu(precision, product):
    with mixed(precision, "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == product


def test_an_unknown_precision_is_refused():
    with refused(subject="precision", got="'fp8'", accepted="one of auto, fp32, bf16"):
        replace(SETTINGS, precision="fp8")


def test_bf16_gives_nearly_the_same_gradients_in_float32(tiny_base):
    frozen = FrozenCompact(tiny_base, [label for label in tiny_base.config.labels if label[1] != "good"][:2])
    modules, mask = new_modules(frozen, [("a", "b"), ("a", "c")], SETTINGS), torch.zeros(2, 1, 16, 16)
    mask[..., 3:9, 3:9] = 1
    some = Latents(torch.randn(2, 4, 16, 16), mask, torch.arange(2))
    t, noise = torch.tensor([100, 800]), torch.randn(2, 4, 16, 16)
    found = []
    for precision in ("fp32", "bf16"):
        with mixed(precision, "cpu"):
            loss = fast_loss(frozen, modules, some, t, noise, SETTINGS)
        gradients = torch.autograd.grad(loss, list(modules.parameters()))
        assert all(one.dtype == torch.float32 for one in gradients)
        found.append(torch.cat([one.flatten() for one in gradients]))
    assert not torch.equal(*found) and torch.cosine_similarity(*found, 0) > 0.99
