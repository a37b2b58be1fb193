"""The denoiser as FAST's training sees it, through models of every kind: levels, gradients, precisions."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
import comfy.model_patcher
import torch
from torch import Tensor

from .fast_scenes import KIND, bits, half, same, sd15, sdxl
from .other_models import flow
from .scenes import apart, base
from .start import call, room


def _frozen_gradients(model, tokens: Tensor, extras: dict, size=(8, 8), level: int = 400):
    """(noise found, its gradient to the state, to the conditioning) of a loss through the frozen model."""
    glue, channels = room("nodes.frozen_model"), 4
    with torch.inference_mode(False), torch.enable_grad():
        tokens = tokens.clone()
        with glue.frozen_model(model, tokens, extras, (2, channels, *size)) as frozen:
            generator = torch.Generator().manual_seed(3)
            x = torch.randn(2, channels, *size, generator=generator).requires_grad_()
            context = frozen.context(torch.tensor([0, 1])).clone().requires_grad_()
            t, mask = torch.tensor([level, level + 300]), torch.zeros(2, 1, *size)
            mask[..., 2:5, 2:5] = 1
            found = frozen.noise(x, t, context, mask, torch.zeros_like(x), torch.tensor([0, 1]))
            (found**2).mean().backward()
            return found.detach(), x.grad, context.grad


def _reached(model, tokens: Tensor, extras: dict | None = None, **options) -> tuple:
    before, asking = bits(model), {n for n, p in model.model.named_parameters() if p.requires_grad}
    training = model.model.diffusion_model.training
    made = _frozen_gradients(model, tokens, extras or {}, **options)
    assert all(torch.isfinite(part).all() and part.flatten(1).abs().sum(1).min() > 0 for part in made)
    assert same(model, before), "a frozen weight changed"
    assert asking == {n for n, p in model.model.named_parameters() if p.requires_grad}
    assert all(parameter.grad is None for parameter in model.model.parameters())
    assert model.model.current_patcher is None and model.model.diffusion_model.training == training
    return made


def _two_tokens(width: int) -> Tensor:
    return torch.randn(2, 9, width, generator=torch.Generator().manual_seed(4))


def check_gradients_reach_the_state_and_the_tokens_through_models_of_every_kind():
    _reached(sd15(), _two_tokens(768))
    _reached(sdxl(), _two_tokens(2048), {"pooled_output": torch.randn(2, 1280)})
    _reached(flow(), _two_tokens(128))
    _reached(base()[0], _two_tokens(128))


def check_every_type_has_its_own_pooled_text():
    """Two types with equal tokens and different pooled text: the model's answers differ."""
    tokens = _two_tokens(2048)[:1].expand(2, -1, -1)
    one, same = torch.randn(1, 1280), torch.ones(2, 1)
    equal, _, _ = _reached(sdxl(), tokens, {"pooled_output": same * one})
    other, _, _ = _reached(sdxl(), tokens, {"pooled_output": torch.cat([one, -one])})
    assert apart(equal[0], other[0]) < 1e-4 and apart(equal[1], other[1]) > 1e-2


def check_half_precision_gives_the_gradients_of_full_precision():
    exact, figures = _reached(sd15(), _two_tokens(768)), {}
    for dtype in (torch.float16, torch.bfloat16):
        rounded = _reached(half(dtype), _two_tokens(768))
        similarities = [
            torch.cosine_similarity(a.flatten(), b.flatten(), 0).item() for a, b in zip(exact, rounded, strict=True)
        ]
        figures[str(dtype)] = [round(value, 5) for value in similarities]
        assert min(similarities) > 0.99 and all(part.dtype == torch.float32 for part in rounded)
    return figures


@contextmanager
def _little_memory() -> Iterator[None]:
    """The host loads only a megabyte of a model: as on a small GPU, each layer's weights are loaded when it runs."""
    patcher = comfy.model_patcher.ModelPatcher
    real = patcher.load

    def load(self, device_to=None, lowvram_model_memory=0, force_patch_weights=False, full_load=False):
        return real(self, device_to, lowvram_model_memory=1_000_000)

    patcher.load = load
    comfy.model_management.unload_all_models()
    try:
        yield
    finally:
        patcher.load = real
        comfy.model_management.unload_all_models()


def check_weights_that_stay_in_main_memory_give_the_same_gradients():
    exact = _reached(sd15(), _two_tokens(768))
    with _little_memory():
        again = _reached(sd15(), _two_tokens(768))
        left = [m for m in sd15().model.diffusion_model.modules() if getattr(m, "comfy_cast_weights", False)]
    assert left, "everything was loaded"
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(exact, again, strict=True))
    return {"layers left": len(left)}


def check_checkpointing_spares_memory_and_changes_nothing():
    """Core's UNet by its residual and attention blocks."""
    glue, memory = room("nodes.frozen_model"), room("training.memory")
    fast = room("training.fast")
    modules = room("modules.fast").FastModules([("a", "b"), ("a", "c")], 4, 768, count=3)
    settings, generator = fast.FastTraining(batch=2), torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., 4:9, 4:9] = 1
    some = room("training.frozen").Latents(torch.randn(2, 4, 16, 16, generator=generator), mask, torch.arange(2))
    t, noise = torch.tensor([300, 800]), torch.randn(2, 4, 16, 16, generator=generator)
    with torch.inference_mode(False), torch.enable_grad():
        modules = copy.deepcopy(modules).requires_grad_()
        for parameter in modules.parameters():
            parameter.data = parameter.data.clone()
        some = type(some)(some.x0.clone(), some.mask.clone(), some.row.clone())
        t, noise, found, kept = t.clone(), noise.clone(), [], []
        with glue.frozen_model(sd15(), _two_tokens(768).clone(), {}, (2, 4, 16, 16)) as frozen:

            def loss():
                return fast.fast_loss(frozen, modules, some, t, noise, settings)

            weights = [*frozen.network.parameters(), *modules.parameters()]
            found.append(torch.autograd.grad(loss(), list(modules.parameters())))
            kept.append(memory.kept_for_gradients(loss, weights))
            with memory.checkpointed(frozen.network):
                found.append(torch.autograd.grad(loss(), list(modules.parameters())))
                kept.append(memory.kept_for_gradients(loss, weights))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(*found, strict=True))
    assert kept[1] < 0.6 * kept[0]
    return {"MB kept": [round(count / 1e6, 1) for count in kept]}


def check_the_compact_base_is_the_command_line_s():
    """The same noise, levels and conditioning as `training.frozen.FrozenCompact`, with and without mask and
    background."""
    loaded, _ = room("modules.base_file").load_base(room("nodes.compact_base").base_path("surfaces (bundled)"))
    types = [KIND, ("cast_grain", "crack")]
    generator = torch.Generator().manual_seed(8)
    x, background = (torch.randn(2, 4, 16, 16, generator=generator) for _ in range(2))
    mask, t, rows = torch.zeros(2, 1, 16, 16), torch.tensor([30, 900]), torch.arange(2)
    mask[..., 4:9, 4:9] = 1
    glue, largest = room("nodes.frozen_model"), 0.0
    for aware in (True, False):
        model, _, _ = call("LoadAnomalyLDM", base_name="surfaces (bundled)", aware=aware)
        ours = room("training.frozen").FrozenCompact(loaded, types, aware)
        with (
            torch.inference_mode(False),
            glue.frozen_model(model, *glue.base_tokens(model, types, None), (2, 4, 16, 16)) as frozen,
        ):
            for mine, theirs in zip(frozen.level(t), ours.level(t), strict=True):
                assert apart(mine, theirs) < 1e-6
            context = frozen.context(rows)
            assert torch.equal(context, ours.context(rows))
            made = [one.noise(x, t, context, mask, background, rows).detach() for one in (frozen, ours)]
        largest = max(largest, apart(*made))
    assert largest < 1e-3
    return {"largest difference": largest}


def check_levels_are_those_of_the_model():
    """a^2 + s^2 = 1, falling signal, and the sampler's t is the one that a level was trained at."""
    levels, glue = room("nodes.noise_levels"), room("nodes.frozen_model")
    t = torch.tensor([0, 1, 500, 998, 999])
    for model, width in ((base()[0], 128), (flow(), 128), (sd15(), 768)):
        with torch.inference_mode(False), glue.frozen_model(model, _two_tokens(width), {}, (1, 4, 8, 8)) as frozen:
            a, s = (part.flatten() for part in frozen.level(t))
        assert apart(a**2 + s**2, torch.ones(5)) < 1e-6 and (a.diff() < 0).all() and (s.diff() > 0).all()
        timestep = levels.timestep_of(frozen.table)
        assert [round(timestep(float(sigma))) for sigma in levels.sigma_of(frozen.table, t)] == t.tolist()
