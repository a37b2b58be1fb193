"""Checks of a refusal by its fields, not its sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from anomaly_synthesis.errors import Refused


@contextmanager
def refused(
    subject: str = "", got: str = "", accepted: str = "", remedy: str = "", door: str | None = None
) -> Iterator:
    """The block must raise Refused, and each pattern must match its field; `door` must be equal."""
    try:
        yield
    except Refused as error:
        for field, pattern in {"subject": subject, "got": got, "accepted": accepted, "remedy": remedy}.items():
            assert re.search(pattern, getattr(error, field)), f"{field} is {getattr(error, field)!r}, not {pattern!r}"
        assert door is None or error.door == door
    else:
        raise AssertionError("nothing was refused")
