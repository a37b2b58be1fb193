"""Small models, noises and masks that the tests of the samplers share."""

import torch
from anomaly_synthesis.samplers.grid import aias_grid, grid_sigmas
from anomaly_synthesis.samplers.schedule import ldm_sigmas

SHAPE = (2, 3, 6, 5)
TABLE = ldm_sigmas()
SIGMAS = grid_sigmas(aias_grid(9), TABLE)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def denoiser(x, sigma, **_):
    """Not linear, and every pixel depends on its neighbours."""
    s = sigma.view(-1, 1, 1, 1)
    return torch.tanh(x / (1 + s**2).sqrt() + 0.3 * x.roll(1, -1) / (1 + s))


def fill(x, sigma, **_):
    """Another estimate, for the foreground."""
    s = sigma.view(-1, 1, 1, 1)
    return 2 + torch.sin(x / (1 + s))


def forbidden(*_, **__):
    raise AssertionError("called")


class Recorded:
    """A noise_sampler that records its noise and levels."""

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
