"""How far a made defect is from the nearest real one of its type, in any space of features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.sample import Sample, read_sample
from ..files.progress import counted, tracked
from ..images.masks import latent_mask, mask_box
from ..images.pictures import Picture
from ..images.windows import cut_picture
from ..modules.compact_ldm import CompactLDM
from ..modules.tokens import Type
from .scores import FLOOR, mean_known, ring
from .windows import Part, crop_parts

Features = Callable[[Tensor, Tensor], Tensor]  # crops [B, 3, R, R] in 0 .. 1, masks bool [B, R, R] -> [B, F]
Encode = Callable[[Tensor], Tensor]  # crops [B, 3, R, R] in 0 .. 1 -> latents [B, C, h, w]
Embed = Callable[[Tensor], Tensor]  # square images [B, 3, n, n] in 0 .. 1, of any side n -> embeddings [B, F]
LEAST_VIEW = 32  # px: a smaller view, enlarged to an encoder's 224 px, is a blur
BATCH = 16  # crops per call of the features
PER_TYPE, PER_IMAGE = 256, 16  # real defects that are compared with
QUANTILES = (0.1, 0.5, 0.9)
LEAST = 0.1  # of the features' mean spread: one that hardly varies among real defects must not decide alone


class RealDefects:
    """Real defects to measure made ones against.

    A distance is Euclidean over the features, each in standard deviations over the type's real defects, and divided by
    the median distance of a real defect to the nearest one of another image: 1 is as near as real defects are.
    """

    def __init__(self, features: Features, found: Mapping[Type, Sequence[tuple[str, Tensor]]]):
        """found: for every (object, type), pairs of the group a defect belongs to (its image, or the images that show
        one part) and its features [F]; types with fewer than two groups have no distance."""
        self.features = features
        self._groups = {kind: len({group for group, _ in defects}) for kind, defects in found.items()}
        self._types = {kind: own for kind, defects in found.items() if (own := _Type.of(defects)) is not None}

    @classmethod
    def measured(
        cls,
        samples: Iterable[Sample],
        features: Features,
        resolution: int,
        context: float,
        groups: Mapping[str, str] | None = None,
        report: Callable[[int, int], None] | None = None,
    ) -> RealDefects:
        """Of defect images, in the windows that synthesis would use for their masks, evenly at most 256 per type and
        16 per image.

        Args:
            groups: {image's name: group}; None: every image is its own.
            report: called with the images measured so far, and how many there will be; may raise to stop.
        """
        kinds: dict[Type, list[Sample]] = {}
        for sample in samples:
            if sample.mask is not None:
                kinds.setdefault((sample.object, sample.type), []).append(sample)
        chosen = [(kind, sample) for kind, own in kinds.items() for sample in _evenly(own, PER_TYPE)]
        found: dict[Type, list[tuple[str, Tensor]]] = {kind: [] for kind in kinds}
        with counted(report):
            for kind, sample in tracked("measuring real defects", chosen):
                values = _in_batches(features, sample_windows(sample, resolution, context))
                found[kind] += [((groups or {}).get(sample.name, sample.name), value) for value in values]
        return cls(features, {kind: _evenly(shown, PER_TYPE) for kind, shown in found.items()})

    def unknown(self, kind: Type) -> str | None:
        """Why a type has no distance, in words; None where it has one."""
        if kind in self._types:
            return None
        if kind not in self._groups:
            return f"there is none of {' / '.join(kind)} among the images that train"
        shared = "all of one group of images" if self._groups[kind] < 2 else "the same ones"
        return f"those of {' / '.join(kind)} are {shared}, and a distance needs different ones of two groups"

    def distances(self, kinds: Sequence[Type], crops: Sequence[tuple[Tensor, Tensor]]) -> list[float | None]:
        """Of made defects, each a crop [3, R, R] and its mask bool [R, R]; None where the type has no distance."""
        known = [place for place, kind in enumerate(kinds) if kind in self._types]
        found: list[float | None] = [None] * len(kinds)
        values = _in_batches(self.features, [crops[place] for place in known])
        for place, value in zip(known, values, strict=True):
            found[place] = self._types[kinds[place]].distance(value)
        return found

    def of_pairs(
        self, kinds: Sequence[Type], pictures: Sequence[Picture], parts: Sequence[Sequence[Part]]
    ) -> list[float | None]:
        """Of made pairs, each with the parts of its mask: the mean over the parts by area."""
        every = [kind for kind, own in zip(kinds, parts, strict=True) for _ in own]
        crops = [crop for picture, own in zip(pictures, parts, strict=True) for crop in windows_of(picture, own)]
        distances = iter(self.distances(every, crops))
        return [mean_known([next(distances) for _ in own], [part.inside.sum().item() for part in own]) for own in parts]


class _Type:
    """The real defects of one type: features in standard deviations, and what counts as near."""

    def __init__(self, mean: Tensor, spread: Tensor, real: Tensor, near: float):
        self.mean, self.spread, self.real, self.near = mean, spread, real, near

    @classmethod
    def of(cls, found: Sequence[tuple[str, Tensor]]) -> _Type | None:
        groups = [group for group, _ in found]
        if len(set(groups)) < 2:
            return None
        values = torch.stack([value for _, value in found]).double()
        mean, spread = values.mean(0), values.std(0, correction=0)
        spread = spread.clamp_min(max(LEAST * spread.mean().item(), torch.finfo(spread.dtype).tiny))
        real = (values - mean) / spread
        apart = torch.cdist(real, real)
        known = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        number = torch.tensor([known[group] for group in groups])
        apart[number[:, None] == number] = torch.inf
        near = apart.min(1).values.median().item()
        return cls(mean, spread, real, near) if near > 0 else None

    def distance(self, value: Tensor) -> float:
        own = (value.double() - self.mean) / self.spread
        return (torch.cdist(own[None], self.real).min() / self.near).item()


def _evenly(values: Sequence[Any], most: int) -> list[Any]:
    return list(values[:: -(-len(values) // most) or 1])


def windows_of(picture: Picture, parts: Sequence[Part]) -> list[tuple[Tensor, Tensor]]:
    """What the model would see of every part: its window [3, R, R] and its mask in it, bool [R, R]."""
    return [(cut_picture(picture, part.window), part.shown()) for part in parts]


def sample_windows(sample: Sample, resolution: int, context: float) -> list[tuple[Tensor, Tensor]]:
    """A defect image's windows as synthesis would use them, evenly at most 16; see `windows_of`."""
    picture, mask = read_sample(sample)
    return windows_of(picture, _evenly(crop_parts(0, mask, resolution, context), PER_IMAGE))


def latent_features(base: CompactLDM) -> Features:
    """`encoded_features` in the space of the base's own encoder."""
    return encoded_features(lambda crops: base.encode(crops.to(base.latent_mean.device)))


def encoded_features(encode: Encode, multiple: int = 1) -> Features:
    """Features of a defect in an autoencoder's latent space, [B, 3 C + 4] for C latent channels.

    Per channel, inside the mask against outside it: difference of the means, log ratio of the standard deviations, log
    ratio of the mean gradients. Of the grey values: 10, 50 and 90 % inside, from the mean of the ring around the mask
    in its standard deviations, and log ratio of the standard deviations.

    Args:
        encode: gives latents of about unit variance per channel.
        multiple: of pixels that `encode` continues a crop to, at the right and the bottom.
    """
    return partial(_encoded_features, encode, multiple)


@torch.inference_mode()
def _encoded_features(encode: Encode, multiple: int, crops: Tensor, masks: Tensor) -> Tensor:
    latents = encode(crops).float().cpu()
    bottom, right = (-length % multiple for length in masks.shape[1:])
    inside = latent_mask(F.pad(masks.float(), (0, right, 0, bottom)), latents.shape[2:]) > 0
    return torch.stack(
        [
            torch.cat([_latent_part(latent, own[0]), _grey_part(crop, mask)])
            for latent, own, crop, mask in zip(latents, inside, crops.cpu(), masks, strict=True)
        ]
    )


def _latent_part(latent: Tensor, inside: Tensor) -> Tensor:
    outside = ~inside if not inside.all() else inside
    roughness = _gradient(latent)
    spreads, edges = (
        [found(where) for where in (inside, outside)]
        for found in (lambda w: latent[:, w].std(1, correction=0), lambda w: roughness[:, w].mean(1))
    )
    shift = latent[:, inside].mean(1) - latent[:, outside].mean(1)
    return torch.cat([shift, _log_ratio(*spreads), _log_ratio(*edges)])


def _grey_part(crop: Tensor, mask: Tensor) -> Tensor:
    grey, around = crop.mean(0), ring(mask)
    own, outside = grey[mask], grey[around]
    spread = outside.std(correction=0)
    levels = (own.quantile(torch.tensor(QUANTILES)) - outside.mean()) / (spread + FLOOR)
    return torch.cat([levels, _log_ratio(own.std(correction=0), spread, FLOOR)[None]])


def _log_ratio(value: Tensor, base: Tensor, floor: float = 0.05) -> Tensor:
    return ((value + floor) / (base + floor)).log()


def _gradient(image: Tensor) -> Tensor:
    """Mean of the absolute steps to the right and down, 0 past the border, [C, H, W]."""
    down, across = torch.zeros_like(image), torch.zeros_like(image)
    down[:, :-1] = (image[:, 1:] - image[:, :-1]).abs()
    across[:, :, :-1] = (image[:, :, 1:] - image[:, :, :-1]).abs()
    return (down + across) / 2


def _in_batches(features: Features, crops: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    found: list[Tensor] = []
    for first in range(0, len(crops), BATCH):
        some = crops[first : first + BATCH]
        found += features(torch.stack([crop for crop, _ in some]), torch.stack([mask for _, mask in some])).cpu()
    return found


def embedding_features(embed: Embed) -> Features:
    """The direction in which a defect moves an encoder's view of it, [B, F] of length 1: from the embedding of a close
    view with the mask filled in the mean colour of the ring around it to the embedding of the view itself.

    The embedding of a whole crop was not taken: most of its pixels are surface, so that it encodes object, colour and
    light, in which a made pair on another normal image is far from every real one, and hardly the defect. The
    difference to the normal image was not taken either: real defects have none. The filled view stands in for it, and
    exists for real and made defects. Its length is dropped, since surface that shows nothing moves the view
    by little, and would lie in the midst of all real defects; its direction does not.
    The view is the square around the mask's box of twice its longer side, at least 32 px, inside the crop: an encoder
    sees 14 to 32 px as one patch, and of a large surface around a small defect little else than the surface.
    """
    return partial(_embedding_features, embed)


@torch.inference_mode()
def _embedding_features(embed: Embed, crops: Tensor, masks: Tensor) -> Tensor:
    found = []
    for crop, mask in zip(crops, masks, strict=True):
        place = _view(mask)
        seen, without = embed(torch.stack([crop[place], _filled(crop, mask)[place]])).float().cpu()
        found.append(F.normalize(seen - without, dim=0))
    return torch.stack(found)


def _view(mask: Tensor) -> tuple:
    """The part of [..., R, R] that is looked at."""
    top, left, height, width = mask_box(mask)
    side = min(max(2 * max(height, width), LEAST_VIEW), mask.shape[0])
    starts = (
        min(max(start + length // 2 - side // 2, 0), mask.shape[0] - side)
        for start, length in ((top, height), (left, width))
    )
    return (..., *(slice(start, start + side) for start in starts))


def _filled(crop: Tensor, mask: Tensor) -> Tensor:
    colour = crop[:, ring(mask)].mean(1)
    return torch.where(mask, colour[:, None, None], crop)
