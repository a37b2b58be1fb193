"""The training part's defects as latents: encoded once, those that train and those held out, and drawn by type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..datasets.hold_out import hold_out
from ..datasets.sample import Sample
from ..errors import Refused
from ..files.progress import tracked
from ..images.masks import latent_mask
from ..modules.compact_ldm import NORMAL
from .crops import DefectCrops, PictureCache
from .frozen import Latents

FITTING, HELD_OUT = 1024, 128  # crops that are encoded once, to train on and to look at
AT_ONCE = 16  # crops that are encoded together

Encode = Callable[[Tensor], Tensor]  # images [B, 3, R, R] in 0 .. 1 to latents in the denoiser's own scale


@dataclass(frozen=True)
class Defects:
    """types: (object, type) by row; fitting, held_out: their latents; fitting_images, held_out_images: how many images
    are behind them."""

    types: tuple[tuple[str, str], ...]
    fitting: Latents
    held_out: Latents
    fitting_images: int
    held_out_images: int


def types_of(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """The (object, type) with defects, sorted."""
    return sorted({(sample.object, sample.type) for sample in samples if sample.type != NORMAL})


def read_defects(
    samples: Sequence[Sample],
    groups: Mapping[str, str],
    encode: Encode,
    resolution: int,
    seed: int,
    drawn: int,
    check_interrupt: Callable[[], None] | None = None,
) -> Defects:
    """The defects of a training part; about a fifth of their groups are held out.

    Args:
        samples: training part only.
        groups: group of every sample's name.
        resolution: R, side of the crops in pixels.
        drawn: latents that the training will draw in all: no more crops are encoded.

    Raises:
        Refused: no defect in the training part.
    """
    types, defective = types_of(samples), [sample for sample in samples if sample.mask is not None]
    if not types:
        raise Refused("training part", f"its {len(samples)} images show no defect", remedy="choose another split")
    parts = hold_out(defective, groups, seed)
    latents = [
        encoded_defects(encode, resolution, part, types, min(most, drawn), seed, check_interrupt)
        for part, most in zip(parts, (FITTING, HELD_OUT), strict=True)
    ]
    return Defects(tuple(types), *latents, *map(len, parts))


@torch.no_grad()
def encoded_defects(
    encode: Encode,
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
    """
    kept = [sample for sample in samples if (sample.object, sample.type) in types]
    if not kept:
        return Latents(*(torch.zeros(0, *shape) for shape in ((1, 1, 1), (1, 1, 1))), torch.zeros(0, dtype=torch.long))
    crops = DefectCrops(kept, types, resolution, PictureCache())
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for start in tracked("encoding defects", range(0, count, AT_ONCE), AT_ONCE, count):
        if check_interrupt:
            check_interrupt()
        batch = crops.draw(min(AT_ONCE, count - start), generator)
        x0 = encode(batch.image).float().cpu()
        drawn.append((x0, latent_mask(batch.mask, x0.shape[2:]), batch.label))
    return Latents(*(torch.cat(part) for part in zip(*drawn, strict=True)))


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
