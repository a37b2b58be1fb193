"""Training crops at the scales that synthesis uses: windows of a dataset, normal and defective, or drawn surfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ..datasets.sample import Sample, read_sample
from ..datasets.surfaces.crops import draw_crop, draw_on
from ..errors import Refused
from ..images.windows import Window, context_side, cut_image, cut_mask, place_window

NORMALS = 0.3  # share of crops whose mask is filled with normal surface
REAL, OWN = 0.5, 0.3  # shares of real defects and of the dataset's normal images where a base is tuned
FREE, ASKED = 0.4, 0.5  # shares of crops without any appearance, and of its entries that the others keep


@dataclass(frozen=True)
class Batch:
    """image [B, 3, R, R] in 0 .. 1; mask [B, 1, R, R] 0 or 1; label [B] row; defect [B] bool; appearance [B, 3], NaN
    where the base is left free, or None where it is not known; normal: the image without its defect, or None.

    A normal crop carries the mask of some defect too: the region that a normal token fills with normal surface.
    """

    image: Tensor
    mask: Tensor
    label: Tensor
    defect: Tensor
    appearance: Tensor | None = None
    normal: Tensor | None = None


class PictureCache:
    """Images (uint8 [3, H, W]: eight bits are enough to train on) and masks, kept up to a number of bytes."""

    def __init__(self, capacity: int = 2 * 2**30):
        self.room, self.kept = capacity, {}

    def read(self, sample: Sample) -> tuple[Tensor, Tensor | None]:
        if sample in self.kept:
            return self.kept[sample]
        picture, mask = read_sample(sample)
        entry = picture.eight_bit(), mask
        self.room -= sum(tensor.nbytes for tensor in entry if tensor is not None)
        if self.room >= 0:
            self.kept[sample] = entry
        return entry


class DefectCrops:
    """Random crops around the defects of the training part, types in equal shares."""

    def __init__(
        self, samples: Sequence[Sample], labels: Sequence[tuple[str, str]], resolution: int, pictures: PictureCache
    ):
        """`samples`: training part only. `labels`: (object, type) rows, which `Batch.label` counts.

        Raises:
            Refused: no defect image of these labels.
        """
        self.labels, self.resolution, self.pictures = list(labels), resolution, pictures
        self.by_label = {label: [s for s in samples if (s.object, s.type) == label] for label in self.labels}
        self.defective = [label for label in self.labels if label[1] != "good" and self.by_label[label]]
        if not self.defective:
            raise Refused(
                "training part",
                f"none of its {len(samples)} images shows a defect",
                "at least one defect type with images",
                "check the split",
            )

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """`count` crops; what they are depends on the generator alone."""
        return self._batch([self._defective(generator) for _ in range(count)])

    def _batch(self, crops: Sequence[tuple[Tensor, Tensor, int]]) -> Batch:
        image, mask, label = zip(*crops, strict=True)
        label = torch.tensor(label)
        defect = torch.tensor([self.labels[row][1] != "good" for row in label])
        return Batch(torch.stack(image), torch.stack(mask)[:, None].float(), label, defect)

    def _defective(self, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
        label = pick(self.defective, generator)
        sample = pick(self.by_label[label], generator)
        image, mask = self.pictures.read(sample)
        crop, crop_mask = self._cut(image, mask, generator)
        return *augmented(crop, crop_mask, generator), self.labels.index(label)

    def _cut(self, image: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        window = self._window(mask, generator)
        return cut_image(image, window) / 255, cut_mask(mask, window)

    def _window(self, mask: Tensor, generator: torch.Generator) -> Window:
        """Centred near a random mask pixel, between native scale and the scale at which the whole defect is seen."""
        widest = context_side(mask, self.resolution)
        # Synthesis always uses the widest; half of the crops do, the rest show the texture of larger scales.
        share = 1.0 if chance(generator) < 0.5 else chance(generator)
        side = round(self.resolution * (widest / self.resolution) ** share)
        pixels = mask.nonzero()
        pixel = pixels[int(chance(generator) * len(pixels))].tolist()
        jitter = [(chance(generator) - 0.5) * side / 2 for _ in range(2)]
        centre = tuple(p + j for p, j in zip(pixel, jitter, strict=True))
        return place_window(centre, side, mask.shape, self.resolution)


class Crops(DefectCrops):
    """Random crops of the training part: half of them normal, half defective, types in equal shares."""

    def __init__(
        self, samples: Sequence[Sample], labels: Sequence[tuple[str, str]], resolution: int, pictures: PictureCache
    ):
        """As `DefectCrops`; labels of the type "good" are an object's normal images.

        Raises:
            Refused: no normal image, or no defect image.
        """
        super().__init__(samples, labels, resolution, pictures)
        self.normal = [label for label in self.labels if label[1] == "good" and self.by_label[label]]
        if not self.normal:
            raise Refused(
                "training part",
                "it has no normal images",
                "at least one object with normal images, and one defect type",
                "check the split",
            )

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """`count` crops; what they are depends on the generator alone."""
        return self._batch(
            [self._defective(generator) if chance(generator) < 0.5 else self._normal(generator) for _ in range(count)]
        )

    def _normal(self, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
        label = pick(self.normal, generator)
        image, _ = self.pictures.read(pick(self.by_label[label], generator))
        own = [other for other in self.defective if other[0] == label[0]] or self.defective
        _, shape = self.pictures.read(pick(self.by_label[pick(own, generator)], generator))
        window = self._window(shape, generator)
        side = min(window.side, max(self.resolution, *image.shape[1:]))
        centre = tuple(chance(generator) * n for n in image.shape[1:])
        crop = cut_image(image, place_window(centre, side, image.shape[1:], self.resolution)) / 255
        return *augmented(crop, cut_mask(shape, window), generator), self.labels.index(label)


class TuningCrops(Crops):
    """Crops to tune a base of drawn surfaces on a dataset: its real defects, drawn defects and none on its normal
    images, and drawn surfaces, so that what the base knows is not lost."""

    def __init__(
        self,
        samples: Sequence[Sample],
        labels: Sequence[tuple[str, str]],
        resolution: int,
        pictures: PictureCache,
        normals: Mapping[Sample, Tensor],
        drawn: DrawnCrops,
    ):
        """samples, labels, resolution, pictures: see `Crops`; normals: of every defect sample its image with normal
        surface in the mask, uint8 [3, H, W]; drawn: labels among `labels`."""
        super().__init__(samples, labels, resolution, pictures)
        self.normals_of, self.drawn = normals, drawn

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """As `Crops.draw`, with `Batch.normal`."""
        parts = [self._any(generator) for _ in range(count)]
        return Batch(**{one.name: torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Batch)})

    def _any(self, generator: torch.Generator) -> Batch:
        share = chance(generator)
        if share < REAL:
            return self._real(generator)
        return self._on_normal(generator) if share < REAL + OWN else self.drawn.draw(1, generator)

    def _real(self, generator: torch.Generator) -> Batch:
        label = pick(self.defective, generator)
        sample = pick(self.by_label[label], generator)
        image, mask = self.pictures.read(sample)
        both, crop_mask = self._cut(torch.cat([image, self.normals_of[sample]]), mask, generator)
        return _batch_of(*augmented(both, crop_mask, generator), self.labels.index(label))

    def _on_normal(self, generator: torch.Generator) -> Batch:
        label = pick(self.normal, generator)
        image, _ = self.pictures.read(pick(self.by_label[label], generator))
        side = self.resolution
        centre = tuple(chance(generator) * n for n in image.shape[1:])
        crop = cut_image(image, place_window(centre, side, image.shape[1:], side)).to(torch.uint8)
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        found = draw_on(np.ascontiguousarray(crop.movedim(0, 2).numpy()), rng, self.drawn.types)
        if found is None:
            return self.drawn.draw(1, generator)
        normal, image = (torch.from_numpy(part).movedim(2, 0).float() / 255 for part in (found.normal, found.image))
        mask = torch.from_numpy(found.requested)
        if chance(generator) < NORMALS:
            both = augmented(torch.cat([normal, normal]), mask, generator)
            return _batch_of(*both, self.labels.index(label), defect=False)
        look = torch.tensor([astuple(found.appearance)])
        both = augmented(torch.cat([image, normal]), mask, generator)
        return _batch_of(*both, self.drawn.rows[found.type], look)


def _batch_of(both: Tensor, mask: Tensor, label: int, appearance: Tensor | None = None, defect: bool = True) -> Batch:
    """One crop: image and normal image in one, [6, R, R]."""
    image, normal = both[None].chunk(2, dim=1)
    look = torch.full((1, 3), torch.nan) if appearance is None else appearance
    return Batch(image, mask[None, None].float(), torch.tensor([label]), torch.tensor([defect]), look, normal)


def augmented(image: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flips, and a mild change of exposure: gain .9 .. 1.1 and offset -.03 .. .03."""
    for axis in (-1, -2):
        if chance(generator) < 0.5:
            image, mask = image.flip(axis), mask.flip(axis)
    gain, offset = 0.9 + 0.2 * chance(generator), 0.06 * chance(generator) - 0.03
    return (image * gain + offset).clamp(0, 1), mask


def pick(items: Sequence | Tensor, generator: torch.Generator):
    """One of the items, each as likely."""
    return items[int(chance(generator) * len(items))]


def chance(generator: torch.Generator) -> float:
    """Uniform in 0 .. 1."""
    return torch.rand((), generator=generator).item()


class DrawnCrops:
    """Random crops out of the first `pool` ones of a seed, each drawn when it is first asked for, then kept."""

    def __init__(self, labels: Sequence[tuple[str, str]], resolution: int, seed: int, pool: int):
        """labels: (object, type) rows with the drawn types, which `Batch.label` counts; the first is normal surface."""
        self.rows = {type: row for row, (_, type) in enumerate(labels)}
        self.types = tuple(type for _, type in labels[1:])
        self.resolution, self.seed, self.pool = resolution, seed, pool
        self.kept: dict[int, tuple[Tensor, Tensor, Tensor, Tensor, int, Tensor]] = {}

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """`count` crops; what they are depends on the generator alone."""
        both, mask, label, appearance = zip(*(self._one(generator) for _ in range(count)), strict=True)
        image, normal = torch.stack(both).chunk(2, dim=1)
        label = torch.tensor(label)
        mask = torch.stack(mask)[:, None].float()
        return Batch(image, mask, label, label != 0, torch.stack(appearance), normal)

    def _one(self, generator: torch.Generator) -> tuple[Tensor, Tensor, int, Tensor]:
        """Image and normal image in one, [6, R, R]; mask, row, look."""
        image, surface, exact, mask, label, appearance = self._crop(int(chance(generator) * self.pool))
        normal = image.clone()
        normal[:, exact] = surface
        if chance(generator) < NORMALS:
            image, label, appearance = normal, 0, torch.full_like(appearance, torch.nan)
        turns = int(chance(generator) * 4)
        both, mask = (torch.rot90(part, turns, (-2, -1)) for part in (torch.cat([image, normal]).float() / 255, mask))
        keep = torch.rand(3, generator=generator) < (0.0 if chance(generator) < FREE else ASKED)
        return *augmented(both, mask, generator), label, torch.where(keep, appearance, torch.nan)

    def _crop(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor, int, Tensor]:
        """image uint8 [3, R, R], the normal surface's pixels [3, N] where `exact` is set, both masks, row, look."""
        if index not in self.kept:
            crop = draw_crop(self.seed, index, self.resolution, self.types)
            image, normal = (torch.from_numpy(np.moveaxis(part, 2, 0).copy()) for part in (crop.image, crop.normal))
            exact, mask = torch.from_numpy(crop.exact), torch.from_numpy(crop.requested)
            look = torch.tensor(astuple(crop.appearance))
            self.kept[index] = image, normal[:, exact].clone(), exact, mask, self.rows[crop.type], look
        return self.kept[index]
