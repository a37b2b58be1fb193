"""Training crops of a segmentation network: at native scale, every third one around a defect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from ...datasets.mvtec import Sample
from ...errors import Refused
from ...images.windows import cut_image, cut_mask, image_part, place_window
from ...training.crops import PictureCache, chance, pick

Drawn = tuple[Tensor, Tensor, Tensor]


class Crops:
    """Random square crops; nothing outside an image is labelled, and padding has no weight.

    A third of them lies around a defect, types at random; of the others half lie anywhere on normal images and half
    anywhere on defect images: what surrounds defects is most of what a network must learn to leave alone.
    """

    def __init__(self, samples: Sequence[Sample], crop: int, pictures: PictureCache):
        """`crop`: side in pixels. Raises Refused where no sample has a defect."""
        kinds: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample in samples:
            if sample.mask is not None:
                kinds[sample.object, sample.type].append(sample)
        if not kinds:
            raise Refused(
                "training part", f"none of its {len(samples)} training images has a defect", remedy="check the split"
            )
        self.crop, self.pictures = crop, pictures
        self.kinds = [kinds[kind] for kind in sorted(kinds)]
        self.normals = [sample for sample in samples if sample.mask is None]

    def draw(self, step: int, count: int, generator: torch.Generator) -> Drawn:
        """image [B, 3, R, R] in 0 .. 1, mask [B, 1, R, R] 0 or 1, weight [B, 1, R, R] 0 where the image is padded."""
        # Counted over all steps, so that a batch of any size has its third in the long run.
        crops = [self._draw((step * count + index) % 3 == 0, generator) for index in range(count)]
        image, mask, weight = (torch.stack(part) for part in zip(*crops, strict=True))
        return image, mask[:, None].float(), weight[:, None]

    def _draw(self, around: bool, generator: torch.Generator) -> Drawn:
        anywhere = not around and self.normals and chance(generator) < 0.5
        sample = pick(self.normals if anywhere else pick(self.kinds, generator), generator)
        image, mask = self.pictures.read(sample)
        size = image.shape[1:]
        mask = torch.zeros(size, dtype=torch.bool) if mask is None else mask
        centre = [chance(generator) * length for length in size]
        if around:
            pixel = pick(mask.nonzero(), generator).tolist()
            centre = [p + (chance(generator) - 0.5) * self.crop * 0.75 for p in pixel]
        window = place_window(centre, self.crop, size, self.crop)
        weight = torch.zeros(self.crop, self.crop)
        weight[tuple(inside for _, inside in image_part(window, size))] = 1
        return _augmented(cut_image(image, window) / 255, cut_mask(mask, window), weight, generator)


def _augmented(image: Tensor, mask: Tensor, weight: Tensor, generator: torch.Generator) -> Drawn:
    """Mirrored along each axis at random, contrast (.7 .. 1.3) and brightness (-.15 .. .15) changed.

    Not turned: parts lie as the camera sees them, and what is normal at a side edge need not be so at the top.
    """
    for axis in (-1, -2):
        if chance(generator) < 0.5:
            image, mask, weight = (part.flip(axis) for part in (image, mask, weight))
    gain, offset = 0.7 + 0.6 * chance(generator), 0.3 * chance(generator) - 0.15
    middle = image.mean()
    return ((image - middle) * gain + middle + offset).clamp(0, 1), mask, weight
