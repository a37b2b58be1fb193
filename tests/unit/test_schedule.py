import pytest
import torch
from anomaly_synthesis.samplers.schedule import alphas_cumprod, ldm_sigmas, nearest_timestep


def test_sigmas_are_those_of_ldm():
    sigmas = ldm_sigmas()
    assert len(sigmas) == 1000 and sigmas.dtype == torch.float64 and bool((sigmas.diff() > 0).all())
    assert sigmas[0].item() == pytest.approx(0.0292, abs=5e-5)
    assert sigmas[-1].item() == pytest.approx(14.6146, abs=5e-5)


def test_abar_is_the_product_of_what_the_betas_leave():
    product, root = 1.0, (0.00085**0.5, 0.012**0.5)
    for t, abar in enumerate(alphas_cumprod().tolist()):
        product *= 1 - (root[0] + (root[1] - root[0]) * t / 999) ** 2
        assert abar == pytest.approx(product, rel=1e-12)


def test_sigma_and_abar_say_the_same():
    assert torch.allclose(1 / (1 + ldm_sigmas(500) ** 2), alphas_cumprod(500), rtol=1e-12)


def test_every_level_finds_its_own_time():
    assert [nearest_timestep(sigma) for sigma in ldm_sigmas().tolist()] == list(range(1000))


def test_between_levels_the_nearest_in_log_sigma_is_taken():
    low, high = ldm_sigmas()[400:402].tolist()
    middle = (low * high) ** 0.5
    assert nearest_timestep(middle * 0.9999) == 400 and nearest_timestep(middle * 1.0001) == 401


def test_beyond_the_table_the_ends_are_taken():
    assert nearest_timestep(0.0) == 0 and nearest_timestep(1e-6) == 0 and nearest_timestep(80.0) == 999
