"""What a synthetic pair teaches: which of its pixels are defect, and which do not count."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ...datasets.pairs import refined_file
from ...datasets.sample import Sample
from ...images.components import EIGHT_NEIGHBOURS
from ...images.mask_files import read_mask


class Labels:
    """Labels of pairs: their masks as requested, or the refined ones, see `synthesis.labels`, where a pair has one.

    Pixels of the requested mask that the refined one leaves out do not count: whether they show a defect is open. Nor
    do the pixels along a label's edge, but a piece that is too thin to have an inner part keeps all of it.
    """

    def __init__(self, kind: str, ignore: int, unlikely: Mapping[Sample, Tensor] | None = None):
        """kind: of `choices.LABELS`; ignore: width of the band to either side of the edge, px; unlikely: further pixels
        of pairs that do not count, bool [H, W]."""
        self.kind, self.ignore, self.unlikely = kind, ignore, unlikely or {}
        self._kept: dict[Sample, tuple[Tensor, Tensor]] = {}

    def of(self, sample: Sample, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(label, counts), both bool [H, W], of a pair with the requested mask, bool [H, W], not empty."""
        if sample not in self._kept:
            requested, file = mask.numpy(), refined_file(sample) if self.kind == "refined" else None
            label = requested if file is None else read_mask(file, requested.shape, of=sample.image).numpy()
            if not label.any():
                label = requested
            counts = ~(requested & ~label) & ~edge_band(label, self.ignore)
            if sample in self.unlikely:
                counts &= ~self.unlikely[sample].numpy()
            self._kept[sample] = torch.from_numpy(label.copy()), torch.from_numpy(counts)
        return self._kept[sample]


def edge_band(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels within `width` of the edge of a mask, bool [H, W]; inside only where a piece has a core."""
    if not width:
        return np.zeros_like(mask)
    outer = ndimage.binary_dilation(mask, EIGHT_NEIGHBOURS, width) & ~mask
    core = ndimage.binary_erosion(mask, EIGHT_NEIGHBOURS, width, border_value=1)
    return outer | (ndimage.binary_dilation(core, EIGHT_NEIGHBOURS, width) & mask & ~core)
