"""How good a network is on the groups that were held out of its training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import ceil, nan

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.sample import Sample
from ...files.progress import tracked
from ...training.crops import PictureCache
from ..metrics import iou
from ..tally import Tally
from .testing import Kind, tally_of


class Validation:
    """IoU at probability 0.5, mean over types: what `Best` measures of a network.

    Not average precision: it may be best long before the network has learnt what probability means, and IoU is what
    the test measures. Good images count in every type, since false alarms must.
    """

    def __init__(
        self, samples: Sequence[Sample], pictures: PictureCache, check_interrupt: Callable[[], None] | None = None
    ) -> None:
        """samples: as `hold_out` gives them."""
        self.samples, self.pictures, self.check_interrupt = _looked_at(samples), pictures, check_interrupt

    def iou(self, network: nn.Module) -> Tensor:
        """A single value; NaN where there is no defect to find."""
        kinds: dict[Kind, Tally] = defaultdict(Tally)
        for sample in tracked("validating", self.samples):
            if self.check_interrupt:
                self.check_interrupt()
            image, mask = self.pictures.read(sample)
            kind = (sample.object, sample.type)
            kinds[kind] = kinds[kind] + tally_of(network, image / 255, mask)
        good = sum((kinds[kind] for kind in kinds if kind[1] == "good"), Tally())
        found = [iou(kinds[kind] + good) for kind in kinds if kind[1] != "good"]
        return torch.tensor([np.mean(found) if found else nan], dtype=torch.float64)


def _looked_at(samples: Sequence[Sample]) -> list[Sample]:
    """The defect images, and of the normal ones at most as many: a set may hold hundreds, and each is looked at whole.

    Empty where there is no defect to find.
    """
    defects = [sample for sample in samples if sample.mask is not None]
    normals = [sample for sample in samples if sample.mask is None]
    step = max(1, ceil(len(normals) / max(1, len(defects))))
    return defects + normals[::step] if defects else []
