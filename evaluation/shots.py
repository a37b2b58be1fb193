"""Training parts with few real defects: what a user has who begins."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Sequence

from ..datasets.sample import NORMAL, Sample
from ..datasets.split import Kind
from ..errors import Refused
from ..seeds import derived_seed

_log = logging.getLogger(__name__)


def some_defects(samples: Sequence[Sample], shots: int, seed: int) -> list[Sample]:
    """The normal images, and `shots` defect images of every type, or all where a type has fewer.

    Which ones depends on the seed; those of fewer shots are among those of more. An image with defects of several types
    comes with all of them.
    """
    chosen: set[str] = set()
    for kind, names in _images(samples).items():
        random.Random(derived_seed(seed, 0, "/".join(kind))).shuffle(names)
        chosen.update(names[:shots])
    return [sample for sample in samples if sample.type == NORMAL or sample.name in chosen]


def check_shots(samples: Sequence[Sample], shots: Sequence[int | None]) -> None:
    """Raise Refused for negative shots, and for more than any type has; warn of types that have fewer."""
    counts = {kind: len(names) for kind, names in _images(samples).items()}
    most = max(counts.values(), default=0)
    for number in shots:
        if number is not None and not 0 <= number <= most:
            raise Refused(
                "shots", number, f"0 to {most}, the most training images of a type, or all", "choose fewer, or all"
            )
        short = [f"{'/'.join(kind)} ({count})" for kind, count in counts.items() if number and count < number]
        if short:
            _log.warning("%d shots: fewer training images have %s; all of them train", number, ", ".join(short))


def _images(samples: Sequence[Sample]) -> dict[Kind, list[str]]:
    """The names of every type's images, sorted."""
    found: dict[Kind, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.type != NORMAL:
            found[sample.object, sample.type].add(sample.name)
    return {kind: sorted(names) for kind, names in sorted(found.items())}
