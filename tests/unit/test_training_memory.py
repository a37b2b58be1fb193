"""Memory that a step keeps for its gradients: counted, reduced by checkpointing, compared with what is free."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from anomaly_synthesis.modules.tokens import AnomalyTokens
from anomaly_synthesis.training import fast, memory, stage
from anomaly_synthesis.training.fast import FastTraining, fast_loss, new_modules
from anomaly_synthesis.training.frozen import FrozenCompact, Latents
from anomaly_synthesis.training.memory import blocks_of, checkpointed, kept_for_gradients
from anomaly_synthesis.training.stage import StageTraining
from torch import nn

from .refusals import refused

SETTINGS = FastTraining(steps=2, batch=2, tokens=3, checkpointing="off")
STAGE = StageTraining(steps=2, batch=2, tokens=3, checkpointing="off", widths=(16, 16))
METHODS = {"fast": (fast, SETTINGS), "stage": (stage, STAGE)}


@pytest.fixture
def types(tiny_base):
    return [label for label in tiny_base.config.labels if label[1] != "good"][:2]


@pytest.fixture
def frozen(tiny_base, types):
    return FrozenCompact(tiny_base, types)


@pytest.fixture
def wanted(frozen, types):
    """wanted(latents, settings, free): what `step_memory` finds for a method's own step."""

    def wanted(some, settings, free=None, **given):
        prepare = partial(METHODS[settings.method][0].prepare, frozen, types, device="cpu", **given)
        return memory.step_memory(frozen.network, prepare, some, settings, free)

    return wanted


def latents(count=2, size=16):
    mask = torch.zeros(count, 1, size, size)
    mask[..., 3:9, 3:9] = 1
    return Latents(torch.randn(count, 4, size, size), mask, torch.arange(count) % 2)


def test_kept_tensors_are_counted_once_and_without_weights():
    x, layer = torch.randn(3, 5, requires_grad=True), nn.Linear(5, 7)
    assert kept_for_gradients(lambda: (x * x).sum()) == x.nbytes
    # The layer's weight is kept too, but it exists anyway; the activation keeps its own result.
    assert kept_for_gradients(lambda: layer(x).sigmoid().sum(), layer.parameters()) == x.nbytes + 4 * 3 * 7


def test_blocks_are_the_entries_of_a_networks_lists():
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


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_keeps_less(wanted, method):
    found = {mode: wanted(latents(), replace(METHODS[method][1], checkpointing=mode)) for mode in ("off", "on", "auto")}
    assert found["on"].bytes < 0.7 * found["off"].bytes and found["on"].checkpointing
    assert found["auto"] == found["off"], "checkpointing stays off if the free memory is unknown"


@pytest.mark.parametrize("method", METHODS)
def test_the_estimate_from_a_small_batch_equals_what_the_whole_step_keeps(wanted, monkeypatch, method):
    some, settings = latents(2, 32), METHODS[method][1]
    whole = wanted(some, settings).bytes
    monkeypatch.setattr(memory, "PROBE", 16)
    assert wanted(some, settings).bytes == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_auto_checkpoints_if_memory_is_short_and_far_too_little_is_refused(wanted, method):
    settings = METHODS[method][1]
    auto, wants = replace(settings, checkpointing="auto"), wanted(latents(), settings).bytes
    assert not wanted(latents(), auto, 2 * wants).checkpointing
    assert wanted(latents(), auto, wants).checkpointing
    assert wanted(latents(), settings, wants).bytes == wants, "it may just fit"
    with refused(
        subject="memory", got="a step of 2 keeps about .* GB .*free$", remedy="lower batch or resolution, switch"
    ):
        wanted(latents(), settings, wants // 4)
    with refused(remedy="lower batch or resolution, or train on a smaller model"):
        wanted(latents(), auto, wants // 100)


def test_heads_alone_keep_nothing_of_the_base_and_checkpointing_would_not_help(wanted, types, tiny_base):
    tokens = AnomalyTokens(types, tiny_base.config.token_channels, 3)
    alone = wanted(latents(), STAGE, tokens=tokens).bytes
    assert alone < 0.5 * wanted(latents(), STAGE).bytes
    assert not wanted(latents(), replace(STAGE, checkpointing="auto"), alone, tokens=tokens).checkpointing
    with refused(subject="memory", remedy="lower batch or resolution, or train on a smaller"):
        wanted(latents(), STAGE, alone // 4, tokens=tokens)
