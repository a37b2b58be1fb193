"""What becomes of the pairs of a block once their scores are known: kept, made again, dropped, refined."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .pair import Job, Pair, Settings
from .refine import Make, Visible, refine
from .settings import Policy


@dataclass(frozen=True)
class Settled:
    """A pair as it goes into the folder: its settings, and the record of the search behind it, if there was one."""

    pair: Pair
    settings: Settings
    search: dict[str, Any] | None = None


def settle(
    policy: Policy,
    make: Make,
    seed_of: Callable[[int, int], int],
    indices: Sequence[int],
    pairs: Sequence[Pair],
    settings: Settings,
    visible: Visible,
    has_farm: bool,
    wanted: Container[int] | None = None,
) -> list[Settled]:
    """Apply a policy to the first draws of a block.

    Args:
        make: pairs of jobs and settings.
        seed_of: (index, attempt) -> the seed of that attempt; normal and mask stay.
        indices, pairs: the block.
        has_farm: the settings' FARM has an adapter behind it, and `refine.farm_varies`.
        wanted: the indices that are not in the folder yet, None for all; others are left as they are drawn.
    """
    if policy.name != "refine":
        redrawn = [
            _redrawn(
                policy.redraw if wanted is None or index in wanted else 0, make, seed_of, index, pair, settings, visible
            )
            for index, pair in zip(indices, pairs, strict=True)
        ]
        return [Settled(pair, settings) for pair in redrawn]

    def jobs(number: int) -> list[Job]:
        return [replace(pair.job, seed=seed_of(i, number)) for i, pair in zip(indices, pairs, strict=True)]

    found = refine(make, pairs, jobs, settings, visible, policy.rounds, has_farm)
    return [Settled(one.pair, one.settings, one.record(visible, settings)) for one in found]


def _redrawn(
    times: int,
    make: Make,
    seed_of: Callable[[int, int], int],
    index: int,
    pair: Pair,
    settings: Settings,
    visible: Visible,
) -> Pair:
    for attempt in range(1, times + 1):
        if visible(pair):
            break
        other = make([replace(pair.job, seed=seed_of(index, attempt))], settings)[0]
        pair = replace(other, seconds=other.seconds + pair.seconds)
    return pair
