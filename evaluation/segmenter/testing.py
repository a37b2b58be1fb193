"""The test: whole images of the held-back part, tallied by type and group, and image by image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...datasets.sample import Sample, read_sample, whole_images
from ...errors import Refused
from ...files.progress import tracked
from ..metrics import THRESHOLD, at_threshold
from ..tally import Tally, tally
from .prediction import predict

Kind = tuple[str, str]  # (object, type)


@dataclass(frozen=True)
class Seen:
    """One image at probability 0.5, and at the chosen threshold.

    hits, chosen_hits: anomalous pixels found; false, chosen_false: normal pixels called anomalous; anomalous: pixels of
    the mask.
    """

    name: str
    group: str
    object: str
    type: str
    hits: int
    false: int
    anomalous: int
    chosen_hits: int
    chosen_false: int


@dataclass(frozen=True)
class Tested:
    """Tallies of a test, per (object, type) and in it per group, and every image; good images are the type "good".

    threshold: the chosen one, see `evaluation.threshold`.
    """

    kinds: Mapping[Kind, Mapping[str, Tally]] = field(default_factory=dict)
    images: tuple[Seen, ...] = ()
    threshold: float = THRESHOLD

    @property
    def defects(self) -> list[Kind]:
        """The kinds but "good", sorted."""
        return sorted(kind for kind in self.kinds if kind[1] != "good")

    def groups(self, kind: Kind | None = None) -> dict[str, Tally]:
        """{group: tally}: of a type over that type's images alone; without one over all, the good images included.

        A group that has images of one type only shares its tally with `kinds`; do not change it.
        """
        found: dict[str, Tally] = {}
        for groups in self.kinds.values() if kind is None else [self.kinds.get(kind, {})]:
            for group, one in groups.items():
                found[group] = found[group] + one if group in found else one
        return found

    def total(self, kind: Kind | None = None) -> Tally:
        """The sum of `groups(kind)`."""
        return sum(self.groups(kind).values(), Tally())


def test(
    network: nn.Module,
    samples: Iterable[Sample],
    group_of: Mapping[str, str],
    check_interrupt: Callable[[], None] | None = None,
    threshold: float = THRESHOLD,
) -> Tested:
    """Predict whole images at native scale.

    Args:
        network: in evaluation mode.
        samples: of the held-back part, good images included; an image with several types counts as "crack + hole".
        group_of: {name: group}, as a split has it.
        check_interrupt: called before every image; may raise to stop.
        threshold: the chosen probability above which a pixel counts as anomalous.

    Raises:
        Refused: an image without a group, a picture that cannot be read, scores that are not finite.
    """
    kinds: dict[Kind, dict[str, Tally]] = defaultdict(dict)
    images = []
    for sample in tracked("testing", whole_images(samples)):
        if check_interrupt:
            check_interrupt()
        if sample.name not in group_of:
            raise Refused(
                sample.image, "it has no group in the split", remedy="give the folder the split was made from"
            )
        picture, mask = read_sample(sample)
        groups, group = kinds[sample.object, sample.type], group_of[sample.name]
        one = tally_of(network, picture.image(), mask)
        groups[group] = groups[group] + one if group in groups else one
        counts = [int(count) for count in (*at_threshold(one), *at_threshold(one, threshold)[:2])]
        images.append(Seen(sample.name, group, sample.object, sample.type, *counts))
    return Tested(dict(kinds), tuple(images), threshold)


test.__test__ = Tested.__test__ = False  # pytest would collect them in every test file that imports them


def tally_of(network: nn.Module, image: Tensor, mask: Tensor | None) -> Tally:
    """Of one image [3, H, W] in 0 .. 1 and its mask, bool [H, W] or None where it is good."""
    scores = predict(network, image)
    truth = torch.zeros(scores.shape, dtype=torch.bool) if mask is None else mask
    return tally(scores.numpy(), truth.numpy())
