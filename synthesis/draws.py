"""Several draws of one defect, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ..seeds import anomaly_seed

# excess above which a defect on a photograph counts as visible; a run over a data set measures its own threshold, 1.6
# to 1.9 for the bundled base (`synthesis.negatives`).
VISIBLE_ABOVE = 2.0


class Draw(Protocol):
    """What is drawn; excess: see `synthesis.scores`."""

    excess: float | None


Drawn = TypeVar("Drawn", bound=Draw)


def best_draw(make: Callable[[int], Drawn], seed: int, tries: int, visible_above: float = VISIBLE_ABOVE) -> Drawn:
    """The first draw whose excess is above `visible_above`, of at most `tries`; else the one of the largest excess.

    make: a draw with a seed; seed: of the first.
    """
    best = make(seed)
    for draw in range(1, tries):
        if best.excess > visible_above:
            break
        best = max(best, make(anomaly_seed(seed, 0, draw)), key=lambda one: one.excess)
    return best
