"""AIAS without a mask, its noise and its seeds."""

from math import sqrt

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.grid import aias_grid, grid_sigmas
from anomaly_synthesis.samplers.noise import initial_noise
from anomaly_synthesis.samplers.presets import PRESETS, preset

from .sampler_toys import SHAPE, SIGMAS, TABLE, Recorded, close, denoiser, fill, hard_mask, normal, sigma_of, start


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
        lambda x, sigma: x0,
        first,
        sigmas,
        callback=lambda d: states.append((float(d["sigma"]), d["x"])),
        alpha=alpha,
        eta=eta,
        order=order,
        seeds=[1],
    )
    assert torch.equal(result, x0) and len(states) == 6
    for sigma, x in states:
        signal = 1 if form == "ve" else 1 - sigma
        assert x.mean().item() == pytest.approx(3 * signal, abs=4 * sigma / 200)
        assert x.std().item() == pytest.approx(sigma, rel=0.015)


def test_the_variance_factor_is_passed_on():
    x0, sigmas = torch.zeros(1, 1, 200, 200, dtype=torch.float64), torch.tensor([2.0, 1.0, 0.0])
    states = []
    sample_aias(lambda x, sigma: x0, 0 * x0, sigmas, callback=lambda d: states.append(d["x"]), variance=1.0, seeds=[1])
    assert states[1].var().item() == pytest.approx((1 - 2 / 5) * 2, rel=0.03)  # (1 - r)(1 + sigma_e^2), r = 2/5


def test_callback_reports_every_level():
    levels = []
    sample_aias(denoiser, start(), SIGMAS, callback=levels.append, seeds=[0, 1])
    assert [d["i"] for d in levels] == list(range(9))
    assert [float(d["sigma"]) for d in levels] == SIGMAS[:-1].tolist() == [float(d["sigma_hat"]) for d in levels]
    assert torch.equal(levels[0]["x"], start())
    assert all(torch.equal(d["denoised"], denoiser(d["x"], sigma_of(d["x"], d["sigma"]))) for d in levels)


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


def test_the_transition_draws_first_the_background_second_and_nothing_at_the_end():
    sigmas = torch.tensor([4.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    mask, background, noise, states = hard_mask(), normal(*SHAPE, seed=3), Recorded(), []
    sample_aias(
        denoiser,
        start(),
        sigmas,
        mask=mask,
        background=background,
        noise_sampler=noise,
        callback=lambda d: states.append((d["x"], d["denoised"])),
    )
    assert noise.levels == [(4.0, 2.0), (4.0, 2.0), (2.0, 1.0), (2.0, 1.0)]
    for i, (s, e) in enumerate([(4.0, 2.0), (2.0, 1.0)]):
        (x, x0), q = states[i], (e / s) ** 2
        inside = q * x + (1 - q) * x0 + e * sqrt(1 - q) * noise.drawn[2 * i]
        outside = background + e * noise.drawn[2 * i + 1]
        assert close(states[i + 1][0], torch.where(mask > 0, inside, outside))
