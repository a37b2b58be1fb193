from math import inf, log, sqrt

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias
from anomaly_synthesis.samplers.multistep import Gaussian, History, LogSNR
from anomaly_synthesis.samplers.transition import transition

Z = torch.tensor([1.3], dtype=torch.float64)


def trajectory(std, w):
    """(state, x0hat) at sigma = 1 / w of the probability-flow ODE of N(0, std^2) that starts from the noise Z."""
    x = Z * sqrt(1 + (std * w) ** 2) / w
    return x, std**2 / (std**2 + w**-2) * x


@pytest.mark.parametrize("std", [0.1, 0.4, 2.0])
def test_the_mean_is_ys_integral_over_the_step(std):
    clock, (w_s, w_e) = Gaussian(std), (0.3, 5.0)
    w = torch.linspace(w_s, w_e, 20001, dtype=torch.float64)
    y = torch.tensor([clock.at(one) for one in w.tolist()], dtype=torch.float64)
    assert clock.mean(w_s, w_e) == pytest.approx(torch.trapezoid(y, w).item() / (w_e - w_s), rel=1e-8)
    assert clock.at(0.0) == 0 and clock.at(1e6) == pytest.approx(1)


@pytest.mark.parametrize("std", [0.1, 0.4, 2.0])
@pytest.mark.parametrize("w, w_e", [(0.2, 0.21), (0.2, 3.0), (2.0, 1000.0)])
def test_steps_of_any_length_are_exact_for_gaussian_data(std, w, w_e):
    history = History(Gaussian(std), order=2)
    history.keep(trajectory(std, 0.1)[1], 0.1, 0.1)
    x, x0 = trajectory(std, w)
    expected = trajectory(std, w_e)[0]
    stepped = transition(x, history.predicted(x0, w, w_e), 1 / w, 1 / w_e, None, eta=0)
    assert torch.allclose(stepped, expected, rtol=1e-10)
    history.keep(x0, w, w)
    again = transition(x, history.corrected(trajectory(std, w_e)[1], w_e), 1 / w, 1 / w_e, None, eta=0)
    assert torch.allclose(again, expected, rtol=1e-10)


def test_the_corrected_first_step_is_exact_from_pure_noise():
    history = History(Gaussian(0.4), order=2)
    history.keep(trajectory(0.4, 0.1)[1], 0.1, 0.0)
    x0 = history.corrected(trajectory(0.4, 2.0)[1], 2.0)
    assert torch.allclose(transition(10 * Z, x0, 10, 0.5, None, alpha_s=0, eta=0), trajectory(0.4, 2.0)[0])


def test_the_last_step_looks_half_a_step_ahead():
    history = History(Gaussian(0.4), order=2)
    history.keep(trajectory(0.4, 5.0)[1], 5.0, 5.0)
    assert torch.allclose(history.predicted(trajectory(0.4, 20.0)[1], 20.0, inf), trajectory(0.4, 40.0)[1])


def test_log_snr_is_dpm_solvers_multistep():
    history, old, new = History(LogSNR(), order=2), Z, 2 * Z
    history.keep(old, 0.5, 0.5)
    factor = log(8.0 / 2.0) / (2 * log(2.0 / 0.5))
    assert torch.allclose(history.predicted(new, 2.0, 8.0), new + factor * (new - old))
    assert torch.equal(history.predicted(new, 2.0, inf), new)
    history.keep(old, 0.0, 0.0)
    assert torch.equal(history.predicted(new, 2.0, 8.0), new)


@pytest.mark.parametrize("clock", [LogSNR(), Gaussian(0.4)])
def test_nothing_to_extrapolate_from_leaves_the_estimate(clock):
    history = History(clock, order=2)
    assert history.predicted(Z, 1.0, 2.0) is Z
    history.keep(0 * Z, 1e12, 1e12)
    assert torch.isfinite(history.predicted(Z, 1e13, 1e14)).all()
    history.forget()
    assert history.predicted(Z, 1.0, 2.0) is Z
    history = History(clock, order=1)
    history.keep(0 * Z, 0.5, 0.5)
    assert history.predicted(Z, 1.0, 2.0) is Z


def test_a_last_step_after_pure_noise_takes_the_estimate():
    """A flow model's two steps: alpha is 0 at the first level, so that the steps have no ratio."""
    history = History(Gaussian(0.4), order=2)
    history.keep(torch.zeros(1), w=0.0, w_s=0.0)
    assert history.predicted(torch.ones(1), w=1.0, w_e=inf) == 1
    sigmas = torch.tensor([1.0, 0.5, 0.0])
    options = {"alpha": lambda sigma: 1 - sigma, "order": 2, "eta": 0.0, "pure_start": True, "correct": True}
    x = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    done = sample_aias(lambda x, sigma: 0.25 * x, x, sigmas, seeds=[0], **options)
    assert torch.isfinite(done).all()
