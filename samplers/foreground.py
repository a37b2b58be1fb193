"""The foreground model inside the mask: how its estimate may enter a run, and when it leaves the denoiser nothing."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def replaces_model(mode: str, strength: float, mask: Tensor) -> bool:
    """At full strength inside a hard mask, with the background known outside, nothing is left of the model's x0."""
    return mode == "x0_blend" and strength == 1 and bool(((mask == 0) | (mask == 1)).all())


def check_foreground(
    foreground: Callable | None, mode: str, strength: float, mask: Tensor | None, deterministic: bool
) -> None:
    """Raise ValueError for a mode or strength that there is not, or one without a mask.

    Args:
        deterministic: whether the run builds on its own states (`pure_start`, `correct`), which `renoise` changes.
    """
    if foreground is None:
        return
    if mode not in ("x0_blend", "renoise"):
        raise ValueError(f"AIAS: foreground_mode is {mode!r}; choose x0_blend or renoise.")
    if not 0 <= strength <= 1 or (mode == "renoise" and strength not in (0, 1)):
        raise ValueError(f"AIAS: foreground_strength is {strength:g}; x0_blend takes 0 .. 1, renoise 0 or 1.")
    if mode == "renoise" and deterministic:
        raise ValueError("AIAS: renoise changes the states that pure_start and correct build on; use x0_blend.")
    if mask is None:
        raise ValueError("AIAS: a foreground came without a mask; connect the mask that it fills.")
