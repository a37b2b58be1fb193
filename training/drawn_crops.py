"""Crops of drawn surfaces as training batches, in place of a dataset's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import torch
from torch import Tensor

from ..datasets.surfaces.crops import draw_crop
from .crops import Batch, augmented, chance

NORMALS = 0.3  # share of crops whose mask is to be filled with normal surface
FREE, ASKED = 0.4, 0.5  # shares of crops without any appearance, and of its entries that the others keep


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
        image, mask, label, appearance = zip(*(self._one(generator) for _ in range(count)), strict=True)
        label = torch.tensor(label)
        return Batch(torch.stack(image), torch.stack(mask)[:, None].float(), label, label != 0, torch.stack(appearance))

    def _one(self, generator: torch.Generator) -> tuple[Tensor, Tensor, int, Tensor]:
        image, normal, exact, mask, label, appearance = self._crop(int(chance(generator) * self.pool))
        if chance(generator) < NORMALS:
            image = image.clone()
            image[:, exact] = normal
            label, appearance = 0, torch.full_like(appearance, torch.nan)
        turns = int(chance(generator) * 4)
        image, mask = (torch.rot90(part, turns, (-2, -1)) for part in (image.float() / 255, mask))
        keep = torch.rand(3, generator=generator) < (0.0 if chance(generator) < FREE else ASKED)
        return *augmented(image, mask, generator), label, torch.where(keep, appearance, torch.nan)

    def _crop(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor, int, Tensor]:
        """image uint8 [3, R, R], the normal surface's pixels [3, N] where `exact` is set, both masks, row, look."""
        if index not in self.kept:
            crop = draw_crop(self.seed, index, self.resolution, self.types)
            image, normal = (torch.from_numpy(np.moveaxis(part, 2, 0).copy()) for part in (crop.image, crop.normal))
            exact, mask = torch.from_numpy(crop.exact), torch.from_numpy(crop.requested)
            look = torch.tensor(astuple(crop.appearance))
            self.kept[index] = image, normal[:, exact].clone(), exact, mask, self.rows[crop.type], look
        return self.kept[index]
