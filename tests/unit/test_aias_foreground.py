"""AIAS with a foreground model."""

from math import log, sqrt

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.schedule import nearest_timestep

from .sampler_toys import SHAPE, SIGMAS, Recorded, close, denoiser, fill, forbidden, hard_mask, normal, sigma_of, start


def test_at_full_strength_in_a_hard_mask_the_model_is_not_called():
    noise, mask, background = Recorded(), hard_mask(), normal(*SHAPE, seed=3)
    options = {"mask": mask, "background": background, "noise_sampler": noise}
    result = sample_aias(forbidden, start(), SIGMAS, foreground=fill, foreground_until=0, **options)
    as_model = sample_aias(fill, start(), SIGMAS, **{**options, "noise_sampler": Recorded()})
    assert close(result, as_model)


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_in_a_soft_mask_the_foreground_takes_its_share(strength):
    mask, background, levels = 0.5 * hard_mask(), normal(*SHAPE, seed=3), []
    sample_aias(
        denoiser,
        start(),
        SIGMAS,
        mask=mask,
        background=background,
        foreground=fill,
        foreground_strength=strength,
        foreground_until=0,
        seeds=[0, 1],
        callback=lambda d: levels.append((d["x"], d["sigma"], d["denoised"])),
    )
    assert len(levels) == 9
    for x, sigma, denoised in levels:
        sigma = sigma_of(x, sigma)
        mixed = (1 - strength) * denoiser(x, sigma) + strength * fill(x, sigma)
        assert close(denoised, mask * mixed + (1 - mask) * background)


def test_the_foreground_is_not_used_below_its_last_t():
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
        denoiser,
        start(),
        SIGMAS,
        mask=mask,
        background=background,
        foreground=fill,
        foreground_mode="renoise",
        foreground_until=300,
        noise_sampler=noise,
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


def test_order_2_drops_the_foregrounds_estimates_where_it_is_not_used():
    mask, background = torch.ones(2, 1, 6, 5), normal(*SHAPE, seed=3)
    result = sample_aias(
        denoiser,
        start(),
        SIGMAS,
        mask=mask,
        background=background,
        foreground=fill,
        foreground_until=500,
        order=2,
        eta=0.0,
        seeds=[0, 1],
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
