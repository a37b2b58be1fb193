"""FAST's training: its loss by hand, which parameters learn, resume, early stop, the curve."""

from dataclasses import replace

import pytest
import torch
from anomaly_synthesis.modules.fast import FastModules
from anomaly_synthesis.training import adapter_loop, fast
from anomaly_synthesis.training.defects import encoded_defects, types_of
from anomaly_synthesis.training.fast import FastTraining, HeldOutError, fast_loss, train_fast
from anomaly_synthesis.training.frozen import FrozenCompact, Latents

from .refusals import refused

TYPES = [("tile", "bright"), ("tile", "dark")]
QUICK = FastTraining(steps=4, batch=2, tokens=3, evaluate_every=2, learning_rate=1e-3)


class Guess(torch.nn.Module):
    """A frozen base that predicts `gain` times the mean of the conditioning everywhere, on states of 2 channels."""

    latent_channels, token_channels = 2, 6

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain), requires_grad=False)

    @property
    def network(self):
        return self

    def level(self, t):
        a = (1 - (t + 1) / 1001).sqrt()[:, None, None, None]
        return a, (1 - a**2).sqrt()

    def context(self, rows):
        return torch.ones(len(rows), 2, 6) + torch.arange(6) / 10

    def noise(self, x_vp, t, context, mask, background, rows):
        return self.gain * (x_vp + context.mean((1, 2))[:, None, None, None])


def latents(count=8, size=8):
    row = torch.arange(count) % 2
    mask = torch.zeros(count, 1, size, size)
    mask[:, :, 2:5, 2:5] = 1
    return Latents((1.0 - 2 * row)[:, None, None, None] * mask.expand(-1, 2, -1, -1).clone(), mask, row)


def _nothing():
    return Latents(torch.zeros(0, 2, 8, 8), torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.long))


def test_the_loss_is_the_paper_s():
    """Written out: the same noise in both states, F noised in the mask, 2 and 5, plain means."""
    torch.manual_seed(0)
    base, settings, some = Guess(), replace(QUICK, balanced=False), latents(2)
    modules = fast.new_modules(base, TYPES, settings)
    t, noise = torch.tensor([100, 800]), torch.randn(2, 2, 8, 8)
    a, s = base.level(t)
    x_t = a * some.x0 + s * noise
    tokens = modules.tokens.rows[some.row]
    made = modules.farm(x_t, t, some.mask, some.x0, tokens)
    replaced = torch.where(some.mask > 0, a * made + s * noise, x_t)
    context = torch.cat([base.context(some.row), tokens], 1)
    found = base.noise(replaced, t, context, some.mask, some.x0, some.row)
    expected = 2 * ((noise - found) ** 2).mean() + 5 * ((made - some.mask * some.x0) ** 2).mean()
    assert fast_loss(base, modules, some, t, noise, settings).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_small_mask_weighs_as_much_as_its_map():
    error, mask = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., 3, 3], error[..., 3, 3] = 1, 4
    assert fast.balanced(error, mask).item() == pytest.approx(4 + 4 / 64)


@pytest.mark.slow
def test_tokens_and_farm_learn_through_the_frozen_base():
    base, settings = Guess(), replace(QUICK, steps=200, batch=4, learning_rate=2e-3)
    before = fast.new_modules(base, TYPES, settings)
    torch.manual_seed(5)
    modules, curve = train_fast(base, TYPES, latents(), latents(4), settings)
    assert base.gain == 1 and not any(p.requires_grad for p in modules.parameters())
    assert modules.tokens.rows.shape == before.tokens.rows.shape == (2, 3, 6)
    # The best context of this base has a mean of about 0; the tokens start at its own, 1.25, and must lower it.
    initial, learned = (some.tokens.appended(base.context([0]), [0]).mean() for some in (before, modules))
    assert learned < initial - 0.03
    assert curve[-1][0] == 200 and set(curve[0][1]) == {"tile/bright", "tile/dark"}
    assert min(sum(errors.values()) for _, errors in curve) < 0.5 * sum(curve[0][1].values())


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(tmp_path, monkeypatch):
    real = adapter_loop.train
    monkeypatch.setattr(adapter_loop, "train", lambda *args, **more: real(*args, **more, save_every=0))
    settings = replace(QUICK, steps=7)
    whole, curve = train_fast(Guess(), TYPES, latents(), latents(4), settings)
    calls = []

    def stop():
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        train_fast(Guess(), TYPES, latents(), latents(4), settings, state=state, check_interrupt=stop)
    again, second = train_fast(Guess(), TYPES, latents(), latents(4), settings, state=state)
    assert second == curve and [step for step, _ in curve] == [2, 4, 6, 7]
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with refused(subject="state$", got="another run"):
        train_fast(Guess(), TYPES, latents(), latents(4), replace(settings, batch=3), state=state)


def test_it_ends_early_and_keeps_the_best_weights(monkeypatch):
    errors, seen = iter([3.0, 1.0, 2.0, 2.0, 0.5]), []

    def look(self, modules):
        seen.append(modules.tokens.rows.clone())
        return torch.tensor([next(errors), torch.nan], dtype=torch.float64)

    monkeypatch.setattr(HeldOutError, "__call__", look)
    settings = replace(QUICK, steps=10, evaluate_every=1, patience=2)
    modules, curve = train_fast(Guess(), TYPES, latents(), latents(2), settings)
    assert curve == [(step, {"tile/bright": error}) for step, error in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.0))]
    assert torch.equal(modules.tokens.rows, seen[1]) and not torch.equal(seen[1], seen[3])


def test_a_prediction_of_zero_has_an_error_of_one(monkeypatch):
    monkeypatch.setattr(FastModules, "reconstruct", lambda self, x_vp, *_: torch.zeros_like(x_vp))
    modules = fast.new_modules(Guess(), TYPES, QUICK)
    found = HeldOutError(Guess(), latents(3), len(TYPES))(modules)
    assert found.tolist() == [1.0, 1.0]


def test_bad_input_is_refused():
    with refused(subject="training part", got="no defect"):
        train_fast(Guess(), TYPES, _nothing(), _nothing(), QUICK)
    some = latents(3)
    some.mask[1] = 0
    with refused(subject="masks", got="1 of 3 masks are empty"):
        train_fast(Guess(), TYPES, some, _nothing(), QUICK)
    with refused(subject="rows", got="for 1 types", accepted="^0 to 0$"):
        train_fast(Guess(), TYPES[:1], latents(2), _nothing(), QUICK)
    with refused(subject="^fast training$", got="loss is nan at step"):
        train_fast(Guess(float("nan")), TYPES, latents(), _nothing(), QUICK)
    for change, accepted in (
        ({"steps": 0}, "^1 or more$"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"norm": "layer"}, "one of group, batch"),
    ):
        with refused(subject=f"^{next(iter(change))}$", accepted=accepted):
            FastTraining(**change)


def test_without_held_out_latents_the_last_weights_are_kept():
    modules, curve = train_fast(Guess(), TYPES, latents(), _nothing(), QUICK)
    assert curve == [] and modules.tokens.rows.isfinite().all()


@pytest.mark.parametrize("aware", [True, False])
def test_the_compact_base_s_noise_is_that_of_its_denoiser(tiny_base, aware):
    """The same x0 from both: x0 = (x - s e) / a in VP terms, the denoiser's in VE terms."""
    types = [label for label in tiny_base.config.labels if label[1] != "good"][:2]
    frozen = FrozenCompact(tiny_base, types, aware)
    t, background = torch.tensor([50, 700]), torch.randn(2, 4, 16, 16)
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., 4:9, 4:9] = 1
    a, s = frozen.level(t)
    x_vp = torch.randn(2, 4, 16, 16)
    rows = torch.arange(2)
    found = frozen.noise(x_vp, t, frozen.context(rows), mask, background)
    known = (mask, background) if aware else (None, None)
    labels = [tiny_base.label(*type) for type in types]
    x0 = tiny_base.denoiser(labels, *known)(x_vp / a, (s / a).flatten())
    assert torch.allclose((x_vp - s * found) / a, x0, atol=1e-4)


def test_defects_are_encoded_once_types_in_equal_shares(tiny_base, samples, train_part):
    types = types_of(samples)
    encode = FrozenCompact(tiny_base, types).encode
    made = encoded_defects(encode, 64, train_part, types, 40, 1)
    assert made.x0.shape == (40, 4, 16, 16) and made.mask.shape == (40, 1, 16, 16)
    assert made.mask.flatten(1).any(1).all() and set(made.row.tolist()) == set(range(len(types)))
    again = encoded_defects(encode, 64, train_part, types, 40, 1)
    assert torch.equal(made.x0, again.x0)
    assert len(encoded_defects(encode, 64, [s for s in samples if s.type == "good"], types, 40, 1)) == 0


def test_a_type_that_the_base_does_not_know_is_refused(tiny_base):
    with refused(subject="^tile/hole$", got="no tokens for it"):
        FrozenCompact(tiny_base, [("tile", "hole")])
