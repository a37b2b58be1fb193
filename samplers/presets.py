"""Named settings of the AIAS sampler: one entry here, and its name in `choices.PRESETS`."""

from __future__ import annotations

from ..choices import PRESETS
from ..errors import Refused

# Predict and correct along levels that are spread about the data's own scale. The foreground model, made for the
# anomaly alone, stays down to t = 40: above that the denoiser still turns anomalies near the normal back to normal.
_FEW_LEVELS = {"kind": "half", "refine": 0}
_FEW_STEPS = {"order": 2, "pure_start": True, "correct": True, "foreground_until": 40}
NOISE_FROM = 10  # steps; with fewer they are so long that their noise costs at least as much as it gains

_PRESETS: dict[str, tuple[dict, dict]] = {
    # FAST as published: uniform grid, FARM's estimate noised back into the state, off in the two refinement steps.
    "paper": (
        {"kind": "uniform", "refine": 2},
        {"order": 1, "eta": 1.0, "foreground_mode": "renoise", "foreground_until": 2},
    ),
    # The few-step rule with some fresh noise, which forgets what an imperfect model or foreground did before.
    "recommended": (_FEW_LEVELS, {**_FEW_STEPS, "eta": 0.5}),
    # The rule without noise: best below NOISE_FROM steps, and where runs must not depend on noise.
    "fast": (_FEW_LEVELS, {**_FEW_STEPS, "eta": 0.0}),
}


def preset(name: str, steps: int) -> tuple[dict, dict]:
    """Keywords of `aias_grid` and of `sample_aias` for a preset.

    Args:
        name: one of PRESETS.
        steps: model calls in all; fewer than 3 leave out refinement steps, and `recommended` has noise from
            NOISE_FROM on.

    Raises:
        Refused: unknown name.
    """
    if name not in _PRESETS:
        raise Refused("preset", repr(name), f"one of {', '.join(PRESETS)}")
    if name == "recommended" and steps < NOISE_FROM:
        name = "fast"
    grid, sampler = _PRESETS[name]
    return {"steps": steps, **grid, "refine": max(min(grid["refine"], steps - 1), 0)}, dict(sampler)
