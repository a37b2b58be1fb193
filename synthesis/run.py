"""A run: a plan made into a folder of checked pairs, resumable at any pair."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

import numpy as np

from ..datasets.pair_identity import pair_entries
from ..datasets.pairs import PairWriter
from ..images.pictures import Picture
from ..images.windows import Window
from ..modules.compact_ldm import CompactLDM
from .adapters import Adapters
from .controls import KnownControls
from .make import BATCH, Job, Settings
from .nearest import RealDefects
from .negatives import measured_thresholds
from .pair import Pair, make_pairs
from .plan import Planned
from .policy import Settled, settle
from .refine import farm_varies
from .scores import DIGITS, NOT_SCORED, Scores
from .settings import Policy, RunSettings

_log = logging.getLogger(__name__)
KEEP = Policy()


class Items(Protocol):
    """What a run makes: item i, the same at every call; see `synthesis.plan.Plan`."""

    def item(self, index: int, redraw: int = 0) -> Planned: ...

    def item_seed(self, index: int, redraw: int = 0) -> int: ...


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
    policy: Policy = KEEP,
    negatives: int = RunSettings.negatives,
    real: RealDefects | None = None,
    report: Callable[[int, Planned, Pair, bool], None] | None = None,
) -> float:
    """Make items 0 .. count - 1 that `writer` lacks, and write or drop them with their record; the others stay.

    A blank pair (see `datasets.pair_identity`) is dropped whatever the policy: its mask would be a wrong label.

    Args:
        base_name, adapter_name: go into the manifest; see `file_digest`.
        adapter: see `make_pairs`.
        policy: what becomes of pairs that are not visible, see `synthesis.policy`.
        negatives: normal re-samples that the thresholds of excess and of completeness are read from.
        real: see `make_pairs`.
        report: called with index, item, pair and visible after each write or drop.

    Returns:
        the excess above which pairs of this run count as visible.
    """
    _log.info(
        "%d of %d pairs are there; %d normal re-samples for the thresholds first",
        count - len(writer.missing(count)),
        count,
        negatives,
    )
    known = KnownControls()
    found = measured_thresholds(base, lambda index: plan.item(index).job, settings, negatives, known)
    make = partial(make_pairs, base, adapter=adapter, changed_above=found.changed, controlled=True, real=real)
    has_farm = adapter is not None and adapter.fast is not None and farm_varies(settings)
    restore_normals(writer, plan)
    for start, items, wanted in blocks(plan, writer.missing(count), count):
        # A block's own controls go with it: memory must not grow with the run.
        make_here = partial(make, known=KnownControls(known))
        first = make_here([item.job for item in items], settings)
        indices = range(start, start + len(items))
        settled = settle(policy, make_here, plan.item_seed, indices, first, settings, found.shown, has_farm, wanted)
        for index, item, one in zip(indices, items, settled, strict=True):
            if index not in wanted:
                continue
            record = _record(one, found.shown(one.pair), base_name, adapter_name)
            pair, visible_only = one.pair, policy.name == "drop"
            settle_pair(writer, index, item, pair.picture, record, pair.refined_mask, visible_only)
            if report:
                report(index, item, one.pair, record["visible"])
    return found.visible


def blocks(plan: Items, missing: Sequence[int], count: int) -> Iterator[tuple[int, list[Planned], set[int]]]:
    """(first index, items, indices wanted) of every block of BATCH that holds a missing item of a run of `count`.

    Whole blocks even where a resumed run needs one item of them: a batch's size may move the last bit.
    """
    for start in sorted({index - index % BATCH for index in missing}):
        stop = min(start + BATCH, count)
        first, last = bisect_left(missing, start), bisect_left(missing, stop)
        yield start, [plan.item(index) for index in range(start, stop)], set(missing[first:last])


def restore_normals(writer: PairWriter, plan: Items) -> None:
    """Make normal images that were lost again, from where their pairs took them. Raises OSError."""
    for name, index in writer.lost_normals.items():
        writer.restore_normal(name, plan.item(index).normal)


def pixel_entries(job: Job, picture: Picture) -> dict[str, Any]:
    """What the pixels of a job's picture say, for its line: see `datasets.pair_identity`. "changed" is 0 for a blank
    pair alone."""
    return pair_entries(picture, job.picture, job.mask.cpu().numpy(), job.object, job.type)[1]


def settle_pair(
    writer: PairWriter,
    index: int,
    item: Planned,
    picture: Picture,
    record: Mapping[str, Any],
    refined: np.ndarray | None = None,
    visible_only: bool = False,
) -> None:
    """Write a pair, or drop it: where it is blank, and with `visible_only` where it is not visible.

    record, refined: as in `write_pair`, the record with `pixel_entries` and "visible".
    """
    if record["changed"] and (record["visible"] or not visible_only):
        write_pair(writer, index, item, picture, record, refined)
    else:
        writer.drop(index, {"object": item.job.object, "type": item.job.type, "seed": item.job.seed} | record)


def write_pair(
    writer: PairWriter,
    index: int,
    item: Planned,
    picture: Picture,
    record: Mapping[str, Any],
    refined: np.ndarray | None = None,
) -> None:
    """Write a planned item's picture; `record` goes into the manifest beside its seed and sources; refined: see
    `PairWriter.write`."""
    sources = {"seed": item.job.seed, "normal_source": item.normal_name, "mask_source": item.mask_name}
    writer.write(
        index=index,
        object=item.job.object,
        type=item.job.type,
        stem=f"{index:06d}",
        picture=picture,
        mask=item.job.mask,
        normal_source=item.normal,
        record=sources | record,
        refined=refined,
    )


def _record(settled: Settled, visible: bool, base_name: str, adapter_name: str | None) -> dict[str, Any]:
    pair = settled.pair
    content = pixel_entries(pair.job, pair.picture)
    return pair_record(
        pair,
        seed=pair.job.seed,  # of the attempt that was kept
        visible=visible and content["changed"] > 0,
        content=content,
        seconds=round(pair.seconds, DIGITS),
        base=base_name,
        adapter=adapter_name,
        windows=pair.windows,
        settings=asdict(settled.settings),
        refined=settled.refined,
    )


def pair_record(
    scores: Scores | None,
    *,
    seed: int | None,
    visible: bool | None,
    content: Mapping[str, Any],
    seconds: float | None,
    base: str | None,
    adapter: str | None,
    windows: Sequence[Window] | None,
    settings: Mapping[str, Any],
    refined: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The entries of a pair's line of the manifest, beside those that the writer sets.

    Args:
        scores, visible, windows: None where the pair was not scored; content: see `pixel_entries`; base, adapter: their
            names, see `file_digest`; settings: it was made with; refined: the search behind it, if there was one.
    """
    record = {
        "seed": seed,
        **(NOT_SCORED if scores is None else scores.entries),
        "visible": visible,
        **content,
        "seconds": seconds,
        "base": base,
        "adapter": adapter,
        "windows": windows and [asdict(window) | {"factor": round(window.factor, DIGITS)} for window in windows],
        "settings": dict(settings),
    }
    return record if refined is None else record | {"refined": refined}
