"""Running out of memory as an error that says what to lower, for the command line and for nodes alike."""

from __future__ import annotations

import errno

_CLASSES = ("OutOfMemoryError", "MemoryError", "_ArrayMemoryError")  # torch's by device, Python's, numpy's
# What torch's allocators say in a plain RuntimeError.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory", "alloc_failed")
COMMAND = "lower --batch, --resolution or --widths, make fewer or smaller images at once, or close other programs"
NODE = (
    "lower the batch (fewer images or masks at once, Load Defect Dataset's count), Crop to Mask's resolution, or the "
    "batch, crop or widths of training, or close other programs"
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that memory is used up, of any device."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if any(kind.__name__ in _CLASSES for kind in type(error).__mro__):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS):
            return True
        error = error.__cause__
    return False


def in_words(error: BaseException, remedy: str) -> str:
    """What is wrong in one line, and what to do."""
    text = " ".join(str(error).split())[:200]
    return f"out of memory{f' ({text})' if text else ''}; {remedy}."
