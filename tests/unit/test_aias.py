from functools import partial
from math import inf, log, sqrt

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.grid import aias_grid, grid_sigmas
from anomaly_synthesis.samplers.noise import initial_noise
from anomaly_synthesis.samplers.presets import PRESETS, preset
from anomaly_synthesis.samplers.schedule import DATA_STD, ldm_sigmas, nearest_timestep
from anomaly_synthesis.samplers.transition import transition

SHAPE = (2, 3, 6, 5)
TABLE = ldm_sigmas()
SIGMAS = grid_sigmas(aias_grid(9), TABLE)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def denoiser(x, sigma, **_):
    """Not linear, and every place depends on its neighbours."""
    s = sigma.view(-1, 1, 1, 1)
    return torch.tanh(x / (1 + s**2).sqrt() + 0.3 * x.roll(1, -1) / (1 + s))


def fill(x, sigma, **_):
    """Another estimate, for the foreground."""
    s = sigma.view(-1, 1, 1, 1)
    return 2 + torch.sin(x / (1 + s))


def forbidden(*_, **__):
    raise AssertionError("called")


class Recorded:
    """A noise_sampler that keeps what it gave and for which levels."""

    def __init__(self, shape=SHAPE):
        self.shape, self.drawn, self.levels = shape, [], []

    def __call__(self, sigma_s, sigma_e):
        self.levels.append((sigma_s, sigma_e))
        self.drawn.append(normal(*self.shape, seed=1000 + len(self.drawn)))
        return self.drawn[-1]


def start(seed=0):
    return normal(*SHAPE, seed=seed) * SIGMAS[0]


def hard_mask():
    mask = torch.zeros(2, 1, 6, 5, dtype=torch.float64)
    mask[0, :, 1:4, 2:4] = 1
    mask[1, :, 5:, :] = 1
    return mask


def close(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-10)


def sigma_of(x, sigma):
    return x.new_full((x.shape[0],), float(sigma))


# Without a mask


@pytest.mark.parametrize("eta", [1.0, 0.4])
def test_order_1_is_euler_ancestral(eta):
    noise = Recorded()
    result = sample_aias(denoiser, start(), SIGMAS, eta=eta, noise_sampler=noise)
    x, draw = start(), Recorded()
    for s, e in zip(SIGMAS[:-1], SIGMAS[1:], strict=True):  # k-diffusion's sample_euler_ancestral
        denoised = denoiser(x, sigma_of(x, s))
        up = min(e, eta * (e**2 * (s**2 - e**2) / s**2) ** 0.5)
        down = (e**2 - up**2) ** 0.5
        x = x + (x - denoised) / s * (down - s)
        if e > 0:
            x = x + draw(s, e) * up
    assert close(result, x) and len(noise.drawn) == len(SIGMAS) - 2


def test_eta_0_is_ddim():
    x = start()
    for s, e in zip(SIGMAS[:-1], SIGMAS[1:], strict=True):
        x0 = denoiser(x, sigma_of(x, s))
        x = x0 + e * (x - x0) / s
    assert close(sample_aias(denoiser, start(), SIGMAS, eta=0.0), x)


def test_order_2_at_eta_0_is_dpm_solver_2m():
    x, old = start(), None
    for i in range(len(SIGMAS) - 1):
        s, e = SIGMAS[i], SIGMAS[i + 1]
        x0 = denoiser(x, sigma_of(x, s))
        if e == 0:
            x = x0
            break
        h, estimate = (s / e).log(), x0
        if old is not None:
            r = (SIGMAS[i - 1] / s).log() / h
            estimate = (1 + 1 / (2 * r)) * x0 - old / (2 * r)
        x, old = (e / s) * x - torch.expm1(-h) * estimate, x0
    assert close(sample_aias(denoiser, start(), SIGMAS, order=2, eta=0.0), x)


def test_order_2_is_nearer_to_the_fine_solution():
    fine = sample_aias(denoiser, start(), grid_sigmas(aias_grid(1000), TABLE), eta=0.0)
    sigmas = grid_sigmas(aias_grid(20, "lambda", refine=0), TABLE)
    first, second = (sample_aias(denoiser, start(), sigmas, order=order, eta=0.0) - fine for order in (1, 2))
    assert second.abs().mean() < 0.5 * first.abs().mean()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("form", ["ve", "flow"])
@pytest.mark.parametrize("kind", ["uniform", "quadratic", "half"])
def test_a_perfect_estimate_keeps_the_marginals_on_any_grid(form, eta, order, kind):
    x0 = torch.full((1, 1, 200, 200), 3.0, dtype=torch.float64)
    table = TABLE if form == "ve" else torch.arange(1, 1001, dtype=torch.float64) / 1000
    alpha = None if form == "ve" else lambda sigma: 1 - sigma
    sigmas = grid_sigmas(aias_grid(6, kind, refine=0, sigmas=table), table)
    first = sigmas[0] * normal(*x0.shape) + (x0 if form == "ve" else 0)
    states = []
    result = sample_aias(
        lambda x, sigma: x0, first, sigmas, callback=lambda d: states.append((float(d["sigma"]), d["x"])),
        alpha=alpha, eta=eta, order=order, seeds=[1],
    )
    assert torch.equal(result, x0) and len(states) == 6
    for sigma, x in states:
        signal = 1 if form == "ve" else 1 - sigma
        assert x.mean().item() == pytest.approx(3 * signal, abs=4 * sigma / 200)
        assert x.std().item() == pytest.approx(sigma, rel=0.015)


def test_the_variance_factor_is_passed_on():
    x0, sigmas = torch.zeros(1, 1, 200, 200, dtype=torch.float64), torch.tensor([2.0, 1.0, 0.0])
    states = []
    sample_aias(
        lambda x, sigma: x0, 0 * x0, sigmas, callback=lambda d: states.append(d["x"]), variance=1.0, seeds=[1]
    )
    assert states[1].var().item() == pytest.approx((1 - 2 / 5) * 2, rel=0.03)  # (1 - r)(1 + sigma_e^2), r = 2/5


def test_callback_tells_every_level():
    told = []
    sample_aias(denoiser, start(), SIGMAS, callback=told.append, seeds=[0, 1])
    assert [d["i"] for d in told] == list(range(9))
    assert [float(d["sigma"]) for d in told] == SIGMAS[:-1].tolist() == [float(d["sigma_hat"]) for d in told]
    assert torch.equal(told[0]["x"], start())
    assert all(torch.equal(d["denoised"], denoiser(d["x"], sigma_of(d["x"], d["sigma"]))) for d in told)


# The background


@pytest.mark.parametrize("name", PRESETS)
def test_mask_0_returns_the_background_exactly(name):
    grid, options = preset(name, 6)
    background = normal(*SHAPE, seed=3)
    result = sample_aias(
        denoiser, start(), grid_sigmas(aias_grid(**grid), TABLE), mask=torch.zeros(1, 1, 6, 5), background=background,
        seeds=[0, 1], **options,
    )
    assert torch.equal(result, background)


@pytest.mark.parametrize("name", PRESETS)
def test_outside_the_mask_the_result_is_the_background_exactly(name):
    grid, options = preset(name, 6)
    background, mask = normal(1, *SHAPE[1:], seed=3), hard_mask()
    result = sample_aias(
        denoiser, start(), grid_sigmas(aias_grid(**grid), TABLE), mask=mask, background=background, seeds=[0, 1],
        **options,
    )
    outside = (mask == 0).expand(SHAPE)
    assert torch.equal(result[outside], background.expand(SHAPE)[outside])
    assert (result - background).abs()[~outside].min() > 0


@pytest.mark.parametrize("name", PRESETS)
def test_mask_1_with_strength_0_is_the_plain_sampler_exactly(name):
    grid, options = preset(name, 6)
    sigmas = grid_sigmas(aias_grid(**grid), TABLE)
    plain = sample_aias(denoiser, start(), sigmas, seeds=[4, 5], **options)
    masked = sample_aias(
        denoiser, start(), sigmas, mask=torch.ones(2, 1, 6, 5), background=normal(*SHAPE, seed=3), foreground=forbidden,
        foreground_strength=0, seeds=[4, 5], **options,
    )
    assert torch.equal(masked, plain)


@pytest.mark.parametrize("name", PRESETS)
def test_outside_the_mask_the_noise_is_nominal_at_every_level(name):
    grid, options = preset(name, 8)
    sigmas = grid_sigmas(aias_grid(**grid), TABLE)
    background = normal(1, 4, 96, 96, seed=3)
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 60:] = 1
    states = []
    sample_aias(
        denoiser, background + sigmas[0] * normal(1, 4, 96, 96), sigmas, mask=mask, background=background, seeds=[1],
        callback=lambda d: states.append((d["sigma"], d["x"])), **options,
    )
    assert len(states) == 8
    for sigma, x in states:
        noise = ((x - background) / sigma)[..., :60]
        assert noise.var().item() == pytest.approx(1, abs=0.03) and noise.mean().abs() < 0.03


def test_flow_background_is_noised_to_the_level():
    table = torch.arange(1, 1001, dtype=torch.float64) / 1000
    sigmas = grid_sigmas(aias_grid(5, refine=0), table)
    background = torch.full((1, 1, 100, 100), 3.0, dtype=torch.float64)
    states = []
    result = sample_aias(
        denoiser, normal(1, 1, 100, 100), sigmas, mask=torch.zeros(1, 1, 100, 100), background=background, seeds=[0],
        alpha=lambda sigma: 1 - sigma, callback=lambda d: states.append((float(d["sigma"]), d["x"])),
    )
    for sigma, x in states:
        assert x.mean().item() == pytest.approx(3 * (1 - sigma), abs=0.04)
        assert x.std().item() == pytest.approx(sigma, rel=0.03)
    assert torch.equal(result, background)


def test_the_estimate_outside_the_mask_is_the_background():
    background, mask, denoised = normal(*SHAPE, seed=3), hard_mask(), []
    sample_aias(
        denoiser, start(), SIGMAS, mask=mask, background=background, seeds=[0, 1],
        callback=lambda d: denoised.append((d["denoised"], denoiser(d["x"], sigma_of(d["x"], d["sigma"])))),
    )
    assert len(denoised) == 9
    for told, predicted in denoised:
        assert torch.equal(told, torch.where(mask > 0, predicted, background))


def test_soft_masks_mix_the_estimates_and_keep_nominal_noise():
    made, background = (torch.full((1, 1, 200, 200), value, dtype=torch.float64) for value in (3.0, 1.0))
    mask = torch.full((1, 1, 200, 200), 0.25, dtype=torch.float64)
    states = []
    result = sample_aias(
        lambda x, sigma: made, 1.5 + SIGMAS[0] * normal(1, 1, 200, 200), SIGMAS, mask=mask, background=background,
        seeds=[1], callback=lambda d: states.append((float(d["sigma"]), d["x"])),
    )
    for sigma, x in states:
        assert x.mean().item() == pytest.approx(1.5, abs=4 * sigma / 200)
        assert x.std().item() == pytest.approx(sigma, rel=0.015)
    assert torch.allclose(result, torch.full_like(result, 1.5))


# Noise and seeds


def eight():
    """A batch in which every item has another mask: one of ones, one of zeros, soft and hard ones."""
    mask = torch.rand(8, 1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.where(mask > 0.6, mask, 0)
    mask[:4] = mask[:4].ceil()
    mask[2], mask[3] = 1, 0
    return mask, normal(8, 3, 6, 5, seed=3), SIGMAS[0] * initial_noise(torch.empty(8, 3, 6, 5).double(), range(8))


@pytest.mark.parametrize("item", [2, 3, 7])
@pytest.mark.parametrize("name", PRESETS)
def test_an_item_alone_is_the_item_in_a_batch_exactly(name, item):
    grid, options = preset(name, 10)
    sigmas = grid_sigmas(aias_grid(**grid), TABLE)
    mask, background, x = eight()
    options = {"foreground": fill, **options}
    batch = sample_aias(denoiser, x, sigmas, mask=mask, background=background, seeds=range(10, 18), **options)
    one = slice(item, item + 1)
    alone = sample_aias(
        denoiser, x[one], sigmas, mask=mask[one], background=background[one], seeds=[10 + item], **options
    )
    assert torch.equal(batch[one], alone)


def test_seeds_count_on_from_the_hosts_seed():
    seen = []

    def model(x, sigma, seed):
        seen.append(seed)
        return denoiser(x, sigma)

    counted = sample_aias(model, start(), SIGMAS, extra_args={"seed": 20})
    assert torch.equal(counted, sample_aias(denoiser, start(), SIGMAS, seeds=[20, 21]))
    assert not torch.equal(counted, sample_aias(denoiser, start(), SIGMAS, seeds=[20, 22]))
    assert seen == [20] * 9
    given = sample_aias(model, start(), SIGMAS, extra_args={"seed": 20}, seeds=[5, 6])
    assert torch.equal(given, sample_aias(denoiser, start(), SIGMAS, seeds=[5, 6]))


def test_the_transition_draws_first_the_background_second_nobody_at_the_end():
    sigmas = torch.tensor([4.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    mask, background, noise, states = hard_mask(), normal(*SHAPE, seed=3), Recorded(), []
    sample_aias(
        denoiser, start(), sigmas, mask=mask, background=background, noise_sampler=noise,
        callback=lambda d: states.append((d["x"], d["denoised"])),
    )
    assert noise.levels == [(4.0, 2.0), (4.0, 2.0), (2.0, 1.0), (2.0, 1.0)]
    for i, (s, e) in enumerate([(4.0, 2.0), (2.0, 1.0)]):
        (x, x0), q = states[i], (e / s) ** 2
        inside = q * x + (1 - q) * x0 + e * sqrt(1 - q) * noise.drawn[2 * i]
        outside = background + e * noise.drawn[2 * i + 1]
        assert close(states[i + 1][0], torch.where(mask > 0, inside, outside))


# The foreground


def test_at_full_strength_in_a_hard_mask_the_model_is_not_called():
    noise, mask, background = Recorded(), hard_mask(), normal(*SHAPE, seed=3)
    options = {"mask": mask, "background": background, "noise_sampler": noise}
    result = sample_aias(forbidden, start(), SIGMAS, foreground=fill, foreground_until=0, **options)
    as_model = sample_aias(fill, start(), SIGMAS, **{**options, "noise_sampler": Recorded()})
    assert close(result, as_model)


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_in_a_soft_mask_the_foreground_takes_its_share(strength):
    mask, background, told = 0.5 * hard_mask(), normal(*SHAPE, seed=3), []
    sample_aias(
        denoiser, start(), SIGMAS, mask=mask, background=background, foreground=fill, foreground_strength=strength,
        foreground_until=0, seeds=[0, 1], callback=lambda d: told.append((d["x"], d["sigma"], d["denoised"])),
    )
    assert len(told) == 9
    for x, sigma, denoised in told:
        sigma = sigma_of(x, sigma)
        mixed = (1 - strength) * denoiser(x, sigma) + strength * fill(x, sigma)
        assert close(denoised, mask * mixed + (1 - mask) * background)


def test_the_foreground_rests_below_its_last_t():
    called, modelled = [], []

    def foreground(x, sigma):
        called.append(sigma[0].item())
        return fill(x, sigma)

    def model(x, sigma):
        modelled.append(sigma[0].item())
        return denoiser(x, sigma)

    levels = SIGMAS[:-1].tolist()
    options = {"mask": hard_mask(), "background": normal(*SHAPE, seed=3), "seeds": [0, 1], "foreground": foreground}
    sample_aias(model, start(), SIGMAS, foreground_until=500, **options)
    assert called == [s for s in levels if nearest_timestep(s) >= 500] and 0 < len(called) < 9
    assert modelled == [s for s in levels if nearest_timestep(s) < 500]
    called.clear()
    sample_aias(model, start(), SIGMAS, foreground_until=500, timestep=lambda sigma: 999 if sigma < 1 else 0, **options)
    assert called == [s for s in levels if s < 1]


def test_renoise_puts_the_foreground_into_the_state_at_its_level():
    mask, background, noise = hard_mask(), normal(*SHAPE, seed=3), Recorded()
    result = sample_aias(
        denoiser, start(), SIGMAS, mask=mask, background=background, foreground=fill, foreground_mode="renoise",
        foreground_until=300, noise_sampler=noise,
    )
    x, draw = start(), Recorded()
    for s, e in zip(SIGMAS[:-1].tolist(), SIGMAS[1:].tolist(), strict=True):
        if nearest_timestep(s) >= 300:
            x = mask * (fill(x, sigma_of(x, s)) + s * draw(s, s)) + (1 - mask) * x
        x0 = mask * denoiser(x, sigma_of(x, s)) + (1 - mask) * background
        if e == 0:
            x = x0
            break
        q = (e / s) ** 2
        x = q * x + (1 - q) * x0 + e * sqrt(1 - q) * draw(s, e)
        x = mask * x + (1 - mask) * (background + e * draw(s, e))
    assert noise.levels == draw.levels and close(result, x)


def test_renoise_at_strength_0_is_no_foreground():
    options = {"mask": hard_mask(), "background": normal(*SHAPE, seed=3), "seeds": [0, 1]}
    plain = sample_aias(denoiser, start(), SIGMAS, **options)
    off = {"foreground": forbidden, "foreground_mode": "renoise", "foreground_strength": 0}
    assert torch.equal(sample_aias(denoiser, start(), SIGMAS, **options, **off), plain)


def test_order_2_forgets_the_foregrounds_estimates_when_it_rests():
    mask, background = torch.ones(2, 1, 6, 5), normal(*SHAPE, seed=3)
    result = sample_aias(
        denoiser, start(), SIGMAS, mask=mask, background=background, foreground=fill, foreground_until=500, order=2,
        eta=0.0, seeds=[0, 1],
    )
    x, old, old_h, was_on = start(), None, None, True
    for s, e in zip(SIGMAS[:-1].tolist(), SIGMAS[1:].tolist(), strict=True):
        on = nearest_timestep(s) >= 500
        old = old if on == was_on else None
        x0 = (fill if on else denoiser)(x, sigma_of(x, s))
        if e == 0:
            x = x0
            break
        h = log(s / e)
        estimate = x0 if old is None else x0 + h / (2 * old_h) * (x0 - old)
        x = estimate + e / s * (x - estimate)
        old, old_h, was_on = x0, h, on
    assert not on and close(result, x)


# The few-step rule


def y_of(sigma):
    """Where x0hat is on its way along a trajectory of Gaussian data of standard deviation DATA_STD; 1 at no noise."""
    return DATA_STD / sqrt(DATA_STD**2 + sigma**2)


def y_mean(s, e):
    """The mean of y over 1 / sigma from 1 / s to 1 / e; s = inf is pure noise."""
    at_s = 1 / DATA_STD if s == inf else 1 / y_of(s) / s
    return (1 / y_of(e) / e - at_s) / (1 / e - 1 / s)


def line(y, s, d, s_last, d_last):
    return d + (y - y_of(s)) / (y_of(s) - y_of(s_last)) * (d - d_last)


def few_step_rule(x, sigmas, mask, background, eta, draw):
    """From pure noise, predicted and corrected with x0hat linear in y and the same noise; inside the mask."""
    sigmas, last, step = sigmas.tolist(), None, None
    for i, s in enumerate(sigmas[:-1]):
        d = mask * denoiser(x, sigma_of(x, s)) + (1 - mask) * background
        if last:
            x = mask * step(line(y_mean(last[0] if i > 1 else inf, s), s, d, *last)) + (1 - mask) * x
        e = sigmas[i + 1]
        if e == 0:
            return line(y_of(s * sqrt(s / last[0])), s, d, *last)
        step = partial(
            transition, x, sigma_s=s, sigma_e=e, noise=draw(s, e), alpha_s=1 if last else 0, eta=eta
        )
        x = step(line(y_mean(s, e), s, d, *last) if last else d)
        x = mask * x + (1 - mask) * (background + e * draw(s, e))
        last = s, d


@pytest.mark.parametrize("steps", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("name", ["fast", "recommended"])
def test_presets_follow_the_few_step_rule(name, steps):
    grid, options = preset(name, steps)
    sigmas = grid_sigmas(aias_grid(**grid), TABLE)
    mask, background = hard_mask(), normal(*SHAPE, seed=3)
    x = (1 - mask) * background + sigmas[0] * normal(*SHAPE)
    expected = few_step_rule(x, sigmas, mask, background, options["eta"], Recorded())
    result = sample_aias(denoiser, x, sigmas, mask=mask, background=background, noise_sampler=Recorded(), **options)
    assert close(result, expected)


@pytest.mark.parametrize("steps", [4, 8, 20])
@pytest.mark.parametrize("form", ["ve", "flow"])
def test_the_rule_keeps_the_spread_of_gaussian_data(form, steps):
    table = TABLE if form == "ve" else torch.arange(1, 1001, dtype=torch.float64) / 1000
    alpha = None if form == "ve" else lambda sigma: 1 - sigma

    def exact(x, sigma):
        a, s = 1.0 if form == "ve" else 1 - sigma[0], sigma[0]
        return a * DATA_STD**2 / (a**2 * DATA_STD**2 + s**2) * x

    sigmas = grid_sigmas(aias_grid(steps, "half", refine=0, sigmas=table), table)
    x = sample_aias(
        exact, sigmas[0] * normal(1, 1, 200, 200), sigmas, alpha=alpha, order=2, eta=0.0, pure_start=True, correct=True
    )
    assert x.std().item() == pytest.approx(DATA_STD, rel=0.02)


def test_the_corrector_takes_the_foregrounds_estimates_on_where_it_rests():
    """The step that leads to the first level of the denoiser is taken again with the mean of both models."""
    sigmas = torch.tensor([2.0, 1.0, 0.5, 0.0], dtype=torch.float64)
    options = {"mask": torch.ones(2, 1, 6, 5), "background": normal(*SHAPE, seed=3), "foreground": fill, "eta": 0.0}
    rest = {"timestep": lambda sigma: 999 if sigma > 1.5 else 0}
    states = []
    sample_aias(
        denoiser, start(), sigmas, order=2, correct=True, **options, **rest,
        callback=lambda d: states.append((d["x"], d["denoised"])),
    )
    (x, f), (ahead, d), (state, _) = states
    assert close(ahead, f + (x - f) / 2)
    corrected = transition(x, line(y_mean(2, 1), 1, d, 2, f), 2, 1, None, eta=0)
    assert close(state, transition(corrected, line(y_mean(1, 0.5), 1, d, 2, f), 1, 0.5, None, eta=0))


def mixture_modes(name, steps):
    """(share, mean, std) of both modes of a sampled mixture .3 N(-1, .1^2) + .7 N(1, .2^2), with its exact denoiser."""
    shares, means, stds = (torch.tensor(v, dtype=torch.float64) for v in ((0.3, 0.7), (-1.0, 1.0), (0.1, 0.2)))

    def exact(x, sigma):
        s, x = sigma[0] ** 2, x[..., None]
        total = stds**2 + s
        weights = (shares.log() - 0.5 * total.log() - (x - means) ** 2 / (2 * total)).softmax(-1)
        return (weights * (stds**2 * x + s * means) / total).sum(-1)

    grid, options = preset(name, steps)
    sigmas = grid_sigmas(aias_grid(**grid), TABLE)
    x = sample_aias(exact, sigmas[0] * normal(1, 1, 200, 200), sigmas, seeds=[1], **options)
    return [((x < 0).double().mean().item(), x[x < 0].mean().item(), x[x < 0].std().item()),
            ((x > 0).double().mean().item(), x[x > 0].mean().item(), x[x > 0].std().item())]  # fmt: skip


def test_fast_at_10_steps_keeps_the_spread_within_a_mode(record_property):
    for name in ("fast", "recommended", "paper"):
        record_property(f"{name} at 10 steps: share, mean, std of both modes", mixture_modes(name, 10))
    (low, low_mean, low_std), (_, high_mean, high_std) = mixture_modes("fast", 10)
    assert low_std == pytest.approx(0.1, rel=0.1) and high_std == pytest.approx(0.2, rel=0.1)
    assert low == pytest.approx(0.3, abs=0.03)
    assert low_mean == pytest.approx(-1, abs=0.02) and high_mean == pytest.approx(1, abs=0.02)


# What is refused


def spoiled(value, *shape):
    tensor = torch.zeros(*shape, dtype=torch.float64)
    tensor.view(-1)[-1] = value
    return tensor


MASK, BACKGROUND = torch.ones(2, 1, 6, 5), torch.zeros(SHAPE)
MASKED = {"mask": MASK, "background": BACKGROUND}


@pytest.mark.parametrize(
    "options, words",
    [
        ({"x": spoiled(float("nan"), *SHAPE)}, "the starting latent holds NaN"),
        ({"x": spoiled(float("inf"), *SHAPE)}, "the starting latent holds NaN"),
        ({"mask": MASK}, "a mask came without a background"),
        ({"mask": MASK, "background": spoiled(float("nan"), *SHAPE)}, "the background latent holds NaN"),
        ({"mask": spoiled(float("nan"), 2, 1, 6, 5), "background": BACKGROUND}, "the mask holds"),
        ({"mask": spoiled(1.5, 2, 1, 6, 5), "background": BACKGROUND}, "the mask holds"),
        ({"mask": -MASK, "background": BACKGROUND}, "the mask holds"),
        ({"mask": torch.ones(2, 1, 6, 4), "background": BACKGROUND}, "the mask is "),
        ({"mask": torch.ones(2, 3, 6, 5), "background": BACKGROUND}, "the mask is "),
        ({"mask": torch.ones(3, 1, 6, 5), "background": BACKGROUND}, "the mask is "),
        ({"mask": torch.ones(6, 5), "background": BACKGROUND}, "the mask is "),
        ({"mask": MASK, "background": torch.zeros(2, 4, 6, 5)}, "the background is "),
        ({"seeds": [1]}, "1 seeds for a batch of 2"),
        ({"sigmas": torch.tensor([1.0, 2.0, 0.0])}, "sigmas must descend"),
        ({"sigmas": torch.tensor([2.0, 2.0, 0.0])}, "sigmas must descend"),
        ({"sigmas": torch.tensor([2.0, 1.0])}, "sigmas must descend"),
        ({"sigmas": torch.tensor([0.0])}, "sigmas must descend"),
        ({"sigmas": torch.tensor([float("nan"), 1.0, 0.0])}, "sigmas must descend"),
        ({"order": 3}, "order is 3"),
        ({**MASKED, "foreground": fill, "foreground_mode": "renoise", "correct": True}, "renoise changes the states"),
        ({"foreground": fill}, "a foreground came without a mask"),
        ({**MASKED, "foreground": fill, "foreground_mode": "paste"}, "foreground_mode is 'paste'"),
        ({**MASKED, "foreground": fill, "foreground_strength": 1.5}, "foreground_strength is 1.5"),
        ({**MASKED, "foreground": fill, "foreground_mode": "renoise", "foreground_strength": 0.5}, "foreground_streng"),
    ],
)
def test_bad_input_is_refused_before_the_model_runs(options, words):
    options = {"x": start(), "sigmas": SIGMAS, **options}
    with pytest.raises(ValueError, match=f"^AIAS: {words}"):
        sample_aias(forbidden, options.pop("x"), options.pop("sigmas"), **options)


@pytest.mark.parametrize("options", [{"eta": 1.5}, {"eta": -1.0}, {"variance": 2.0}, {"variance": 0.5, "eta": 0.5}])
def test_options_of_the_transition_are_refused_too(options):
    with pytest.raises(ValueError, match="must lie in 0 .. 1|for eta = 1 only"):
        sample_aias(denoiser, start(), SIGMAS, **options)
