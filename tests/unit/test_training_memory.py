"""What a step keeps for its gradients: counted, spared by checkpointing, and compared with what is free."""

from dataclasses import replace

import pytest
import torch
from anomaly_synthesis.training import memory
from anomaly_synthesis.training.checkpointing import blocks_of, checkpointed
from anomaly_synthesis.training.fast import FastTraining, fast_loss, new_modules
from anomaly_synthesis.training.frozen import Latents
from anomaly_synthesis.training.frozen_compact import FrozenCompact
from anomaly_synthesis.training.memory import kept_for_gradients, step_memory
from torch import nn

SETTINGS = FastTraining(steps=2, batch=2, tokens=3, checkpointing="off")


@pytest.fixture
def frozen(tiny_base):
    return FrozenCompact(tiny_base, [label for label in tiny_base.config.labels if label[1] != "good"][:2])


def latents(count=2, size=16):
    mask = torch.zeros(count, 1, size, size)
    mask[..., 3:9, 3:9] = 1
    return Latents(torch.randn(count, 4, size, size), mask, torch.arange(count) % 2)


def test_what_is_kept_is_counted_once_and_without_weights():
    x, layer = torch.randn(3, 5, requires_grad=True), nn.Linear(5, 7)
    assert kept_for_gradients(lambda: (x * x).sum()) == x.nbytes
    # The layer's own weight is kept too, but it is there anyway; the activation needs its result.
    assert kept_for_gradients(lambda: layer(x).sigmoid().sum(), layer.parameters()) == x.nbytes + 4 * 3 * 7


def test_blocks_are_what_a_network_s_lists_hold():
    block = nn.Sequential
    inner = nn.ModuleList([nn.Conv2d(1, 1, 1), nn.ModuleList([nn.Identity(), nn.Tanh()])])
    network = nn.Module()
    network.inlet, network.body, network.outlet = nn.Linear(1, 1), inner, block(nn.ReLU())
    wrapper = nn.Module()
    wrapper.inner = network
    for one in (network, wrapper):
        assert [type(found).__name__ for found in blocks_of(one)] == ["Linear", "Conv2d", "Identity", "Tanh", "ReLU"]


def test_checkpointing_gives_the_same_gradients_and_leaves_the_network_as_it_was(frozen):
    modules, some = new_modules(frozen, [("a", "b"), ("a", "c")], SETTINGS), latents()
    t, noise = torch.tensor([100, 800]), torch.randn(2, 4, 16, 16)

    def gradients():
        loss = fast_loss(frozen, modules, some, t, noise, SETTINGS)
        return loss, torch.autograd.grad(loss, list(modules.parameters()))

    plain, before = gradients()
    patched = {name for name, part in frozen.network.named_modules() if "forward" in vars(part)}
    with checkpointed(frozen.network):
        assert any("forward" in vars(part) for part in frozen.network.modules())
        again, after = gradients()
    assert torch.equal(plain, again) and all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert patched == {name for name, part in frozen.network.named_modules() if "forward" in vars(part)}


def test_checkpointing_keeps_less(frozen):
    found = {mode: step_memory(frozen, latents(), replace(SETTINGS, checkpointing=mode), None, "cpu")
             for mode in ("off", "on", "auto")}  # fmt: skip
    assert found["on"].bytes < 0.7 * found["off"].bytes and found["on"].checkpointing
    assert found["auto"] == found["off"], "where nobody knows what is free, nothing is spared"


def test_the_estimate_of_a_small_try_is_what_the_whole_step_keeps(frozen, monkeypatch):
    some = latents(2, 32)
    whole = step_memory(frozen, some, SETTINGS, None, "cpu").bytes
    monkeypatch.setattr(memory, "PROBE", 16)
    assert step_memory(frozen, some, SETTINGS, None, "cpu").bytes == pytest.approx(whole, rel=0.1)


def test_auto_spares_where_memory_is_short_and_far_too_little_is_refused(frozen):
    auto = replace(SETTINGS, checkpointing="auto")
    wants = step_memory(frozen, latents(), SETTINGS, None, "cpu").bytes
    assert not step_memory(frozen, latents(), auto, 2 * wants, "cpu").checkpointing
    assert step_memory(frozen, latents(), auto, wants, "cpu").checkpointing
    assert step_memory(frozen, latents(), SETTINGS, wants, "cpu").bytes == wants, "it may just fit"
    with pytest.raises(ValueError, match="a step of 2 keeps about .* GB .*free; lower batch or resolution, switch"):
        step_memory(frozen, latents(), SETTINGS, wants // 4, "cpu")
    with pytest.raises(ValueError, match="lower batch or resolution, or train on a smaller model"):
        step_memory(frozen, latents(), auto, wants // 100, "cpu")
