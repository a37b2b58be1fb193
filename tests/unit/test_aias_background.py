"""AIAS outside a mask: the background, exactly."""

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.grid import aias_grid, grid_sigmas
from anomaly_synthesis.samplers.presets import PRESETS, preset

from .sampler_toys import SHAPE, SIGMAS, TABLE, denoiser, forbidden, hard_mask, normal, sigma_of, start


@pytest.mark.parametrize("name", PRESETS)
def test_mask_0_returns_the_background_exactly(name):
    grid, options = preset(name, 6)
    background = normal(*SHAPE, seed=3)
    result = sample_aias(
        denoiser,
        start(),
        grid_sigmas(aias_grid(**grid), TABLE),
        mask=torch.zeros(1, 1, 6, 5),
        background=background,
        seeds=[0, 1],
        **options,
    )
    assert torch.equal(result, background)


@pytest.mark.parametrize("name", PRESETS)
def test_outside_the_mask_the_result_is_the_background_exactly(name):
    grid, options = preset(name, 6)
    background, mask = normal(1, *SHAPE[1:], seed=3), hard_mask()
    result = sample_aias(
        denoiser,
        start(),
        grid_sigmas(aias_grid(**grid), TABLE),
        mask=mask,
        background=background,
        seeds=[0, 1],
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
        denoiser,
        start(),
        sigmas,
        mask=torch.ones(2, 1, 6, 5),
        background=normal(*SHAPE, seed=3),
        foreground=forbidden,
        foreground_strength=0,
        seeds=[4, 5],
        **options,
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
        denoiser,
        background + sigmas[0] * normal(1, 4, 96, 96),
        sigmas,
        mask=mask,
        background=background,
        seeds=[1],
        callback=lambda d: states.append((d["sigma"], d["x"])),
        **options,
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
        denoiser,
        normal(1, 1, 100, 100),
        sigmas,
        mask=torch.zeros(1, 1, 100, 100),
        background=background,
        seeds=[0],
        alpha=lambda sigma: 1 - sigma,
        callback=lambda d: states.append((float(d["sigma"]), d["x"])),
    )
    for sigma, x in states:
        assert x.mean().item() == pytest.approx(3 * (1 - sigma), abs=0.04)
        assert x.std().item() == pytest.approx(sigma, rel=0.03)
    assert torch.equal(result, background)


def test_the_estimate_outside_the_mask_is_the_background():
    background, mask, denoised = normal(*SHAPE, seed=3), hard_mask(), []
    sample_aias(
        denoiser,
        start(),
        SIGMAS,
        mask=mask,
        background=background,
        seeds=[0, 1],
        callback=lambda d: denoised.append((d["denoised"], denoiser(d["x"], sigma_of(d["x"], d["sigma"])))),
    )
    assert len(denoised) == 9
    for estimate, predicted in denoised:
        assert torch.equal(estimate, torch.where(mask > 0, predicted, background))


def test_soft_masks_mix_the_estimates_and_keep_nominal_noise():
    made, background = (torch.full((1, 1, 200, 200), value, dtype=torch.float64) for value in (3.0, 1.0))
    mask = torch.full((1, 1, 200, 200), 0.25, dtype=torch.float64)
    states = []
    result = sample_aias(
        lambda x, sigma: made,
        1.5 + SIGMAS[0] * normal(1, 1, 200, 200),
        SIGMAS,
        mask=mask,
        background=background,
        seeds=[1],
        callback=lambda d: states.append((float(d["sigma"]), d["x"])),
    )
    for sigma, x in states:
        assert x.mean().item() == pytest.approx(1.5, abs=4 * sigma / 200)
        assert x.std().item() == pytest.approx(sigma, rel=0.015)
    assert torch.allclose(result, torch.full_like(result, 1.5))
