"""What the report opens with: by how much pairs help, over the number of real defects, and how many they replace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

from ..methods import REAL_ONLY
from . import compare
from .tables import escape, table

MEASURE = "ap"  # it needs no threshold, and the bands that it leaves are the narrowest
DRAWS = 1000
ALL = "all"


@dataclass(frozen=True)
class Point:
    """A method with so many real defects per type: images is their number in all; shots None is all of them."""

    shots: int | None
    images: int
    value: compare.Interval
    gain: compare.Interval | None  # over the same real defects alone

    @property
    def name(self) -> str:
        return ALL if self.shots is None else str(self.shots)


def curves(cells: Sequence[dict]) -> dict[str, list[Point]]:
    """Every method's points by rising number of real defects, from the cells of one network; without intervals none."""
    found: dict[str, list[Point]] = {}
    for shots in sorted({cell["shots"] for cell in cells}, key=_order):
        own = [cell for cell in cells if cell["shots"] == shots]
        for method in compare.methods(own):
            value = compare.score(own, method, DRAWS, MEASURE)
            if value is not None:
                gain = None if method == REAL_ONLY else compare.difference(own, method, REAL_ONLY, DRAWS, MEASURE)
                found.setdefault(method, []).append(Point(shots, own[0]["real_defects"], value, gain))
    return found


def answer(points: dict[str, list[Point]]) -> str:
    """The sentences that the report opens with; "" where there is nothing to compare."""
    lines = []
    for shots, images in _numbers(points):
        best = max(
            ((method, point) for method, own in points.items() for point in own if point.shots == shots and point.gain),
            key=lambda pair: pair[1].gain.mean,
            default=None,
        )
        if best is not None:
            method, point = best
            lines.append(_gain(method, point, images) + _replaced(points, method, point))
        elif not shots and shots is not None:
            lines.append(_zero(points))
    return "\n".join(f"- {line}" for line in lines if line) + "\n" if any(lines) else ""


def curve_table(points: dict[str, list[Point]]) -> str:
    """AP of every method over the number of real defects; "" with one number alone."""
    numbers = _numbers(points)
    if len(numbers) < 2:
        return ""
    head = ["AP with real defects per type", *(ALL if shots is None else str(shots) for shots, _ in numbers)]
    rows = []
    for method, own in points.items():
        by_shots = {point.shots: _span(point.value) for point in own}
        rows.append([escape(method), *(by_shots.get(shots, "-") for shots, _ in numbers)])
    return table(head, rows)


def equal_images(points: Sequence[Point], value: float) -> tuple[float, bool] | None:
    """With how many real defects a method reaches a value, between its points over the logarithm of their number, and
    whether it is reached at all: where no point does, the largest number. None without a point that has a defect."""
    own = sorted((point.images, point.value.mean) for point in points if point.images)
    if not own:
        return None
    for (few, low), (many, high) in zip(own, own[1:], strict=False):
        if low < value <= high:
            return exp(log(few) + (log(many) - log(few)) * (value - low) / (high - low)), True
    return (float(own[0][0]), True) if value <= own[0][1] else (float(own[-1][0]), False)


def _gain(method: str, point: Point, images: int) -> str:
    low, high = 100 * point.gain.low, 100 * point.gain.high
    verb = "raise" if low > 0 else "lower" if high < 0 else "do not measurably change"
    verb = "change" if point.gain.seeds == 1 else verb  # nothing is known of the scatter of trainings
    by = f"by {100 * point.gain.mean:+.1f} [{low:+.1f} {high:+.1f}] points"
    seeds = f"{point.gain.seeds} seed{'s' * (point.gain.seeds != 1)}, {point.gain.groups} groups"
    caution = " One training each says little." if point.gain.seeds == 1 else ""
    return f"**Pairs by {escape(method)} {verb} AP** {by} with {_defects(point.shots, images)} ({seeds}).{caution}"


def _replaced(points: dict[str, list[Point]], method: str, point: Point) -> str:
    """How many real defects alone do what these pairs do beside the few, where other numbers were tried."""
    alone = points.get(REAL_ONLY, [])
    found = equal_images(alone, point.value.mean)
    if len(alone) < 2 or found is None or point.gain.mean <= 0:
        return ""
    count, reached = found
    if reached and count <= point.images:
        return ""
    words = f"about {count:.0f}" if reached else f"more than {count:.0f}"
    return f" Beside {point.images} real defects they do what {words} real defects do alone."


def _zero(points: dict[str, list[Point]]) -> str:
    known = {method: point for method, own in points.items() for point in own if point.shots == 0}
    if not known:
        return ""
    method = max(known, key=lambda name: known[name].value.mean)
    found = equal_images(points.get(REAL_ONLY, []), known[method].value.mean)
    text = f"**Without any real defect** pairs by {escape(method)} reach AP {_span(known[method].value)}"
    if found is None:
        return f"{text}."
    count, reached = found
    return f"{text}, as {'about' if reached else 'more than'} {count:.0f} real defects do alone."


def _defects(shots: int | None, images: int) -> str:
    return f"all {images} real defects" if shots is None else f"{shots} real defects per type ({images})"


def _numbers(points: dict[str, list[Point]]) -> list[tuple[int | None, int]]:
    found = {point.shots: point.images for own in points.values() for point in own}
    return sorted(found.items(), key=lambda pair: _order(pair[0]))


def _order(shots: int | None) -> float:
    return float("inf") if shots is None else shots


def _span(value: compare.Interval) -> str:
    return f"{100 * value.mean:.1f} [{100 * value.low:.1f} {100 * value.high:.1f}]"
