from math import sqrt

import pytest
import torch
from anomaly_synthesis.samplers.schedule import alphas_cumprod
from anomaly_synthesis.samplers.transition import transition

from .refusals import refused

ABAR = alphas_cumprod().tolist()
PAIRS = [(999, 998), (999, 500), (999, 0), (700, 699), (500, 20), (300, 299), (21, 1), (20, 19), (10, 0), (1, 0)]
DRAWS = 200_000


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vp_step(x, x0, noise, s, e, **options):
    """The transition in VP form, s and e indices into the schedule."""
    return transition(x, x0, sqrt(1 - ABAR[s]), sqrt(1 - ABAR[e]), noise, sqrt(ABAR[s]), sqrt(ABAR[e]), **options)


def coefficients(s, e, **options):
    """(Pi, Sigma, Var): the weights of the state and of the clean estimate, and the variance of what is drawn."""
    one, nil = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    pi = vp_step(one, nil, nil, s, e, **options).item()
    sigma = vp_step(nil, one, nil, s, e, **options).item()
    return pi, sigma, vp_step(nil, nil, one, s, e, **options).item() ** 2


def ddpm(t):
    """(weight of x_t, weight of x0, variance) of DDPM's single posterior step from t to t - 1, from its betas."""
    alpha = ABAR[t] / ABAR[t - 1]
    beta = 1 - alpha
    return (
        sqrt(alpha) * (1 - ABAR[t - 1]) / (1 - ABAR[t]),
        sqrt(ABAR[t - 1]) * beta / (1 - ABAR[t]),
        beta * (1 - ABAR[t - 1]) / (1 - ABAR[t]),
    )


def test_a_thousand_single_steps_are_ddpm():
    def denoised(x, t):  # of data N(0.3, 0.5^2), exactly
        return 0.3 + 0.25 * sqrt(ABAR[t]) / (0.25 * ABAR[t] + 1 - ABAR[t]) * (x - sqrt(ABAR[t]) * 0.3)

    ours = theirs = normal(4, 5)
    for t in range(999, 0, -1):
        noise = normal(4, 5, seed=t)
        ours = vp_step(ours, denoised(ours, t), noise, t, t - 1)
        of_x, of_x0, variance = ddpm(t)
        theirs = of_x * theirs + of_x0 * denoised(theirs, t) + sqrt(variance) * noise
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-10)
    last = transition(ours, denoised(ours, 0), sqrt(1 - ABAR[0]), 0, None, sqrt(ABAR[0]), 1)
    assert torch.equal(last, denoised(ours, 0))


@pytest.mark.parametrize("s, e", PAIRS)
def test_closed_form_is_the_recursion_of_single_steps(s, e):
    pi, sigma, variance = 1.0, 0.0, 0.0
    for t in range(s, e, -1):
        of_x, of_x0, drawn = ddpm(t)
        pi, sigma, variance = of_x * pi, of_x * sigma + of_x0, of_x**2 * variance + drawn
    assert coefficients(s, e) == pytest.approx((pi, sigma, variance), rel=1e-7)


@pytest.mark.parametrize("s, m, e", [(999, 500, 20), (999, 998, 0), (21, 10, 1), (300, 2, 1)])
def test_two_transitions_compose_to_one(s, m, e):
    first, second, whole = coefficients(s, m), coefficients(m, e), coefficients(s, e)
    composed = (second[0] * first[0], second[0] * first[1] + second[1], second[0] ** 2 * first[2] + second[2])
    assert composed == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("s, e", PAIRS)
def test_marginal_identities(s, e, eta):
    pi, sigma, variance = coefficients(s, e, eta=eta) if eta else (*coefficients(s, e, eta=0.0)[:2], 0.0)
    assert pi * sqrt(ABAR[s]) + sigma == pytest.approx(sqrt(ABAR[e]), rel=1e-12)
    assert pi**2 * (1 - ABAR[s]) + variance == pytest.approx(1 - ABAR[e], rel=1e-9)


def test_the_papers_printed_lemma_is_not_reproduced():
    """FAST prints inner products over the steps already taken; then both marginal identities break."""
    s, e = 21, 1  # t = 22 -> 2, counted from 1
    steps = {t: ddpm(t) for t in range(s, e, -1)}
    pi, sigma, variance = 1.0, 0.0, 0.0
    for t in range(s, e, -1):
        already = 1.0
        for j in range(s, t, -1):
            already *= steps[j][0]
        pi, sigma, variance = pi * steps[t][0], sigma + already * steps[t][1], variance + already**2 * steps[t][2]
    true_variance = 1 - ABAR[e]
    assert (pi**2 * (1 - ABAR[s]) + variance) / true_variance == pytest.approx(3.95, abs=0.01)
    assert pi * sqrt(ABAR[s]) + sigma < sqrt(ABAR[e]) - 1e-5

    ours = coefficients(s, e)
    assert (ours[0] ** 2 * (1 - ABAR[s]) + ours[2]) / true_variance == pytest.approx(1, abs=1e-10)
    assert ours[0] * sqrt(ABAR[s]) + ours[1] == pytest.approx(sqrt(ABAR[e]), abs=1e-12)


@pytest.mark.parametrize("s, e", PAIRS)
def test_eta_0_is_ddim(s, e):
    x, x0 = normal(3, 4), normal(3, 4, seed=1)
    eps = (x - sqrt(ABAR[s]) * x0) / sqrt(1 - ABAR[s])
    expected = sqrt(ABAR[e]) * x0 + sqrt(1 - ABAR[e]) * eps
    assert torch.allclose(vp_step(x, x0, None, s, e, eta=0.0), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"eta": 0.0}, {"eta": 0.5}, {"variance": 0.3}, {"variance": 1.0}])
@pytest.mark.parametrize("s, e", PAIRS)
def test_ve_and_vp_forms_agree(s, e, options):
    x, x0, noise = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2)
    ve_s, ve_e = (sqrt((1 - ABAR[t]) / ABAR[t]) for t in (s, e))
    in_ve = transition(x / sqrt(ABAR[s]), x0, ve_s, ve_e, noise, **options)
    assert torch.allclose(sqrt(ABAR[e]) * in_ve, vp_step(x, x0, noise, s, e, **options), rtol=0, atol=1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("s, e", [(1.0, 0.7), (1.0, 0.05), (0.7, 0.69), (0.5, 0.01)])
def test_flow_form_keeps_its_marginals(s, e, eta):
    x0 = torch.full((DRAWS,), 2.0, dtype=torch.float64)
    x = (1 - s) * x0 + s * normal(DRAWS)
    x_e = transition(x, x0, s, e, normal(DRAWS, seed=1), 1 - s, 1 - e, eta)
    assert x_e.mean().item() == pytest.approx((1 - e) * 2, abs=4 * e / sqrt(DRAWS))
    assert x_e.std().item() == pytest.approx(e, rel=4 / sqrt(2 * DRAWS))


def test_from_pure_flow_noise_the_posterior_forgets_the_state():
    x0, noise = normal(5), normal(5, seed=1)
    assert torch.allclose(transition(normal(5, seed=2), x0, 1.0, 0.6, noise, 0.0, 0.4), 0.4 * x0 + 0.6 * noise)


@pytest.mark.parametrize("s, e", PAIRS)
def test_variance_factor_runs_from_the_posterior_to_its_bound(s, e):
    bound = 1 - ABAR[s] / ABAR[e]
    posterior = (1 - ABAR[e]) * bound / (1 - ABAR[s])
    assert coefficients(s, e, variance=1.0)[2] == pytest.approx(bound, rel=1e-9)
    assert coefficients(s, e, variance=0.3)[2] == pytest.approx(0.7 * posterior + 0.3 * bound, rel=1e-9)
    assert coefficients(s, e, variance=1.0)[:2] == pytest.approx(coefficients(s, e)[:2], rel=1e-12)


def test_no_noise_left_gives_the_estimate():
    x0 = normal(3)
    assert torch.equal(transition(normal(3, seed=1), x0, 0.5, 0.0, None), x0)


@pytest.mark.parametrize(
    "levels, options, subject, words",
    [
        ((1.0, 2.0), {}, "sigmas", "^a step from 1 to 2$"),
        ((0.0, 0.0001), {}, "sigmas", "^a step from 0 to"),
        ((-2.0, 1.0), {}, "sigmas", "^a step from -2 to 1$"),
        ((2.0, 1.0), {"eta": -0.1}, "eta", "^-0.1$"),
        ((2.0, 1.0), {"eta": 1.1}, "eta", "^1.1$"),
        ((2.0, 1.0), {"eta": float("nan")}, "eta", "^nan$"),
        ((2.0, 1.0), {"variance": 1.5}, "variance", "^1.5$"),
        ((2.0, 1.0), {"variance": -0.5}, "variance", "^-0.5$"),
        ((2.0, 1.0), {"variance": 0.5, "eta": 0.9}, "variance", "^0.5 with eta 0.9$"),
        ((2.0, 1.0), {"eta": 0.5, "noise": None}, "noise", "^None"),
    ],
)
def test_what_is_out_of_range_is_refused(levels, options, subject, words):
    x = normal(3)
    options = {"noise": normal(3, seed=1), **options}
    with refused(f"^{subject}$", words):
        transition(x, x, *levels, **options)


def test_vp_levels_out_of_order_are_refused():
    with refused("^sigmas$", accepted="levels that descend"):
        vp_step(normal(3), normal(3), normal(3), 20, 40)
