"""What cannot be used or done, with its parts as fields, and running out of memory in words that say what to lower."""

from __future__ import annotations

import errno
from collections.abc import Mapping


class Refused(ValueError):
    """Input that is not used. Rooms raise it without knowing who called; the door (a node, a command) adds its name.

    subject: what is refused: a setting's name, a tensor, a file's path; got: what it is; accepted: what it may be;
    remedy: what to do, beginning with a verb in lower case; door: who was called by the user, "" inside; unless: name
    of the setting with which it would be accepted.
    """

    def __init__(
        self,
        subject: object,
        got: object = "",
        accepted: str = "",
        remedy: str = "",
        door: str = "",
        unless: str = "",
    ):
        super().__init__(subject, got, accepted, remedy, door, unless)  # as they are, so that it can be pickled
        self.subject, self.got, self.accepted, self.remedy, self.door = str(subject), str(got), accepted, remedy, door
        self.unless = unless

    def __str__(self) -> str:
        """door: subject: got; accepted is this; do that."""
        return ": ".join(part for part in (self.door, self.words) if part) + "."

    @property
    def words(self) -> str:
        """The sentence without door and full stop."""
        remedy = ", or ".join(part for part in (self.remedy, self.unless and f"use {self.unless}") if part)
        what = "; ".join(part for part in (self.what, remedy) if part)
        return ": ".join(part for part in (self.subject, what) if part)

    @property
    def what(self) -> str:
        """got; accepted is this. For a list that has places of their own for the subject and the remedy."""
        parts = self.got, f"accepted is {self.accepted}" if self.accepted else ""
        return "; ".join(part for part in parts if part)

    def at(self, door: str) -> Refused:
        """The same, raised to whoever called this door; an outer door replaces an inner one."""
        return type(self)(self.subject, self.got, self.accepted, self.remedy, door, self.unless)

    def of(self, subject: object) -> Refused:
        """The same about another subject: the file that a value came from, for example."""
        return type(self)(subject, self.got, self.accepted, self.remedy, self.door, self.unless)

    def with_names(self, names: Mapping[str, str]) -> Refused:
        """The same with a door's own names of settings, its flags for example."""
        subject, unless = (names.get(name, name) for name in (self.subject, self.unless))
        return type(self)(subject, self.got, self.accepted, self.remedy, self.door, unless)


def reason(error: BaseException) -> str:
    """What an error says, on one line and without a full stop, for a refusal of what holds its cause: a file, a job."""
    if isinstance(error, Refused):
        return error.words
    text = str(error).partition("\nException raised from")[0]  # torch goes on with places in its own code
    return " ".join(text.split())[:300].removesuffix(".") or type(error).__name__


_CLASSES = ("OutOfMemoryError", "MemoryError", "_ArrayMemoryError")  # torch's by device, Python's, numpy's
# What torch's allocators say in a plain RuntimeError.
_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "could not allocate",  # DirectML
    "alloc_failed",
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
