"""Which noise levels a few-step sampler visits: indices into the model's ascending sigma table."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from ..choices import KINDS
from ..errors import Refused
from .schedule import DATA_STD, TIMESTEPS, ldm_sigmas


def aias_grid(
    steps: int,
    kind: str = "uniform",
    refine: int = 2,
    windows: Sequence[tuple[float, float]] = (),
    timesteps: int = TIMESTEPS,
    sigmas: Tensor | None = None,
) -> list[int]:
    """Levels of an AIAS run, strictly descending, one per call of the model.

    `steps - refine` segments lead from the noisiest level down to level `refine - 1`; `refine` single steps at
    refine - 1 .. 0 end the run (FAST's refinement). Kinds of segments:

    - `uniform`: uniform in t (the paper);
    - `quadratic`: uniform in sqrt(t), truly coarse to fine;
    - `lambda`: uniform in log sigma, which is log-SNR for eps and v models;
    - `half`: the noisiest level, then uniform in log(sigma / alpha) from s * steps, but no more than half of the
      noisiest, down to s / steps, s = DATA_STD. Both ends lie as far from the data's own scale s, so that what is lost
      above them and below them falls as 1 / steps^2. Made for 6 to 20 steps with `pure_start` and `correct` of
      `sample_aias`.

    Where two levels fall on one index the later takes the nearest free index upward.

    Args:
        steps: model calls in all, more than `refine`, at most `timesteps`.
        kind: one of KINDS.
        refine: single steps at the end, 0 or more.
        windows: (hi, lo) in t of 0 .. 999; the grid is given at least one level in each.
        timesteps: length of the model's sigma table.
        sigmas: that table, ascending; the LDM schedule where None. Only `lambda` and `half` read it. For `half` a
            table that ends at 1 is a flow model's, whose alpha is 1 - sigma; others have alpha 1.

    Returns:
        list of `steps` indices; the first is timesteps - 1.

    Raises:
        Refused: unknown kind; too few or too many steps; a table of another length; a window that no grid of
            this length can hit.
    """
    _check(steps, kind, refine, timesteps, sigmas)
    segments = steps - refine
    # The refinement is single steps of the papers' 1000 levels; a longer table has its levels closer together.
    scale = max(1.0, (timesteps - 1) / (TIMESTEPS - 1)) if 2 * steps < timesteps else 1.0
    refined = [round(k * scale) for k in range(refine - 1, -1, -1)]
    floor = refined[0] + 1 if refine else 0
    if kind in ("uniform", "quadratic"):
        power = 1 if kind == "uniform" else 2
        # The papers count t from 1, and their last segment ends at t = refine.
        t = torch.linspace(timesteps ** (1 / power), floor ** (1 / power), segments + 1, dtype=torch.float64)
        wanted = (t[:-1] ** power - 1).tolist()
    else:
        table = (ldm_sigmas(timesteps) if sigmas is None else sigmas.detach().cpu().double()).clamp_min(1e-10)
        wanted = _log_sigma_levels(table, segments, floor, steps, kind)
    grid = _distinct([round(t) for t in wanted], floor, ceiling=timesteps - 1)
    return _hit_windows(grid, windows, floor, timesteps) + refined


def grid_sigmas(grid: Sequence[int], sigmas: Tensor) -> Tensor:
    """The sigmas of a grid and a final 0: [len(grid) + 1], in the table's dtype. `sigmas`: ascending [timesteps]."""
    return torch.cat([sigmas[list(grid)], sigmas.new_zeros(1)])


def _log_sigma_levels(table: Tensor, segments: int, floor: int, steps: int, kind: str) -> list[float]:
    if kind == "half":
        log_sigma = (table / (1 - table).clamp_min(1e-10) if table[-1] <= 1 else table).log()
        high = min(float(log_sigma[-1]) - log(2), log(DATA_STD * steps))
        low = max(float(log_sigma[floor]), log(DATA_STD / steps))
        targets = torch.cat([log_sigma[-1:], torch.linspace(high, low, segments - 1, dtype=torch.float64)])
    else:
        log_sigma = table.log()
        # With no refinement the last segment starts at the lowest level and ends at zero noise.
        points, end = (segments + 1, floor - 1) if floor else (segments, 0)
        targets = torch.linspace(float(log_sigma[-1]), float(log_sigma[end]), points, dtype=torch.float64)[:segments]
    return (log_sigma[None] - targets[:, None]).abs().argmin(dim=1).tolist()


def _distinct(levels: list[int], floor: int, ceiling: int) -> list[int]:
    """Strictly descending levels within floor .. ceiling; a collision takes the nearest free index upward."""
    taken: set[int] = set()
    for level in levels:
        level = min(max(level, floor), ceiling)
        free = next((t for t in range(level, ceiling + 1) if t not in taken), None)
        if free is None:
            free = next(t for t in range(level, -1, -1) if t not in taken)
        taken.add(free)
    return sorted(taken, reverse=True)


def _hit_windows(grid: list[int], windows: Sequence[tuple[float, float]], floor: int, timesteps: int) -> list[int]:
    """Move the nearest spare level into every window that has none; the first level stays."""
    spans = [_span(window, floor, timesteps) for window in windows]
    for low, high in spans:
        if any(low <= level <= high for level in grid):
            continue
        spare = [level for level in grid[1:] if not _needed(level, grid, spans)]
        if not spare:
            raise Refused(
                "steps", f"{len(grid)} segments cannot reach all of the windows {list(windows)}", remedy="add steps"
            )
        mover = min(spare, key=lambda level: max(low - level, level - high))
        grid = sorted([level for level in grid if level != mover] + [low if mover < low else high], reverse=True)
    return grid


def _span(window: tuple[float, float], floor: int, timesteps: int) -> tuple[int, int]:
    high, low = window
    scale = (timesteps - 1) / (TIMESTEPS - 1)
    first, last = -int(-low * scale // 1), int(high * scale)
    first, last = max(first, floor), min(last, timesteps - 1)
    if first > last:
        raise Refused("windows", f"{window} holds no level", "(hi, lo) in t, above the refinement steps")
    return first, last


def _needed(level: int, grid: list[int], spans: list[tuple[int, int]]) -> bool:
    """True where `level` is the only one in some window."""
    return any(low <= level <= high and sum(low <= other <= high for other in grid) == 1 for low, high in spans)


def _check(steps: int, kind: str, refine: int, timesteps: int, sigmas: Tensor | None) -> None:
    if kind not in KINDS:
        raise Refused("kind", repr(kind), f"one of {', '.join(KINDS)}")
    if refine < 0 or steps <= refine:
        raise Refused(
            "steps",
            f"{steps} with {refine} refinement steps leave no segment",
            f"{max(refine, 0) + 1} or more",
            "add steps, or use fewer refinement steps",
        )
    if steps > timesteps:
        raise Refused("steps", f"{steps}, but the model has {timesteps} levels", f"at most {timesteps}")
    if sigmas is not None and len(sigmas) != timesteps:
        raise Refused("sigmas", f"a table of {len(sigmas)} levels", f"timesteps, {timesteps}")
