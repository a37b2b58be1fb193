"""A run in two halves: the state at the cut, and equality with the whole run where the cut loses nothing."""

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.graded import sample_graded
from anomaly_synthesis.samplers.graded_windows import PAPER_WINDOWS, graded_grid
from anomaly_synthesis.samplers.grid import grid_sigmas

from .sampler_toys import SHAPE, SIGMAS, TABLE, close, denoiser, hard_mask, normal, start

GRADED = grid_sigmas(graded_grid(9), TABLE)
KNOWN = {"mask": hard_mask(), "background": normal(*SHAPE, seed=3)}


def by_level(sigma_s, sigma_e):
    """Noise that depends on the step alone, so that both halves draw what the whole run draws."""
    return normal(*SHAPE, seed=int(1e4 * sigma_s) + int(1e3 * sigma_e))


def halves(sample, sigmas, cut, **options):
    left = sample(denoiser, start(), sigmas[: cut + 1], **options)
    return left, sample(denoiser, left, sigmas[cut:], **options)


@pytest.mark.parametrize("cut", [1, 4, 8])
@pytest.mark.parametrize("options", [{}, KNOWN, {"eta": 1.0}, {"eta": 1.0, **KNOWN}], ids=str)
def test_two_halves_of_aias_are_the_whole_run(cut, options):
    options = {"eta": 0.0, "order": 1, "noise_sampler": by_level} | options
    left, done = halves(sample_aias, SIGMAS, cut, **options)
    assert close(done, sample_aias(denoiser, start(), SIGMAS, **options)) and not close(left, done)
    if "mask" in options:
        outside = (hard_mask() == 0).expand(SHAPE)
        noised = KNOWN["background"] + float(SIGMAS[cut]) * by_level(*SIGMAS[cut - 1 : cut + 1].tolist())
        assert close(left[outside], noised[outside]) and close(done[outside], KNOWN["background"][outside])


def test_without_a_mask_no_noise_is_needed():
    _, done = halves(sample_aias, SIGMAS, 4, eta=0.0)
    assert close(done, sample_aias(denoiser, start(), SIGMAS, eta=0.0))


@pytest.mark.parametrize("cut", range(1, 9))
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_two_halves_of_graded_diffusion_are_the_whole_run(cut, eta):
    options = {"eta": eta, "noise_sampler": by_level, **KNOWN}
    _, done = halves(sample_graded, GRADED, cut, **options)
    assert close(done, sample_graded(denoiser, start(), GRADED, **options))


def test_a_half_needs_a_level_in_the_windows_that_it_passes_alone():
    def levels(*times):
        return torch.tensor([float(TABLE[t]) for t in times] + [0.0])

    upper, lower = levels(999, 900, 600, 350)[:-1], levels(350, 200)
    for sigmas in (upper, lower):
        assert sample_graded(denoiser, start(), sigmas, **KNOWN, windows=PAPER_WINDOWS).isfinite().all()
    for sigmas in (levels(999, 900, 600, 250)[:-1], levels(700, 250), levels(999, 900, 250)):
        with pytest.raises(ValueError, match=r"none of the \d levels falls into the window \(400, 300\)"):
            sample_graded(denoiser, start(), sigmas, **KNOWN, windows=PAPER_WINDOWS)
