"""Batches of cached defects with types in equal shares, and what a training needs of the cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import Refused
from .frozen import Latents


def places_by_type(latents: Latents) -> list[Tensor]:
    """For every type that has some, the places of its latents."""
    return [torch.nonzero(latents.row == row)[:, 0] for row in latents.row.unique()]


def balanced_draw(places: Sequence[Tensor], count: int, generator: torch.Generator) -> Tensor:
    """`count` places, types in equal shares; `places`: see `places_by_type`."""
    wanted = torch.randint(0, len(places), (count,), generator=generator).tolist()
    chosen = (places[place] for place in wanted)
    return torch.stack([own[torch.randint(0, len(own), (), generator=generator)] for own in chosen])


def check_latents(latents: Latents, types: Sequence[tuple[str, str]]) -> None:
    """Raise Refused for no latents, an empty mask, or a row without a type."""
    if not len(latents):
        raise Refused("training part", "it has no defect", remedy="give pairs of image and mask, or check the split")
    empty = int((latents.mask.flatten(1).sum(1) == 0).sum())
    if empty:
        raise Refused(
            "masks", f"{empty} of {len(latents)} masks are empty", remedy="take these pairs out, or repair the masks"
        )
    if not 0 <= int(latents.row.min()) <= int(latents.row.max()) < len(types):
        raise Refused(
            "rows",
            f"{int(latents.row.min())} to {int(latents.row.max())} for {len(types)} types",
            f"0 to {len(types) - 1}",
        )
