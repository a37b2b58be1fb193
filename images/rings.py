"""A region as one closed outline along its pixels' edges, holes included: what polygon formats hold."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from ..errors import Refused

Point = tuple[float, float]  # x, y in pixels; (0, 0) is the outer corner of the first pixel
_Edge = tuple[tuple[int, int], tuple[int, int]]  # from where, and the step (dx, dy); the region is on its right


def outline(region: np.ndarray, inset: float = 0.0) -> list[Point]:
    """The corners of an 8-connected region, bool [H, W], as one polygon; clockwise on the screen.

    Polygons know no holes. Each hole is therefore joined to the outline around it by a cut of no width, along the
    middle of a row of pixels, which is walked to and fro: by the even-odd rule the polygon is the region, pixel by
    pixel.

    Args:
        inset: px, below 0.5, by which every corner moves into the region. 0 is the exact outline. A little more keeps
            the corners inside the region's own pixels, also for readers that cut coordinates down to whole pixels and
            fill their polygon's edge as well.

    Raises:
        Refused: the region is empty or in several pieces.
    """
    rings = [_inset(ring, region, inset) for ring in _rings(region)]
    outer = [ring for ring in rings if _area(ring) > 0]
    if len(outer) != 1:
        raise Refused("region", f"its outline has {len(outer)} pieces", "one, 8-connected")
    merged = outer[0]
    # From left to right, a cut to the left ends on the outer ring or on a hole that was joined before.
    for hole in sorted((ring for ring in rings if _area(ring) <= 0), key=min):
        _join(merged, hole, region, inset)
    return merged


def _rings(region: np.ndarray) -> list[list[_Edge]]:
    """The closed walks along the edges between region and rest; around the region clockwise, around holes not."""
    steps = _steps(region)
    left = {(corner, step) for corner, out in steps.items() for step in out}
    rings = []
    for first in sorted(left):
        edge, ring = first, []
        while edge in left:
            left.remove(edge)
            ring.append(edge)
            edge = _next(edge, steps)
        if ring:
            rings.append(ring)
    return rings


def _next(edge: _Edge, steps: dict[tuple[int, int], list[tuple[int, int]]]) -> _Edge:
    """The edge after this one; where two pixels touch at a corner, over to the other one: that is the left turn."""
    (x, y), (right, down) = edge
    corner = x + right, y + down
    out = steps[corner]
    return corner, out[0] if len(out) == 1 else (down, -right)


def _steps(region: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """{corner: the steps that go out from it}, with the region on the right of every step."""
    padded = np.pad(region, 1)
    found: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    inside = padded[1:-1, 1:-1]
    for beside, (right, down), step in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (0, 1)),
        (padded[2:, 1:-1], (1, 1), (-1, 0)),
        (padded[1:-1, :-2], (0, 1), (0, -1)),
    ):
        rows, columns = np.nonzero(inside & ~beside)
        for corner in zip((columns + right).tolist(), (rows + down).tolist(), strict=True):
            found[corner].append(step)
    return found


def _inset(ring: list[_Edge], region: np.ndarray, inset: float) -> list[Point]:
    """The walk's corners without those on straight lines, moved into the region."""
    points: list[Point] = []
    for (_, before), ((x, y), after) in zip([ring[-1], *ring[:-1]], ring, strict=True):
        if before == after:
            continue
        (right, down), (next_right, next_down) = before, after
        into, next_into = (-down, right), (-next_down, next_right)
        if not inset or _pixel(region, x, y, into[0] + next_into[0], into[1] + next_into[1]):
            points.append((x + inset * (into[0] + next_into[0]), y + inset * (into[1] + next_into[1])))
        else:  # two pixels touch here: a corner in each
            points.append((x + inset * (into[0] - right), y + inset * (into[1] - down)))
            points.append((x + inset * (next_into[0] + next_right), y + inset * (next_into[1] + next_down)))
    return points


def _pixel(region: np.ndarray, x: int, y: int, right: int, down: int) -> bool:
    """Whether the pixel that lies in this direction (-1 or 1) of a corner is the region's."""
    return bool(region[y - (down < 0), x - (right < 0)])


def _area(ring: list[Point]) -> float:
    """Twice the area within; negative around a hole."""
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(ring, [*ring[1:], ring[0]], strict=True))


def _join(merged: list[Point], hole: list[Point], region: np.ndarray, inset: float) -> None:
    """Insert the hole's ring into the outline, to and from it along the row of the hole's first pixel."""
    left = min(hole)[0]
    row = round(min(y for x, y in hole if x == left))
    column = round(left + inset)
    free = np.flatnonzero(~region[row, :column])
    reached = int(free[-1]) + 1 if len(free) else 0
    ends = (reached + inset, row + 0.5), (left, row + 0.5)
    into, of = (_crossed(ring, *end) for ring, end in ((merged, ends[0]), (hole, ends[1])))
    merged[into:into] = [ends[0], ends[1], *hole[of:], *hole[:of], ends[1], ends[0]]


def _crossed(ring: list[Point], x: float, y: float) -> int:
    """The place in the ring's list at which (x, y), on one of its vertical edges, belongs."""
    for place, ((x0, y0), (x1, y1)) in enumerate(zip([ring[-1], *ring[:-1]], ring, strict=True)):
        if abs(x0 - x) + abs(x1 - x) < 1e-6 and min(y0, y1) <= y <= max(y0, y1):
            return place
    raise AssertionError(f"no edge at {x}, {y}")
