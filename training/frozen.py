"""What an adapter's training needs from a frozen base, the compact base in that form, and the latents to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ..modules.compact_ldm import CompactLDM


class Frozen(Protocol):
    """A base whose weights stay: what an adapter's training needs from it, in VP terms whatever its own prediction.

    latent_channels: C; token_channels: d of its conditioning; network: the denoiser itself.
    """

    latent_channels: int
    token_channels: int
    network: nn.Module

    def level(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(a, s) [B, 1, 1, 1] of a level t [B] in 0 .. 999, a^2 + s^2 = 1: the state is a x0 + s noise."""
        ...

    def context(self, rows: Tensor) -> Tensor:
        """The base's own conditioning of a type per item, [B, n, d]."""
        ...

    def noise(self, x_vp: Tensor, t: Tensor, context: Tensor, mask: Tensor, background: Tensor, rows: Tensor) -> Tensor:
        """The noise that the base finds in the state, [B, C, h, w]; gradients reach `x_vp` and `context`.

        Args:
            rows: the type per item, for a base that takes it beside the context too (pooled text).
        """
        ...


@dataclass(frozen=True)
class Latents:
    """Defects, encoded once: x0 [N, C, h, w], mask [N, 1, h, w] 0 or 1, row [N] of the type."""

    x0: Tensor
    mask: Tensor
    row: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def take(self, places: Tensor) -> Latents:
        return Latents(self.x0[places], self.mask[places], self.row[places])

    def to(self, device: torch.device | str) -> Latents:
        return Latents(self.x0.to(device), self.mask.to(device), self.row.to(device))


class FrozenCompact:
    """A compact base whose weights stay; see `training.frozen.Frozen`.

    aware: whether it is conditioned on mask and background while the adapter trains (False: the papers'
    unconditional base).
    """

    def __init__(self, base: CompactLDM, types: Sequence[tuple[str, str]], aware: bool = True):
        """Raises ValueError for a type that the base was not trained on."""
        self.base, self.aware, self.network = base, aware, base.unet
        self.rows = torch.tensor([base.label(object, type) for object, type in types], device=base.tokens.device)
        self.latent_channels, self.token_channels = base.config.latent_channels, base.config.token_channels

    def encode(self, image: Tensor) -> Tensor:
        """Latents of images [B, 3, R, R] in 0 .. 1, by the base's own autoencoder."""
        return self.base.encode(image.to(self.base.tokens.device))

    def level(self, t: Tensor) -> tuple[Tensor, Tensor]:
        abar = self.base.abar[t.long()][:, None, None, None]
        return abar.sqrt(), (1 - abar).sqrt()

    def context(self, rows: Tensor) -> Tensor:
        return self.base.context(self.rows[rows.to(self.rows.device)])

    def noise(
        self, x_vp: Tensor, t: Tensor, context: Tensor, mask: Tensor, background: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        a, s = self.level(t)
        extra = (mask, background * (1 - mask)) if self.aware else ()
        return a * self.base.unet(x_vp, t, context, *extra) + s * x_vp  # v = a e - s x0
