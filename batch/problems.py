"""Refusals of a job: several in one error, and what is wrong inside a file at its place."""

from __future__ import annotations

from ..errors import Refused, reason


class Problems(Refused):
    """All that is wrong with the subject; `got` is a list, one problem a line, and is shown as it is."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.door, self.got) if part)


def inside(place: object, error: ValueError) -> Refused:
    """An error from within a file, at its place there; what it was about is said after that."""
    if not isinstance(error, Refused):
        return Refused(place, reason(error))
    got = ": ".join(part for part in (error.subject, error.got) if part)
    return Refused(place, got, error.accepted, error.remedy)
