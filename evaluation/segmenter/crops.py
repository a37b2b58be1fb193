"""Training crops of a segmentation network: at native scale, every third one around a defect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from ...datasets.sample import Sample
from ...images.windows import cut_image, cut_mask, image_part, place_window
from ...training.crops import PictureCache, chance, pick
from .augmentation import Drawn, light, standard
from .labels import Labels


class Crops:
    """Random square crops; nothing outside an image is labelled, and padding has no weight.

    A third of them lies around a defect, types at random; of the others half lie anywhere on normal images and half
    anywhere on defect images: what surrounds defects is most of what a network must learn to leave alone. Without a
    defect all lie on normal images, without normal images all on defect images.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        crop: int,
        pictures: PictureCache,
        labels: Labels | None = None,
        augmentation: str = "light",
    ):
        """samples: at least one; crop: side in pixels; labels: of synthetic pairs, None takes the masks as they are;
        augmentation: see `Training`."""
        kinds: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample in samples:
            if sample.mask is not None:
                kinds[sample.object, sample.type].append(sample)
        self.crop, self.pictures, self.labels, self.augmentation = crop, pictures, labels, augmentation
        self.kinds = [kinds[kind] for kind in sorted(kinds)]
        self.normals = [sample for sample in samples if sample.mask is None]

    def draw(self, step: int, count: int, generator: torch.Generator) -> Drawn:
        """image [B, 3, R, R] in 0 .. 1, mask [B, 1, R, R] 0 or 1, weight [B, 1, R, R] 0 where the image is padded or
        the label does not count."""
        # Counted over all steps, so that a batch of any size has its third in the long run.
        crops = [self._draw((step * count + index) % 3 == 0, generator) for index in range(count)]
        image, mask, weight = (torch.stack(part) for part in zip(*crops, strict=True))
        mask, weight = mask[:, None].float(), weight[:, None]
        return standard(image, mask, weight, generator) if self.augmentation == "standard" else (image, mask, weight)

    def _draw(self, around: bool, generator: torch.Generator) -> Drawn:
        around = around and bool(self.kinds)
        anywhere = not around and self.normals and (not self.kinds or chance(generator) < 0.5)
        sample = pick(self.normals if anywhere else pick(self.kinds, generator), generator)
        image, mask = self.pictures.read(sample)
        size = image.shape[1:]
        mask = torch.zeros(size, dtype=torch.bool) if mask is None else mask
        counts = torch.ones(size)
        if self.labels is not None and sample.mask is not None:
            mask, counts = self.labels.of(sample, mask)
        centre = [chance(generator) * length for length in size]
        if around:
            pixel = pick(mask.nonzero(), generator).tolist()
            centre = [p + (chance(generator) - 0.5) * self.crop * 0.75 for p in pixel]
        window = place_window(centre, self.crop, size, self.crop)
        weight = torch.zeros(self.crop, self.crop)
        inside = tuple(part for _, part in image_part(window, size))
        weight[inside] = cut_mask(counts > 0, window)[inside].float()
        return light(cut_image(image, window) / 255, cut_mask(mask, window), weight, generator)
