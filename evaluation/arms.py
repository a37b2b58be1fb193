"""The pairs of one method, written as a folder: made block by block, continued where a run stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..datasets.pairs import PairWriter
from ..synthesis.pair import BATCH
from ..synthesis.plan import Plan, Planned
from .methods import METHODS, Tools

Report = Callable[[str, int, int], None]  # what, done, of


def make_arm(
    method: str, plan: Plan, count: int, tools: Tools, out: Path, described: dict, report: Report | None = None
) -> float:
    """Write items 0 .. count - 1 of `plan`, made by `method`, into the folder `out`.

    Args:
        described: what defines the run; a folder of another one is refused.

    Returns:
        mean seconds per pair, over those that the folder holds.

    Raises:
        ValueError: a method that lacks what it needs, or a folder of another run.
    """
    writer = PairWriter(out, described | {"method": method, "count": count, "plan_seed": plan.seed}, resume=True)
    # Whole blocks, as the command line makes them: a block's size may move the last bit.
    for start in range(writer.done - writer.done % BATCH, count, BATCH):
        items = [plan.item(index) for index in range(start, min(start + BATCH, count))]
        started = time.perf_counter()
        pictures = METHODS[method](items, tools)
        seconds = (time.perf_counter() - started) / len(items)
        for index, (item, picture) in enumerate(zip(items, pictures, strict=True), start):
            if index >= writer.done:
                _write(writer, index, item, picture, method, seconds)
        if report:
            report(method, writer.done, count)
    return writer.mean("seconds")


def _write(writer: PairWriter, index: int, item: Planned, picture, method: str, seconds: float) -> None:
    record = {
        "seed": item.job.seed, "visibility": None, "visible": None, "seconds": round(seconds, 4), "base": None,
        "adapter": None, "settings": {"method": method}, "normal_source": item.normal_name,
        "mask_source": item.mask_name,
    }  # fmt: skip
    writer.write(
        index=index, object=item.job.object, type=item.job.type, stem=f"{index:06d}", picture=picture,
        mask=item.job.mask, normal_source=item.normal, record=record,
    )  # fmt: skip
