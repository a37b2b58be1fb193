"""Progress of passes over many files, reported to whatever runs them: a command's bar, or a host's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Report = Callable[[str, int, int], None]  # what is done, items done, items in all; may raise to stop the pass
Item = TypeVar("Item")
_report: ContextVar[Report | None] = ContextVar("report", default=None)


@contextmanager
def reported(report: Report | None) -> Iterator[None]:
    """Passes in this block, in this thread, report to `report`; None leaves it to the block around this one."""
    if report is None:
        yield
        return
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def tracked(what: str, items: Sequence[Item], weight: int = 1, of: int | None = None) -> Iterator[Item]:
    """The items, one by one; each is reported once the caller is done with it.

    Args:
        what: names the pass, such as "checking images".
        weight: how many each item counts for, where items are batches.
        of: how many there are in all; None is weight * items.
    """
    report, of = _report.get(), len(items) * weight if of is None else of
    for place, item in enumerate(items, 1):
        yield item
        if report:
            report(what, min(place * weight, of), of)
