"""The few-step rule of the presets `fast` and `recommended`."""

from functools import partial
from math import inf, sqrt

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.grid import aias_grid, grid_sigmas
from anomaly_synthesis.samplers.presets import preset
from anomaly_synthesis.samplers.schedule import DATA_STD
from anomaly_synthesis.samplers.transition import transition

from .sampler_toys import SHAPE, TABLE, Recorded, close, denoiser, fill, hard_mask, normal, sigma_of, start


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
        step = partial(transition, x, sigma_s=s, sigma_e=e, noise=draw(s, e), alpha_s=1 if last else 0, eta=eta)
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


def test_the_corrector_keeps_the_foregrounds_estimates_at_the_switch_to_the_denoiser():
    """The step that leads to the first level of the denoiser is taken again with the mean of both models."""
    sigmas = torch.tensor([2.0, 1.0, 0.5, 0.0], dtype=torch.float64)
    options = {"mask": torch.ones(2, 1, 6, 5), "background": normal(*SHAPE, seed=3), "foreground": fill, "eta": 0.0}
    rest = {"timestep": lambda sigma: 999 if sigma > 1.5 else 0}
    states = []
    sample_aias(
        denoiser,
        start(),
        sigmas,
        order=2,
        correct=True,
        **options,
        **rest,
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
    return [
        ((x < 0).double().mean().item(), x[x < 0].mean().item(), x[x < 0].std().item()),
        ((x > 0).double().mean().item(), x[x > 0].mean().item(), x[x > 0].std().item()),
    ]


def test_fast_at_10_steps_keeps_the_spread_within_a_mode(record_property):
    for name in ("fast", "recommended", "paper"):
        record_property(f"{name} at 10 steps: share, mean, std of both modes", mixture_modes(name, 10))
    (low, low_mean, low_std), (_, high_mean, high_std) = mixture_modes("fast", 10)
    assert low_std == pytest.approx(0.1, rel=0.1) and high_std == pytest.approx(0.2, rel=0.1)
    assert low == pytest.approx(0.3, abs=0.03)
    assert low_mean == pytest.approx(-1, abs=0.02) and high_mean == pytest.approx(1, abs=0.02)
