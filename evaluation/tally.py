"""What pixel metrics need to know of predictions, small enough for a thousand megapixel images, and addable."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import label

from ..errors import Refused
from ..images.components import EIGHT_NEIGHBOURS

BINS = 16384  # over logit -16 .. 16: two scores share a bin where they differ by less than .002 in logit
_RANGE = 16.0


def _zeros() -> np.ndarray:
    return np.zeros(BINS)


@dataclass(frozen=True)
class Coarse:
    """Wider bins, each of BINS / count: for what is kept on the disk and drawn thousands of times."""

    count: int

    def of(self, histogram: np.ndarray) -> np.ndarray:
        """A histogram [..., BINS] as [..., count]."""
        return histogram.reshape(*histogram.shape[:-1], self.count, -1).sum(-1)

    def lower_edge(self, place: int) -> float:
        """The lowest probability in a bin."""
        return float(1 / (1 + np.exp(_RANGE - 2 * _RANGE * place / self.count)))

    def place(self, probability: float) -> int:
        """The first bin at or above a probability that is a bin's lower edge."""
        return round((float(np.log(probability) - np.log1p(-probability)) + _RANGE) / (2 * _RANGE) * self.count)


COARSE = Coarse(512)


@dataclass
class Tally:
    """Histograms over score bins, ascending, of one image or of many.

    anomalous, normal: pixels; regions: per connected piece of anomaly (8-connected) the share of its pixels in each
    bin, summed; region_count: how many pieces.
    """

    anomalous: np.ndarray = field(default_factory=_zeros)
    normal: np.ndarray = field(default_factory=_zeros)
    regions: np.ndarray = field(default_factory=_zeros)
    region_count: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.anomalous + other.anomalous,
            self.normal + other.normal,
            self.regions + other.regions,
            self.region_count + other.region_count,
        )

    def packed(self) -> str:
        """Text that `unpacked` reads: the histograms in coarse bins and the number of pieces."""
        values = [COARSE.of(one) for one in (self.anomalous, self.normal, self.regions)]
        data = np.concatenate([*values, [self.region_count]]).astype("<f4").tobytes()
        return base64.b64encode(zlib.compress(data, 9)).decode()


def unpacked(text: str) -> np.ndarray:
    """[3 COARSE.count + 1]: anomalous, normal and regions in coarse bins, ascending, then the number of pieces."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f4").astype(float)


def tally(scores: np.ndarray, mask: np.ndarray) -> Tally:
    """Of one image.

    Args:
        scores: [H, W], probability of anomaly in 0 .. 1.
        mask: bool [H, W], the truth; empty for a good image.

    Raises:
        Refused: shapes that differ, scores that are not finite or outside 0 .. 1.
    """
    if scores.shape != mask.shape or scores.ndim != 2:
        raise Refused("scores", f"{scores.shape}, and the mask is {mask.shape}", "one [H, W] for both")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise Refused(
            "scores",
            "they hold NaN or values outside 0 .. 1, so the network has diverged",
            remedy="try a lower learning rate or another seed",
        )
    bins = score_bins(scores)
    pieces, count = label(mask, structure=EIGHT_NEIGHBOURS)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    inside = bins[mask]
    return Tally(
        anomalous=np.bincount(inside, minlength=BINS).astype(float),
        normal=np.bincount(bins[~mask], minlength=BINS).astype(float),
        regions=np.bincount(inside, weights=1 / areas[pieces[mask]], minlength=BINS),
        region_count=count,
    )


def score_bins(scores: np.ndarray) -> np.ndarray:
    """The bin of every probability: uniform in logit, since networks put most pixels very near to 0."""
    scores = scores.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(scores) - np.log1p(-scores)
    return np.clip((logits + _RANGE) / (2 * _RANGE) * BINS, 0, BINS - 1).astype(np.int64)
