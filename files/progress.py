"""Progress of passes over many files, reported to whatever runs them: a command's bar, or a host's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


def counted(report: Callable[[int, int], None] | None) -> AbstractContextManager[None]:
    """As `reported`, for a report(items done, items in all) that is called for every item."""
    return reported(report and (lambda _, done, of: report(done, of) if done else None))


def tracked(what: str, items: Iterable[Item], weight: int = 1, of: int | None = None) -> Iterator[Item]:
    """The items, one by one; the pass is reported when it starts, and each item once the caller is done with it.

    Args:
        what: names the pass, such as "checking images".
        weight: how many each item counts for, where items are batches.
        of: how many there are in all; None is the items' number.
    """
    report, of = _report.get(), len(items) if of is None else of
    if report:
        report(what, 0, of)
    for place, item in enumerate(items, 1):
        yield item
        if report:
            report(what, min(place * weight, of), of)


def duration(seconds: float | None) -> str:
    """Seconds that a run still takes, in words."""
    if seconds is None:
        return "time left unknown"
    if seconds < 90:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.1f} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"
