"""A run: a plan made into a folder of checked pairs, resumable at any pair."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Protocol

from ..datasets.pairs import PairWriter
from ..datasets.pictures import Picture
from ..modules.compact_ldm import CompactLDM
from .adapters import Adapters
from .nearest_real import RealDefects
from .negatives import measured_thresholds
from .pair import BATCH, Pair, Settings, make_pairs
from .plan import Planned

_log = logging.getLogger(__name__)
NEGATIVES = 64


class Items(Protocol):
    """What a run makes: item i, the same at every call; see `synthesis.plan.Plan`."""

    def item(self, index: int, redraw: int = 0) -> Planned: ...


def run(
    base: CompactLDM,
    base_name: str,
    plan: Items,
    count: int,
    settings: Settings,
    writer: PairWriter,
    *,
    adapter: Adapters | None = None,
    adapter_name: str | None = None,
    redraw: int = 0,
    negatives: int = NEGATIVES,
    real: RealDefects | None = None,
    report: Callable[[int, Planned, Pair, bool], None] | None = None,
) -> float:
    """Make items 0 .. count - 1 that `writer` does not have yet, and write them with their record.

    Args:
        base_name, adapter_name: go into the manifest; see `file_digest`.
        adapter: see `make_pairs`.
        redraw: times that a pair which is not visible is made again with a new seed; afterwards it is kept, flagged.
        negatives: normal re-samples that the thresholds of visibility and of completeness are read from.
        real: see `make_pairs`.
        report: called with index, item, pair and visible after each write.

    Returns:
        the visibility above which pairs of this run count as visible.
    """
    _log.info("%d of %d pairs are there; %d normal re-samples for the thresholds first",
              writer.done, count, negatives)  # fmt: skip
    found = measured_thresholds(base, lambda index: plan.item(index).job, settings, negatives)
    threshold = found.visible
    make = partial(make_pairs, base, settings=settings, adapter=adapter, changed_above=found.changed, real=real)
    for start, items in blocks(plan, writer.done, count):
        pairs = make([item.job for item in items])
        for index, (item, pair) in enumerate(zip(items, pairs, strict=True), start):
            if index < writer.done:
                continue
            for attempt in range(1, redraw + 1):
                if pair.visibility > threshold:
                    break
                again = make([plan.item(index, attempt).job])[0]
                pair = replace(again, seconds=again.seconds + pair.seconds)
            visible = pair.visibility > threshold
            write_pair(writer, index, item, pair.picture, _record(pair, visible, base_name, adapter_name, settings))
            if report:
                report(index, item, pair, visible)
    return threshold


def blocks(plan: Items, done: int, count: int) -> Iterator[tuple[int, list[Planned]]]:
    """(first index, items) of every block of BATCH that holds an item not done.

    Whole blocks even where a resumed run needs only their rest: a batch's size may move the last bit.
    """
    for start in range(done - done % BATCH, count, BATCH):
        yield start, [plan.item(index) for index in range(start, min(start + BATCH, count))]


def write_pair(
    writer: PairWriter, index: int, item: Planned, picture: Picture, record: Mapping[str, Any]
) -> None:
    """Write a planned item's picture; `record` is what the manifest tells of it beside its seed and sources."""
    sources = {"seed": item.job.seed, "normal_source": item.normal_name, "mask_source": item.mask_name}
    writer.write(
        index=index, object=item.job.object, type=item.job.type, stem=f"{index:06d}", picture=picture,
        mask=item.job.mask, normal_source=item.normal, record=sources | record,
    )  # fmt: skip


def _record(
    pair: Pair, visible: bool, base_name: str, adapter_name: str | None, settings: Settings
) -> dict[str, Any]:
    return {
        "seed": pair.job.seed,  # of the redraw that was kept
        **pair.entries,
        "visible": visible,
        "seconds": round(pair.seconds, 4),
        "base": base_name,
        "adapter": adapter_name,
        "windows": [asdict(window) | {"factor": round(window.factor, 4)} for window in pair.windows],
        "settings": asdict(settings),
    }
