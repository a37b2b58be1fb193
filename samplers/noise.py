"""Noise of a batch, item by item: what an item draws depends on its own seed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import Refused
from .levels import Level


class ItemNoise:
    """Standard normal noise from one CPU generator per item, so that item 7 of 8 equals item 7 alone.

    Drawn in float32 on the CPU and then moved, so that dtype and device do not change what is drawn.
    """

    def __init__(self, like: Tensor, seeds: Sequence[int]):
        """`like`: [B, ...], gives item shape, dtype and device. `seeds`: one integer per item.

        Raises:
            Refused: not one seed per item.
        """
        if len(seeds) != like.shape[0]:
            raise Refused("seeds", f"{len(seeds)} for a batch of {like.shape[0]}", "one seed per item")
        self.like = like
        self.generators = [torch.Generator().manual_seed(_stream(int(seed))) for seed in seeds]

    def __call__(self, items: Sequence[bool] | None = None) -> Tensor:
        """Noise shaped like the batch. Items marked False draw nothing and get zeros."""
        shape = self.like.shape[1:]
        drawn = [
            torch.randn(shape, generator=generator) if items is None or items[i] else torch.zeros(shape)
            for i, generator in enumerate(self.generators)
        ]
        return torch.stack(drawn).to(self.like)


class LevelNoise:
    """Both draws of a step: the transition's, then the background's (only for items that keep a background).

    They are drawn at eta 0 too, so that runs of any eta see the same background. None where a step ends without noise.
    """

    def __init__(
        self,
        x: Tensor,
        mask: Tensor | None,
        sampler: Callable[[float, float], Tensor] | None,
        seeds: Sequence[int] | None,
        seed: int | None,
    ):
        """`x`, `mask`: state and mask of the run; `sampler`, `seeds`: as `sample_aias`; `seed`: see `item_seeds`."""
        self.sampler = sampler
        self.items = None if sampler else ItemNoise(x, item_seeds(x.shape[0], seeds, seed))
        self.with_background = None if mask is None else (mask < 1).flatten(1).any(1).tolist()

    def transition(self, start: Level, end: Level) -> Tensor | None:
        return self._drawn(start, end, None)

    def background(self, start: Level, end: Level) -> Tensor | None:
        return self._drawn(start, end, self.with_background)

    def _drawn(self, start: Level, end: Level, items: Sequence[bool] | None) -> Tensor | None:
        if end.sigma == 0:
            return None
        return self.sampler(start.sigma, end.sigma) if self.sampler else self.items(items)


def item_seeds(batch: int, seeds: Sequence[int] | None, seed: int | None) -> list[int]:
    """`seeds` as given, else seed + index, else seeds from torch's global generator."""
    if seeds is not None:
        return list(seeds)
    if seed is not None:
        return [seed + i for i in range(batch)]
    return torch.randint(0, 2**62, (batch,)).tolist()


def initial_noise(like: Tensor, seeds: Sequence[int]) -> Tensor:
    """The noise of the first state, item by item, from `seeds` themselves; ItemNoise draws from other streams."""
    drawn = [torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    return torch.stack(drawn).to(like)


def _stream(seed: int) -> int:
    """Another seed, well away: hosts draw the first state's noise from `seed` itself, and noise that enters later
    must not repeat it."""
    return (seed * 6364136223846793005 + 1442695040888963407) % 2**63
