"""The compact base as an adapter's training sees it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..modules.compact_ldm import CompactLDM


class FrozenCompact:
    """A compact base whose weights stay; see `training.frozen.Frozen`.

    aware: whether it is told mask and background while the adapter trains (False is the papers' unconditional base).
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
        told = (mask, background * (1 - mask)) if self.aware else ()
        return a * self.base.unet(x_vp, t, context, *told) + s * x_vp  # v = a e - s x0
