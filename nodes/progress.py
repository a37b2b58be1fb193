"""Progress of work item by item, which the user can interrupt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import comfy.model_management
import comfy.utils

from ..files.progress import reported


def progress() -> Callable[[int, int], None]:
    """report(done, total): shows it on the node, and stops where the user interrupts."""
    bar = comfy.utils.ProgressBar(1)

    def report(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return report


def passes() -> AbstractContextManager[None]:
    """Every pass over many files in this block is shown on the node, one after the other, and can be interrupted."""
    report = progress()
    return reported(lambda _, done, of: report(done, of))
