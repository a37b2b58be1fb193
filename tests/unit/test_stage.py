"""STAGE's adapter: its loss by hand, what learns and what does not, cached outputs, resume, the file."""

from dataclasses import replace

import pytest
import torch
from anomaly_synthesis.modules.adapter_file import Fit, load_adapter, save_adapter
from anomaly_synthesis.modules.adapter_modules import tokens_of
from anomaly_synthesis.modules.stage import StageModules, from_adapter, load_stage, to_adapter
from anomaly_synthesis.modules.tokens import AnomalyTokens
from anomaly_synthesis.samplers.mask_schedule import MaskSchedule
from anomaly_synthesis.training import adapter_loop, stage
from anomaly_synthesis.training.adapter_loop import LossCurve
from anomaly_synthesis.training.branches import cached, denoised, drawn
from anomaly_synthesis.training.defects import places_by_type
from anomaly_synthesis.training.frozen import Latents
from anomaly_synthesis.training.stage import HeldOutNoise, StageTraining, heads_loss, train_stage

from .refusals import refused

TYPES = [("tile", "bright"), ("tile", "dark")]
QUICK = StageTraining(steps=4, batch=2, tokens=3, evaluate_every=2, widths=(16, 16), cache=32)
BASE = Fit("CompactLDM", "abc", 2, 6, "v")


class Guess(torch.nn.Module):
    """A frozen base that predicts half of its input as noise, and reads the type from the mean of its conditioning."""

    latent_channels, token_channels = 2, 6

    def __init__(self, gain=0.5):
        super().__init__()
        self.gain, self.calls = torch.nn.Parameter(torch.tensor(gain), requires_grad=False), 0
        self.network = torch.nn.Identity()

    def level(self, t):
        a = (1 - (t + 1) / 1001).sqrt()[:, None, None, None]
        return a, (1 - a**2).sqrt()

    def context(self, rows):
        return torch.ones(len(rows), 2, 6) + torch.arange(6) / 10

    def noise(self, x_vp, t, context, mask, background, rows):
        self.calls += 1
        return self.gain * (x_vp + context.mean((1, 2))[:, None, None, None])


def latents(count=8, size=8):
    row = torch.arange(count) % 2
    mask = torch.zeros(count, 1, size, size)
    mask[:, :, 2:5, 2:5] = 1
    inside = (1.0 - 2 * row)[:, None, None, None] * mask.expand(-1, 2, -1, -1)
    return Latents(inside + 0.5 * (1 - mask), mask, row)


def nothing():
    return Latents(torch.zeros(0, 2, 8, 8), torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize("normalise", [True, False])
def test_the_loss_is_section_9_with_the_inputs_the_right_way_round(normalise):
    """Written out: the whole image for the anomaly-aware head, M0 x0 for the anomaly-only one; 4 and 1."""
    torch.manual_seed(0)
    base, settings, some = Guess(), replace(QUICK, normalise=normalise), latents(2)
    modules = stage.new_modules(base, TYPES, settings, None)
    for head in modules.branches:
        torch.nn.init.normal_(head.conv[-1].weight)
    t, e1, e2 = torch.tensor([100, 800]), torch.randn(2, 2, 8, 8), torch.randn(2, 2, 8, 8)
    a, s = base.level(t)
    context = torch.cat([base.context(some.row), modules.tokens.rows[some.row]], 1)
    inputs = (t, context, some.mask, some.x0, some.row)
    mp = torch.stack([MaskSchedule()(mask, level) for mask, level in zip(some.mask, t.tolist(), strict=True)])
    found = modules.aware(base.noise(a * some.x0 + s * e1, *inputs), mp, t)
    alone = modules.only(base.noise(a * some.mask * some.x0 + s * e2, *inputs), some.mask, t)
    first, second = mp * (e1 - found).abs(), (e2 - alone).abs()
    if normalise:
        areas = [2 * part.sum((1, 2, 3)) for part in (mp, some.mask)]
        expected = (4 * first.sum((1, 2, 3)) / areas[0] + (some.mask * second).sum((1, 2, 3)) / areas[1]).mean()
    else:
        expected = 4 * first.mean() + second.mean()
    made = heads_loss(modules, denoised(base, modules.tokens, some, t, e1, e2), settings)
    assert made.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_small_mask_weighs_as_much_as_a_large_one():
    modules, some = StageModules(TYPES, 2, 6, widths=(16,)), latents(2)
    t, e = torch.full((2,), 100), torch.randn(2, 2, 8, 8)
    large = denoised(Guess(), None, some, t, e, e)
    small = replace(large, mask=torch.zeros_like(some.mask))
    small.mask[..., 3, 3] = 1
    wrong = replace(small, e1=e + small.mask, e2=e + small.mask, f1=e, f2=e)
    assert heads_loss(modules, wrong, QUICK).item() == pytest.approx(5)
    wrong = replace(large, e1=e + large.mask, e2=e + large.mask, f1=e, f2=e)
    assert heads_loss(modules, wrong, QUICK).item() == pytest.approx(5)


@pytest.mark.slow
def test_tokens_and_both_heads_learn_beside_the_frozen_base():
    base, settings = Guess(), replace(QUICK, steps=150, batch=4, learning_rate=1e-2)
    before = stage.new_modules(base, TYPES, settings, None)
    modules, curve = train_stage(base, TYPES, latents(), latents(4), settings)
    assert base.gain == 0.5 and not any(p.requires_grad for p in modules.parameters())
    assert modules.tokens.rows.shape == (2, 3, 6) and not torch.equal(modules.tokens.rows, before.tokens.rows)
    assert all(head.conv[-1].weight.abs().max() > 0 for head in modules.branches)
    assert curve[-1][0] == 150 and set(curve[0][1]) == {"tile/bright", "tile/dark"}
    assert min(sum(errors.values()) for _, errors in curve) < 0.8 * 2


def test_given_tokens_stay_and_the_base_is_called_once_per_draw():
    base, tokens = Guess(), AnomalyTokens(TYPES, 6, 5)
    kept = tokens.rows.detach().clone()
    settings = replace(QUICK, steps=40, learning_rate=1e-2)
    modules, curve = train_stage(base, TYPES, latents(), nothing(), settings, tokens=tokens)
    assert torch.equal(modules.tokens.rows, kept) and base.calls == 2 * 32 / 16  # 32 draws, 16 at once, both branches
    assert all(head.conv[-1].weight.abs().max() > 0 for head in modules.branches)
    with refused(subject="tokens", got="of 1 types for 2"):
        train_stage(base, TYPES, latents(), nothing(), settings, tokens=AnomalyTokens(TYPES[:1], 6, 5))


def test_validation_of_heads_alone_calls_the_base_once():
    tokens, settings = AnomalyTokens(TYPES, 6, 5), replace(QUICK, steps=6)
    base, progress = Guess(), []
    kept, curve = train_stage(
        base, TYPES, latents(), latents(4), settings, tokens=tokens, denoising=lambda *so_far: progress.append(so_far)
    )
    # 12 draws at once, then the held-out latents at five levels with tokens and without; both branches.
    assert base.calls == 2 * (1 + 2 * 5) and progress == [(12, 12)]
    measured = HeldOutNoise(Guess(), latents(4), len(TYPES), MaskSchedule())(kept).tolist()
    assert min(curve, key=lambda point: sum(point[1].values()))[1] == dict(
        zip(("tile/bright", "tile/dark"), measured, strict=True)
    )


def test_cached_outputs_fit_into_memory(monkeypatch):
    monkeypatch.setattr(stage, "CACHE_BYTES", 10 * (4 * 2 + 1) * 8 * 8 * 4)
    progress = []
    train_stage(
        Guess(),
        TYPES,
        latents(),
        nothing(),
        replace(QUICK, steps=20),
        tokens=AnomalyTokens(TYPES, 6, 5),
        denoising=lambda *so_far: progress.append(so_far),
    )
    assert progress == [(10, 10)]


def test_cached_outputs_are_those_that_the_loss_would_compute():
    base, tokens = Guess(), AnomalyTokens(TYPES, 6, 5)
    kept = cached(base, tokens, latents(), 20, 3, "cpu")
    generator, places = torch.Generator().manual_seed(3), places_by_type(latents())
    now = [denoised(base, tokens, *drawn(latents(), places, count, generator)) for count in (16, 4)]
    assert len(kept) == 20 and not kept.f1.requires_grad and now[0].f1.requires_grad
    for name in ("mask", "t", "e1", "e2", "f1", "f2"):
        assert torch.equal(getattr(kept, name), torch.cat([getattr(part, name) for part in now])), name


@pytest.mark.slow
@pytest.mark.parametrize("with_tokens", [False, True])
@pytest.mark.parametrize("released", [False, True])
def test_a_killed_training_ends_with_the_same_weights(tmp_path, monkeypatch, with_tokens, released):
    real = adapter_loop.train
    monkeypatch.setattr(adapter_loop, "train", lambda *args, **more: real(*args, **more, save_every=0))
    torch.manual_seed(1)
    tokens = AnomalyTokens(TYPES, 6, 3) if with_tokens else None
    settings = replace(QUICK, steps=7, released=released)
    whole, curve = train_stage(Guess(), TYPES, latents(), latents(4), settings, tokens=tokens)
    calls = []

    def stop():
        calls.append(1)
        if len(calls) == (4 + 1 if with_tokens else 4):
            raise KeyboardInterrupt

    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        train_stage(Guess(), TYPES, latents(), latents(4), settings, tokens=tokens, state=state, check_interrupt=stop)
    again, second = train_stage(Guess(), TYPES, latents(), latents(4), settings, tokens=tokens, state=state)
    assert second == curve and [step for step, _ in curve] == [2, 4, 6, 7]
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with refused(subject="state$", got="another run"):
        train_stage(Guess(), TYPES, latents(), latents(4), replace(settings, batch=3), tokens=tokens, state=state)


def test_an_untrained_adapter_has_an_error_of_one():
    look = HeldOutNoise(Guess(), latents(3), len(TYPES), MaskSchedule())
    modules = stage.new_modules(Guess(), TYPES, QUICK, AnomalyTokens(TYPES, 6, 1))
    with torch.no_grad():
        modules.tokens.rows.copy_(Guess().context([0, 0])[:, :1].mean(2, keepdim=True).expand(-1, -1, 6))
    assert look(modules).tolist() == pytest.approx([1.0, 1.0])
    with torch.no_grad():
        modules.aware.conv[-1].bias += 5
    assert min(look(modules).tolist()) > 1.5


def test_every_loss_is_recorded_and_every_validation_is_shown():
    losses, shown = LossCurve(2, 4), []
    train_stage(
        Guess(),
        TYPES,
        latents(),
        latents(2),
        QUICK,
        losses=losses,
        checkpointing=True,
        show=lambda step, modules: shown.append((step, modules.training)),
    )
    assert [step for step, _ in losses.points] == [2, 4] and shown == [(2, False), (4, False)]


def test_bad_input_is_refused():
    with refused(subject="training part", got="no defect"):
        train_stage(Guess(), TYPES, nothing(), nothing(), QUICK)
    some = latents(3)
    some.mask[1] = 0
    with refused(subject="masks", got="1 of 3 masks are empty"):
        train_stage(Guess(), TYPES, some, nothing(), QUICK)
    with refused(subject="rows", got="for 1 types", accepted="^0 to 0$"):
        train_stage(Guess(), TYPES[:1], latents(2), nothing(), QUICK)
    with refused(subject="^stage training$", got="loss is nan at step"):
        train_stage(Guess(float("nan")), TYPES, latents(), nothing(), QUICK)
    for change, accepted in (
        ({"steps": 0}, "^1 or more$"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"patience": -1}, "^0 or more$"),
    ):
        with refused(subject=f"^{next(iter(change))}$", accepted=accepted):
            StageTraining(**change)
    with refused(subject="^cache$", got="^0$", accepted="1 or more"):
        StageTraining(cache=0)
    with refused(subject="checkpointing", got="True", accepted="one of auto, on, off"):
        StageTraining(checkpointing=True)
    with refused(subject="precision", got="'fp8'", accepted="one of auto"):
        StageTraining(precision="fp8")
    with pytest.raises(ValueError, match="t_s: 1000"):
        StageTraining(t_s=1000)


# The file


def _modules(**options):
    torch.manual_seed(0)
    modules = StageModules(TYPES, 2, 6, count=3, **{"widths": (16, 16)} | options)
    torch.nn.init.normal_(modules.only.conv[-1].weight)
    return modules.eval()


@pytest.mark.parametrize("released", [False, True])
def test_it_comes_back_whole_from_its_file(tmp_path, released):
    modules, path = _modules(released=released), tmp_path / "a.safetensors"
    save_adapter(path, to_adapter(modules, BASE, "d", {"steps": 1}))
    found = load_stage(path, BASE, "d", TYPES[:1])
    assert found.tokens.types == tuple(TYPES) and found.branches == (found.aware, found.only)
    assert (found.aware.branch, found.only.branch) == ("aware", "only") and found.only.released == released
    eps, mask, t = torch.randn(2, 2, 5, 5), torch.ones(2, 1, 5, 5), torch.tensor([3, 900])
    assert torch.equal(found.only(eps, mask, t), modules.only(eps, mask, t))
    assert not any(p.requires_grad for p in found.parameters())


def test_what_does_not_fit_is_refused(tmp_path):
    path, modules = tmp_path / "a.safetensors", _modules()
    adapter = to_adapter(modules, BASE, "d", {})
    save_adapter(path, adapter)
    with refused(subject="/a.safetensors$", got="not trained under this split"):
        load_stage(path, BASE, "other")
    with refused(subject="^tile/hole$", got="not in the adapter .*, which has tile/bright, tile/dark"):
        load_stage(path, BASE, "d", [("tile", "hole")])
    with refused(subject="/a.safetensors$", got="trained for another base"):
        load_stage(path, replace(BASE, digest="z"))
    with refused(subject="adapter", got="it is FAST's", accepted="one of STAGE"):
        from_adapter(replace(adapter, method="fast"))
    adapter.tensors.pop("only.conv.0.weight")
    with refused(got="not whole"):
        from_adapter(adapter)


def test_tokens_are_copied_in_the_requested_order(tmp_path):
    modules, path = _modules(), tmp_path / "a.safetensors"
    save_adapter(path, to_adapter(modules, BASE, "d", {}))
    tokens = tokens_of(load_adapter(path), TYPES[::-1])
    assert tokens.types == tuple(TYPES[::-1]) and torch.equal(tokens.rows, modules.tokens.rows.flip(0))
    with refused(subject="^tile/hole$", got="not in the adapter"):
        tokens_of(load_adapter(path), [("tile", "hole")])
