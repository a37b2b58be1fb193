"""Levels and windows of t as a node's text: "1000, 800, 600" and "1000-800, 400-300"."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import Refused
from ..samplers.graded_windows import Window, check_windows
from ..samplers.schedule import TIMESTEPS
from .errors import named

MAX_LEVELS = 20
_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"


def typed_levels(node: str, text: str) -> list[float]:
    """Levels in t of 0 .. 1000, as they stand. Raises ValueError for any other text, and for more than MAX_LEVELS."""
    found = [re.fullmatch(_NUMBER, entry) for entry in text.split(",")]
    levels = [_number(one[1]) for one in found if one]
    if len(levels) < len(found) or len(found) > MAX_LEVELS or not all(level <= TIMESTEPS for level in levels):
        raise Refused(
            "levels",
            repr(text),
            f"t of 0 to {TIMESTEPS}, {MAX_LEVELS} at most, with commas between, such as '1000, 800, 600'",
            door=node,
        )
    return levels


def typed_windows(node: str, text: str) -> tuple[Window, ...]:
    """Windows (hi, lo) in t; () for an empty text.

    Raises:
        ValueError: any other text; windows reversed, overlapping or out of range.
    """
    if not text.strip():
        return ()
    found = [re.fullmatch(f"{_NUMBER}-{_NUMBER}", entry) for entry in text.split(",")]
    if not all(found):
        raise Refused(
            "windows",
            repr(text),
            f"hi-lo in t of 0 to {TIMESTEPS}, the noisier end first, with commas between, such as '1000-800, 400-300', "
            "or nothing for no window",
            door=node,
        )
    windows = tuple((_number(one[1]), _number(one[2])) for one in found if one)
    with named(node):
        check_windows(windows)
    return windows


def in_order(typed: Callable, node: str, text: str | None) -> bool | str:
    """What `validate_inputs` answers to a widget's text: True, or what is wrong. None is for another node to tell."""
    try:
        if text is not None:
            typed(node, text)
    except ValueError as error:
        return str(error)
    return True


def _number(digits: str) -> float:
    """Whole numbers stay whole, so that errors show them as they were typed."""
    return float(digits) if "." in digits else int(digits)
