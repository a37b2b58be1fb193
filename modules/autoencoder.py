"""A small autoencoder with a factor of 4: small defects survive it, which a factor of 8 does not grant."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Two convolutions and a skip. No normalisation: what a pixel decodes to must not depend on pixels far away."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Autoencoder(nn.Module):
    """Variational autoencoder, image [B, 3, H, W] in -1 .. 1 to latent [B, C, H/4, W/4].

    The outer level works on 2 x 2 pixel blocks, which makes it four times cheaper than full-size convolutions.
    """

    def __init__(self, latent_channels: int = 4, widths: tuple[int, int] = (32, 80)):
        super().__init__()
        outer, inner = widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, outer, 3, padding=1),
            ConvBlock(outer),
            nn.Conv2d(outer, inner, 4, stride=2, padding=1),
            ConvBlock(inner),
            ConvBlock(inner),
            nn.SiLU(),
            nn.Conv2d(inner, 2 * latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, inner, 3, padding=1),
            ConvBlock(inner),
            ConvBlock(inner),
            ConvBlock(inner),
            nn.Conv2d(inner, 4 * outer, 3, padding=1),
            nn.PixelShuffle(2),
            ConvBlock(outer),
            ConvBlock(outer),
            nn.SiLU(),
            nn.Conv2d(outer, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, each [B, C, H/4, W/4]; H and W are multiples of 4."""
        mean, log_variance = self.encoder(image).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def decode(self, latent: Tensor) -> Tensor:
        """Image [B, 3, H, W], about -1 .. 1, not clamped."""
        return self.decoder(latent)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Mean over elements of KL(N(mean, variance) || N(0, 1))."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()


def reparameterise(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """mean + std * noise."""
    return mean + torch.exp(0.5 * log_variance) * noise
