"""Progress of work item by item, which the user can stop."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_management
import comfy.utils


def progress() -> Callable[[int, int], None]:
    """report(done, total): tells the host, and stops where the user does."""
    bar = comfy.utils.ProgressBar(1)

    def report(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return report
