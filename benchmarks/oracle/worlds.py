"""Gaussian-mixture worlds: the exact denoiser, the exact foreground model and exact samples, in closed form.

The latent of an item is x0 = (x_m, x_b), the masked dimensions and the background. The prior has one normal mode with
most of the mass and several anomaly modes,

    x_b ~ N(mu_b, S_b),    x_m | x_b, mode k ~ N(mu_k + A_k (x_b - mu_b), C_k),

so that a defect leaves the distribution of the background as it was, but follows the background in its own way A_k.
One background is drawn per world and given to every item, so that all samples of a world have one target.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log, pi
from zlib import crc32

import torch
from torch import Generator, Tensor

NORMAL = 0  # index of the normal mode; the anomaly modes follow
ROWS = 1500  # samples denoised at once: they fit into the processor's cache, which is three times as fast


@dataclass(frozen=True)
class Mixture:
    """Gaussian mixture: weights [K], means [K, d], covariances [K, d, d], all float64."""

    weights: Tensor
    means: Tensor
    covariances: Tensor

    @cached_property
    def _eigen(self) -> tuple[Tensor, Tensor, Tensor]:
        """Variances [K, d] along the modes' axes, all the axes as columns [d, K d], the means in them [K, d].

        In these axes a mode's covariance is diagonal at any noise level, so that a level costs two products.
        """
        values, axes = torch.linalg.eigh(self.covariances)
        turned = torch.einsum("kd,kde->ke", self.means, axes)
        return values.clamp_min(0), axes.permute(1, 0, 2).flatten(1), turned

    def _modes_at(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        """Centred coordinates [n, K, d], total variances [K, d], log of weight times density [n, K] of x [n, d]."""
        values, axes, turned = self._eigen
        z = (x @ axes).view(len(x), *turned.shape) - turned
        total = values + sigma**2
        constant = self.weights.log() - 0.5 * total.log().sum(1) - 0.5 * x.shape[1] * log(2 * pi)
        return z, total, constant - 0.5 * torch.einsum("nkd,kd->nk", z * z, 1 / total)

    def log_density(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """log p(x) of x = x0 + sigma * noise: [n, d] -> [n]."""
        return self._modes_at(x, sigma)[2].logsumexp(1)

    def responsibilities(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """Posterior probability of every mode: [n, d] -> [n, K]."""
        return self._modes_at(x, sigma)[2].softmax(1)

    def posterior_mean(self, x: Tensor, sigma: float) -> Tensor:
        """E[x0 | x], the perfect denoiser of the VE state x = x0 + sigma * noise: [n, d] -> [n, d]."""
        return torch.cat([self._posterior_mean(rows, sigma) for rows in x.split(ROWS)])

    def _posterior_mean(self, x: Tensor, sigma: float) -> Tensor:
        z, total, logits = self._modes_at(x, sigma)
        share = logits.softmax(1)
        values, axes, _ = self._eigen
        shrunk = z.mul_(values / total).mul_(share[..., None])
        return torch.addmm(share @ self.means, shrunk.flatten(1), axes.T)

    def restricted(self, first: int) -> Mixture:
        """The mixture of the modes from `first` on."""
        weights = self.weights[first:]
        return Mixture(weights / weights.sum(), self.means[first:], self.covariances[first:])

    def conditioned(self, known: Tensor) -> Mixture:
        """The mixture of the first dimensions, the last ones being `known` [d_known]."""
        m = self.means.shape[1] - len(known)
        if m == self.means.shape[1]:
            return self
        far, cross, own = self.covariances[:, m:, m:], self.covariances[:, :m, m:], self.covariances[:, :m, :m]
        gain = torch.linalg.solve(far, cross.mT).mT
        marginal = Mixture(self.weights, self.means[:, m:], far)
        means = self.means[:, :m] + torch.einsum("kmb,kb->km", gain, known - self.means[:, m:])
        return Mixture(marginal.responsibilities(known[None])[0], means, own - gain @ cross.mT)

    def draw(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Exact samples [count, d] and their modes [count]."""
        modes = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        return self.draw_from(modes, generator), modes

    def draw_from(self, modes: Tensor, generator: Generator) -> Tensor:
        """An exact sample [d] of every mode in `modes` [n]."""
        noise = _normal(generator, len(modes), self.means.shape[1])
        roots = torch.linalg.cholesky(self.covariances)
        x = torch.empty_like(noise)
        for k, (mean, root) in enumerate(zip(self.means, roots, strict=True)):
            x[modes == k] = mean + noise[modes == k] @ root.T
        return x


@dataclass(frozen=True)
class Spec:
    """Parameters of a kind of world: dimensions, modes, prior.

    `spread` is the range of the standard deviations within a mode; the means of the modes have about 1. `fitted` is
    the number of samples that the foreground model was fitted on; 0 stands for the exact one. Without background
    dimensions nothing is known and nothing is masked.
    """

    masked: int
    background: int
    anomalies: int
    normal: float = 0.9
    spread: tuple[float, float] = (0.1, 0.4)
    fitted: int = 0


SPECS = {
    "small": Spec(masked=4, background=4, anomalies=2),
    "wide": Spec(masked=16, background=8, anomalies=3),
    "many": Spec(masked=8, background=4, anomalies=6),
    "rare": Spec(masked=8, background=8, anomalies=3, normal=0.99),
    "fine": Spec(masked=8, background=4, anomalies=4, spread=(0.05, 0.2)),
    "broad": Spec(masked=12, background=12, anomalies=4, normal=0.8, spread=(0.3, 0.6)),
    "fitted": Spec(masked=8, background=4, anomalies=3, fitted=40),
    "unmasked": Spec(masked=8, background=0, anomalies=4, normal=0.5),
}


@dataclass(frozen=True)
class World:
    """A prior over (masked, background), the background that is given, and the foreground model.

    `foreground` is a mixture over the masked dimensions whose posterior mean is the foreground model: exactly the
    anomaly modes given the clean background, or a fit of them.
    """

    name: str
    seed: int
    prior: Mixture
    background: Tensor
    foreground: Mixture

    @cached_property
    def conditional(self) -> Mixture:
        """The masked dimensions given the background: all modes."""
        return self.prior.conditioned(self.background)

    @property
    def masked(self) -> int:
        return self.prior.means.shape[1] - len(self.background)


def make_world(name: str, seed: int, spec: Spec | None = None) -> World:
    """The world `name` of SPECS (or of another `spec`), drawn from `seed`."""
    spec = spec or SPECS[name]
    # Each kind has its own stream, so that a world stays what it is when others are added.
    generator = torch.Generator().manual_seed(crc32(f"{name} {seed}".encode()))
    prior = _prior(spec, generator)
    background = prior.draw_from(torch.tensor([NORMAL]), generator)[0, spec.masked :]
    foreground = prior.conditioned(background).restricted(NORMAL + 1)
    if spec.fitted:
        foreground = _fitted(foreground, spec.fitted, generator)
    return World(name, seed, prior, background, foreground)


def _prior(spec: Spec, generator: Generator) -> Mixture:
    """The joint mixture of (masked, background); see the head of this file for the symbols."""
    modes, m, b = spec.anomalies + 1, spec.masked, spec.background
    weights = 0.5 + torch.rand(modes, generator=generator, dtype=torch.float64)
    weights = (1 - spec.normal) * weights / weights[NORMAL + 1 :].sum()
    weights[NORMAL] = spec.normal
    low, high = (log(s) for s in spec.spread)
    stds = (low + (high - low) * torch.rand(modes, m, generator=generator, dtype=torch.float64)).exp()
    own = torch.stack([_covariance(std, generator) for std in stds])
    means = _apart(_normal(generator, modes, m), stds.amax(1))
    if b == 0:
        return Mixture(weights, means, own)
    far = _covariance(0.3 + 0.7 * torch.rand(b, generator=generator, dtype=torch.float64), generator)
    gain = 0.3 / b**0.5 * _normal(generator, modes, m, b)
    cross = gain @ far
    own = own + cross @ gain.mT
    joint = torch.cat([torch.cat([own, cross], 2), torch.cat([cross.mT, far.expand(modes, b, b)], 2)], 1)
    return Mixture(weights, torch.cat([means, _normal(generator, b).expand(modes, b)], 1), joint)


def _apart(means: Tensor, widest: Tensor) -> Tensor:
    """The means [K, m], scaled up where two modes are nearer than 3 of their widest standard deviations [K] each.

    Every sample's mode is then unambiguous, so that the measures show the sampler alone.
    """
    needed = 3 * (widest[:, None] + widest)
    ratio = torch.cdist(means, means) / needed + torch.diag(torch.full_like(widest, torch.inf))
    return means * max(1.0, 1 / ratio.min().item())


def _fitted(exact: Mixture, count: int, generator: Generator) -> Mixture:
    """The mixture as a model fitted on `count` samples knows it: the modes' means and covariances estimated.

    Every mode gets two samples at least. The covariances are shrunk to the pooled diagonal, as few samples demand.
    """
    modes, d = exact.means.shape
    drawn = torch.multinomial(exact.weights, count - 2 * modes, replacement=True, generator=generator)
    labels = torch.cat([torch.arange(modes).repeat(2), drawn])
    x = exact.draw_from(labels, generator)
    counts = torch.bincount(labels, minlength=modes).double()
    means = torch.stack([x[labels == k].mean(0) for k in range(modes)])
    residuals = x - means[labels]
    pooled = torch.diag((residuals**2).sum(0) / (count - modes))
    scatter = torch.stack([residuals[labels == k].T @ residuals[labels == k] for k in range(modes)])
    covariances = (scatter + d * pooled) / (counts - 1 + d)[:, None, None]
    return Mixture(counts / count, means, covariances)


def _covariance(stds: Tensor, generator: Generator) -> Tensor:
    """A covariance with these standard deviations [d] along random axes."""
    axes = torch.linalg.qr(_normal(generator, len(stds), len(stds)))[0]
    return (axes * stds**2) @ axes.T


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
