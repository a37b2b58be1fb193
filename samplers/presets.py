"""Named settings of the AIAS sampler."""

from __future__ import annotations

_PRESETS: dict[str, tuple[dict, dict]] = {
    # FAST as published: uniform grid, FARM's estimate noised back into the state, off in the two refinement steps.
    "paper": (
        {"kind": "uniform", "refine": 2},
        {"order": 1, "eta": 1.0, "foreground_mode": "renoise", "foreground_until": 2},
    ),
    # Best on trained bases (benchmarks/README.md): an imperfect model profits from fresh noise, which eta = 0 lacks.
    "recommended": (
        {"kind": "quadratic", "refine": 2},
        {"order": 1, "eta": 1.0},
    ),
    # Best on an exact model at 6 to 10 steps.
    "fast": (
        {"kind": "half", "refine": 0},
        {"order": 2, "eta": 0.0, "pure_start": True, "correct": True},
    ),
}
PRESETS = tuple(_PRESETS)


def preset(name: str, steps: int) -> tuple[dict, dict]:
    """Keywords of `aias_grid` and of `sample_aias` for a preset.

    Args:
        name: one of PRESETS.
        steps: model calls in all; fewer than 3 leave out refinement steps.

    Raises:
        ValueError: unknown name.
    """
    if name not in _PRESETS:
        raise ValueError(f"AIAS preset: unknown name {name!r}; choose one of {', '.join(PRESETS)}.")
    grid, sampler = _PRESETS[name]
    return {"steps": steps, **grid, "refine": max(min(grid["refine"], steps - 1), 0)}, dict(sampler)
