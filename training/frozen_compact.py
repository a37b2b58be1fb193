"""The compact base as FAST's training sees it, and its training part's defects as latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..datasets.masks import latent_mask
from ..datasets.mvtec import Sample
from ..modules.compact_ldm import NORMAL, CompactLDM
from .crops import DefectCrops, PictureCache
from .frozen import Latents


class FrozenCompact:
    """A compact base whose weights stay; see `training.frozen.Frozen`.

    aware: whether it is told mask and background while the adapter trains (False is the papers' unconditional base).
    """

    def __init__(self, base: CompactLDM, types: Sequence[tuple[str, str]], aware: bool = True):
        """Raises ValueError for a type that the base was not trained on."""
        self.base, self.aware = base, aware
        self.rows = torch.tensor([base.label(object, type) for object, type in types], device=base.tokens.device)
        self.latent_channels, self.token_channels = base.config.latent_channels, base.config.token_channels

    def level(self, t: Tensor) -> tuple[Tensor, Tensor]:
        abar = self.base.abar[t.long()][:, None, None, None]
        return abar.sqrt(), (1 - abar).sqrt()

    def context(self, rows: Tensor) -> Tensor:
        return self.base.tokens[self.rows[rows.to(self.rows.device)]]

    def noise(
        self, x_vp: Tensor, t: Tensor, context: Tensor, mask: Tensor, background: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        a, s = self.level(t)
        told = (mask, background * (1 - mask)) if self.aware else ()
        return a * self.base.unet(x_vp, t, context, *told) + s * x_vp  # v = a e - s x0


def defect_latents(
    base: CompactLDM,
    samples: Sequence[Sample],
    types: Sequence[tuple[str, str]],
    count: int,
    seed: int,
    check_interrupt: Callable[[], None] | None = None,
) -> Latents:
    """`encoded_defects` by a compact base's own autoencoder, at its own resolution."""
    device = base.tokens.device
    return encoded_defects(
        lambda image: base.encode(image.to(device)), base.config.resolution, samples, types, count, seed,
        check_interrupt,
    )  # fmt: skip


@torch.no_grad()
def encoded_defects(
    encode: Callable[[Tensor], Tensor],
    resolution: int,
    samples: Sequence[Sample],
    types: Sequence[tuple[str, str]],
    count: int,
    seed: int,
    check_interrupt: Callable[[], None] | None = None,
) -> Latents:
    """`count` crops around the defects of `samples`, types in equal shares, encoded once; on the CPU.

    Crops are drawn as those that trained the base: any place and scale that synthesis uses, mirrored and relit.
    Empty where `samples` has no defect of these types.

    Args:
        encode: images [B, 3, R, R] in 0 .. 1 to latents in the denoiser's own scale.
        resolution: R, side of the crops in pixels.
    """
    kept = [sample for sample in samples if (sample.object, sample.type) in types]
    if not kept:
        return Latents(*(torch.zeros(0, *shape) for shape in ((1, 1, 1), (1, 1, 1))), torch.zeros(0, dtype=torch.long))
    crops = DefectCrops(kept, types, resolution, PictureCache())
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for start in range(0, count, 16):
        if check_interrupt:
            check_interrupt()
        batch = crops.draw(min(16, count - start), generator)
        x0 = encode(batch.image).float().cpu()
        drawn.append((x0, latent_mask(batch.mask, x0.shape[2:]), batch.label))
    return Latents(*(torch.cat(part) for part in zip(*drawn, strict=True)))


def types_of(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """The (object, type) with defects, sorted."""
    return sorted({(sample.object, sample.type) for sample in samples if sample.type != NORMAL})
