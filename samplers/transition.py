"""One step between two noise levels: the Gaussian posterior, DDIM, and what lies between them."""

from __future__ import annotations

from math import sqrt

from torch import Tensor

from ..errors import Refused


def transition(
    x: Tensor,
    x0: Tensor,
    sigma_s: float,
    sigma_e: float,
    noise: Tensor | None,
    alpha_s: float = 1,
    alpha_e: float = 1,
    eta: float = 1.0,
    variance: float = 0.0,
) -> Tensor:
    """Draw the state at level e from the state `x` at level s, with the clean estimate `x0` held constant.

    A state is x = alpha * x0 + sigma * noise: alpha = 1 is the VE form of eps and v models, alpha = 1 - sigma that of
    flow models, alpha = sqrt(abar), sigma = sqrt(1 - abar) the VP form of the papers. With eta = 1 this is exactly
    q(x_e | x_s, x0), the composition of all DDPM steps between the two levels: Pi, Sigma and Var of FAST's lemma,
    with its inner products taken over the steps still to come (the printed lemma takes those already taken, and
    breaks the marginal identities Pi alpha_s + Sigma = alpha_e and Pi^2 sigma_s^2 + Var = sigma_e^2).

    Args:
        x: state at level s, any shape.
        x0: estimate of the clean latent, same shape.
        sigma_s, sigma_e: noise levels, sigma_s > 0, sigma_e >= 0, level e not noisier than level s.
        noise: standard normal, same shape; may be None where none enters (sigma_e = 0, or eta = 0).
        alpha_s, alpha_e: signal scales; alpha_s = 0 is pure noise.
        eta: 0 is DDIM (no noise enters), 1 the posterior.
        variance: 0 keeps the posterior's variance, 1 takes its upper bound (1 - r)(alpha_e^2 + sigma_e^2), where r
            is the ratio of abar_s to abar_e; only for eta = 1.

    Raises:
        Refused: levels out of order, eta or variance outside 0 .. 1, variance without eta = 1, noise missing.
    """
    sigma_s, sigma_e, alpha_s, alpha_e = float(sigma_s), float(sigma_e), float(alpha_s), float(alpha_e)
    check_stochasticity(eta, variance)
    if sigma_e == 0:
        return alpha_e * x0
    up, down = _noise_split(sigma_s, sigma_e, alpha_s, alpha_e, eta)
    if variance:
        bound = (1 - _abar(alpha_s, sigma_s) / _abar(alpha_e, sigma_e)) * (alpha_e**2 + sigma_e**2)
        up = sqrt((1 - variance) * up**2 + variance * bound)
    k = down / sigma_s
    x_e = k * x + (alpha_e - k * alpha_s) * x0
    if up == 0:
        return x_e
    if noise is None:
        raise Refused("noise", "None, and eta > 0 adds noise", "standard normal noise shaped like x")
    return x_e + up * noise


def _noise_split(sigma_s: float, sigma_e: float, alpha_s: float, alpha_e: float, eta: float) -> tuple[float, float]:
    """The part of sigma_e that is fresh noise, and the part that is kept from x."""
    a = alpha_s / alpha_e if alpha_s else 0.0
    v = sigma_s**2 - (a * sigma_e) ** 2
    if sigma_s <= 0 or v < -1e-9 * sigma_s**2:
        raise Refused("sigmas", f"a step from {sigma_s:g} to {sigma_e:g}", "levels that descend, the first above 0")
    up = eta * sigma_e * sqrt(max(v, 0.0)) / sigma_s
    return up, sqrt(max(sigma_e**2 - up**2, 0.0))


def _abar(alpha: float, sigma: float) -> float:
    return alpha**2 / (alpha**2 + sigma**2)


def check_stochasticity(eta: float, variance: float) -> None:
    """Raise Refused for an eta or variance factor outside 0 .. 1, or a variance factor without eta = 1."""
    if not 0 <= eta <= 1:
        raise Refused("eta", f"{eta:g}", "0 .. 1")
    if not 0 <= variance <= 1:
        raise Refused("variance", f"{variance:g}", "0 .. 1")
    if variance and eta != 1:
        raise Refused("variance", f"{variance:g} with eta {eta:g}", "0, or any of 0 .. 1 with eta 1")
