"""The pairs of one method, written as a folder: made block by block, continued where a run stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..datasets.pairs import PairWriter, manifest_lines
from ..errors import Refused
from ..images.pictures import Picture
from ..synthesis.make import Job
from ..synthesis.plan import Plan
from ..synthesis.run import blocks, pair_record, pixel_entries, restore_normals, settle_pair
from ..synthesis.scores import DIGITS, NOT_SCORED
from .methods import Tools
from .methods import method as method_of

Report = Callable[[str, int, int], None]  # what, done, of


def make_arm(
    method: str, plan: Plan, count: int, tools: Tools, out: Path, described: dict, report: Report | None = None
) -> float:
    """Write items 0 .. count - 1 of `plan`, made by `method`, into the folder `out`; blank ones are dropped.

    Args:
        described: what defines the run; a folder of another one is refused.

    Returns:
        mean seconds per pair, over those that the folder holds.

    Raises:
        Refused: a method that lacks what it needs, a folder of another run, or nothing but blank pairs.
    """
    make = method_of(method)
    described = described | {"method": method, "count": count, "plan_seed": plan.seed}
    with PairWriter(out, described, resume=True) as writer:
        restore_normals(writer, plan)
        for start, items, wanted in blocks(plan, writer.missing(count), count):
            started = time.perf_counter()
            made = make(items, tools)
            seconds = round((time.perf_counter() - started) / len(items), DIGITS)
            for index, (item, (picture, refined)) in enumerate(zip(items, made, strict=True), start):
                if index in wanted:
                    record = _record(method, item.job, picture, seconds)
                    settle_pair(writer, index, item, picture, record, refined)
            if report:
                report(method, count - len(writer.missing(count)), count)
        if next(manifest_lines(out), None) is None:
            raise Refused(
                method,
                f"none of its {count} pairs shows a defect: every image equals its normal image in the mask (see "
                f"{out}/dropped.jsonl)",
                remedy="look at the base, the adapter and the method's settings",
            )
        return writer.mean("seconds")


def _record(method: str, job: Job, picture: Picture, seconds: float) -> dict[str, Any]:
    """The entries of a pair's line, in the order that the lines of an arm have always had, which name no windows."""
    content = pixel_entries(job, picture)
    record = pair_record(
        None,
        seed=job.seed,
        visible=None,
        content=content,
        seconds=seconds,
        base=None,
        adapter=None,
        windows=None,
        settings={"method": method},
    )
    order = (*NOT_SCORED, "visible", "base", "adapter", "settings", "seconds", *content)
    return {key: record[key] for key in order}
