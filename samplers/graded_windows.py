"""The windows of t in which graded diffusion runs its anomaly-only branch, and grids that reach every one of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Refused
from .grid import aias_grid
from .levels import Level
from .schedule import TIMESTEPS

Window = tuple[float, float]  # (hi, lo) in t, both ends inside

PAPER_WINDOWS: tuple[Window, ...] = ((1000, 800), (400, 300))  # STAGE, Sec. IV-A
RELEASED_WINDOWS: tuple[Window, ...] = ((800, 700), (400, 300))  # what STAGE's released code runs


def check_windows(windows: Sequence[Window]) -> None:
    """Raise Refused for windows that are not (hi, lo) with 1000 >= hi >= lo >= 0, or that share a level."""
    for window in windows:
        if len(window) != 2:
            raise Refused("windows", f"{window} is not a pair", "(hi, lo) in t of 0 .. 1000")
        hi, lo = window
        if hi < lo:
            raise Refused("windows", f"({hi:g}, {lo:g}) is reversed", "(hi, lo), the noisier end first")
        if not 0 <= lo <= hi <= TIMESTEPS:
            raise Refused("windows", f"({hi:g}, {lo:g}) is out of range", f"t of 0 .. {TIMESTEPS}")
    ordered = sorted(windows, reverse=True)
    for upper, lower in zip(ordered, ordered[1:], strict=False):
        if lower[0] >= upper[1]:
            raise Refused("windows", f"{upper} and {lower} overlap", remedy="make them one, or move one")


def within(t: float, windows: Sequence[Window]) -> bool:
    """Whether the anomaly-only branch runs at t."""
    return any(lo <= t <= hi for hi, lo in windows)


def check_reached(levels: Sequence[Level], windows: Sequence[Window]) -> None:
    """Raise Refused for a window that a run along `levels` crosses, but in which no step starts.

    A run that starts below a window (from an image, at part strength) does not cross it, nor does one that ends above
    it or in it, where another run continues.
    """
    *times, end = [level.t for level in levels]  # the last is None at no noise
    for hi, lo in windows:
        if (end is None or lo > end) and lo <= times[0] and not any(lo <= t <= hi for t in times):
            needed = _fewest(windows, {})
            raise Refused(
                "sigmas",
                f"none of the {len(times)} levels falls into the window ({hi:g}, {lo:g})",
                remedy=f"make the levels with the same windows, which takes {needed or 'more'} steps or more",
            )


def graded_grid(steps: int, windows: Sequence[Window] = PAPER_WINDOWS, **options) -> list[int]:
    """`aias_grid` with at least one level in every window.

    Args:
        steps: model calls in all.
        windows: (hi, lo) in t, see `check_windows`.
        options: further keywords of `aias_grid`.

    Raises:
        Refused: as `check_windows` and `aias_grid`; a grid too short for the windows, with the steps it needs.
    """
    check_windows(windows)
    try:
        return aias_grid(steps, windows=windows, **options)
    except ValueError as error:
        needed = _fewest(windows, options)
        if needed is None or steps >= needed:
            raise
        raise Refused(
            "steps", f"{steps} cannot reach all of the windows {list(windows)}", f"{needed} or more"
        ) from error


def _fewest(windows: Sequence[Window], options: dict) -> int | None:
    """Steps of the shortest grid that reaches every window; None where length is not what is wrong."""
    for steps in range(1, len(windows) + options.get("refine", 2) + 2):
        try:
            aias_grid(steps, windows=windows, **options)
        except ValueError:
            continue
        return steps
    return None
