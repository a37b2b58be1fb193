"""How far samples are from the truth: sliced Wasserstein-2 by mode and plain, modes, variance within them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from .worlds import NORMAL, World

PROJECTIONS = 64
FEWEST = 2  # samples that a mode's spread needs


def directions(dimensions: int, count: int = PROJECTIONS) -> Tensor:
    """Fixed unit vectors [count, dimensions]."""
    vectors = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return vectors / vectors.norm(dim=1, keepdim=True)


def projected(x: Tensor, along: Tensor) -> Tensor:
    """Sorted projections [p, n] of x [n, d] along unit vectors [p, d]."""
    return torch.from_numpy(np.sort((along @ x.T).numpy(), axis=1))  # on a CPU twice as fast as torch's


def sliced_w2(made: Tensor, truth: Tensor) -> float:
    """Sliced Wasserstein-2 of two sets of sorted projections, [p, n] and [p, m].

    Per direction the distance of the quantile functions; the truth's is read, interpolated, at the quantiles of the
    made samples.
    """
    n, m = made.shape[1], truth.shape[1]
    at = ((torch.arange(n, dtype=torch.float64) + 0.5) * m / n - 0.5).clamp(0, m - 1)
    low = at.floor().long()
    quantiles = torch.lerp(truth[:, low], truth[:, (low + 1).clamp_max(m - 1)], at - low)
    return (made - quantiles).square().mean().sqrt().item()


class Target:
    """The exact distribution that the samples of a world should have, and the measures against it.

    With the foreground model that is the anomaly modes given the background; without, all modes given the background
    (without a background the prior). A sample belongs to the mode of highest posterior. Every figure by mode is over
    the target's modes.
    """

    def __init__(self, world: World, blended: bool, samples: int):
        """`samples`: the truth has as many per mode, and four times as many over all modes."""
        self.all_modes = world.conditional
        self.first = NORMAL + 1 if blended else NORMAL
        self.mixture = self.all_modes.restricted(self.first)
        self.along = directions(world.masked)
        generator = torch.Generator().manual_seed(world.seed)
        self.plain = projected(self.mixture.draw(4 * samples, generator)[0], self.along)
        self.modes = [self._truth_of(k, samples, generator) for k in range(len(self.mixture.weights))]
        self.traces = self.mixture.covariances.diagonal(dim1=1, dim2=2).sum(1)

    def _truth_of(self, k: int, samples: int, generator: Generator) -> Tensor:
        x = self.mixture.draw_from(torch.full((samples,), k), generator)
        return projected(x[self.assigned(x) == k + self.first], self.along)

    def assigned(self, x: Tensor) -> Tensor:
        """Mode of every sample, counted over all modes of the world."""
        return self.all_modes.responsibilities(x).argmax(1)

    def measure(self, x: Tensor) -> dict:
        """Measures of samples [n, masked].

        w2_modes: sliced W2 within each mode, weighted by the modes' true masses; a mode that no sample reached is
        compared with all samples. w2: plain. without_defect: share in the normal mode. mode_error: total variation
        between the shares of the modes. variances: trace of the covariance over the true one, per mode; None where
        a mode has too few samples.
        """
        labels, sorted_all = self.assigned(x), projected(x, self.along)
        shares = torch.bincount(labels, minlength=len(self.all_modes.weights)).double() / len(x)
        true_shares = torch.zeros_like(shares)
        true_shares[self.first :] = self.mixture.weights
        w2_modes, variances = 0.0, []
        for k, truth in enumerate(self.modes):
            members = x[labels == k + self.first]
            reached = len(members) >= FEWEST
            made = projected(members, self.along) if reached else sorted_all
            w2_modes += self.mixture.weights[k].item() * sliced_w2(made, truth)
            variances.append((members.var(0).sum() / self.traces[k]).item() if reached else None)
        return {
            "w2_modes": w2_modes,
            "w2": sliced_w2(sorted_all, self.plain),
            "without_defect": shares[NORMAL].item(),
            "mode_error": 0.5 * (shares - true_shares).abs().sum().item(),
            "variances": variances,
        }
