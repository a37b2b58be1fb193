"""What a frozen denoiser finds in the states of STAGE's two branches: the input of the MGA heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..modules.tokens import AnomalyTokens
from .defects import balanced_draw, places_by_type
from .frozen import Frozen, Latents

AT_ONCE = 16  # latents that a cache denoises at a time


@dataclass(frozen=True)
class Denoised:
    """Of B latents: mask [B, 1, h, w], t [B]; per branch the noise e1 of x_t and e2 of x^p_t [B, C, h, w], and what the
    denoiser found of it, f1 and f2."""

    mask: Tensor
    t: Tensor
    e1: Tensor
    e2: Tensor
    f1: Tensor
    f2: Tensor

    def __len__(self) -> int:
        return len(self.t)

    def _each(self, of: Callable[[Tensor], Tensor]) -> Denoised:
        return Denoised(*(of(getattr(self, field.name)) for field in fields(self)))

    def take(self, places: Tensor) -> Denoised:
        return self._each(lambda part: part[places])

    def to(self, device: torch.device | str) -> Denoised:
        return self._each(lambda part: part.to(device))


def denoised(
    base: Frozen, tokens: AnomalyTokens | None, latents: Latents, t: Tensor, e1: Tensor, e2: Tensor
) -> Denoised:
    """Both branches' states and what the base finds in them: x_t = q(x0, t; e1) and x^p_t = q(M0 x0, t; e2).

    A base conditioned on mask and background gets the same in both, as in sampling, where one model serves both.

    Args:
        tokens: appended to the base's own conditioning; None is the base alone.
        latents: on the device of t [B] and of the noises [B, C, h, w].
    """
    a, s = base.level(t)
    context = base.context(latents.row)
    context = context if tokens is None else tokens.appended(context, latents.row)

    def found(state: Tensor) -> Tensor:
        return base.noise(state, t, context, latents.mask, latents.x0, latents.row).float()

    x_t, x_p = a * latents.x0 + s * e1, a * latents.mask * latents.x0 + s * e2
    return Denoised(latents.mask, t, e1, e2, found(x_t), found(x_p))


def drawn(
    latents: Latents, places: Sequence[Tensor], count: int, generator: torch.Generator
) -> tuple[Latents, Tensor, Tensor, Tensor]:
    """`count` latents, types in equal shares, with t [count] and the noises e1 and e2 of both branches.

    Args:
        places: of the latents of every type, see `places_by_type`.
    """
    chosen = latents.take(balanced_draw(places, count, generator))
    t = torch.randint(0, 1000, (count,), generator=generator)
    e1, e2 = (torch.randn(chosen.x0.shape, generator=generator) for _ in range(2))
    return chosen, t, e1, e2


@torch.no_grad()
def cached(
    base: Frozen,
    tokens: AnomalyTokens,
    latents: Latents,
    count: int,
    seed: int,
    device: torch.device | str,
    check_interrupt: Callable[[], None] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Denoised:
    """`count` draws, denoised once, on the CPU: for heads alone, whose gradient need not pass the denoiser.

    Args:
        report: called with (done, of).
    """
    generator, places, parts = torch.Generator().manual_seed(seed), places_by_type(latents), []
    for start in range(0, count, AT_ONCE):
        if check_interrupt:
            check_interrupt()
        chosen, *noised = drawn(latents, places, min(AT_ONCE, count - start), generator)
        parts.append(denoised(base, tokens, chosen.to(device), *(part.to(device) for part in noised)).to("cpu"))
        if report:
            report(min(start + AT_ONCE, count), count)
    return Denoised(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Denoised)))
