"""What cannot be used or done, with its parts as fields, and running out of memory in words that say what to lower."""

from __future__ import annotations

import errno


class Refused(ValueError):
    """Input that is not used. Rooms raise it without knowing who called; the door (a node, a command) adds its name.

    subject: what is refused: a setting's name, a tensor, a file's path; got: what it is; accepted: what it may be;
    remedy: what to do, beginning with a verb in lower case; door: who was called by the user, "" inside.
    """

    def __init__(self, subject: object, got: object = "", accepted: str = "", remedy: str = "", door: str = ""):
        super().__init__(subject, got, accepted, remedy, door)  # as they are, so that the error can be pickled
        self.subject, self.got, self.accepted, self.remedy, self.door = str(subject), str(got), accepted, remedy, door

    def __str__(self) -> str:
        """door: subject: got; accepted is this; do that."""
        return ": ".join(part for part in (self.door, self.words) if part) + "."

    @property
    def words(self) -> str:
        """The sentence without door and full stop."""
        what = "; ".join(part for part in (self.what, self.remedy) if part)
        return ": ".join(part for part in (self.subject, what) if part)

    @property
    def what(self) -> str:
        """got; accepted is this. For a list that has places of their own for the subject and the remedy."""
        parts = self.got, f"accepted is {self.accepted}" if self.accepted else ""
        return "; ".join(part for part in parts if part)

    def at(self, door: str) -> Refused:
        """The same, raised to whoever called this door; an outer door replaces an inner one."""
        return type(self)(self.subject, self.got, self.accepted, self.remedy, door)

    def of(self, subject: object) -> Refused:
        """The same about another subject: the file that a value came from, for example."""
        return type(self)(subject, self.got, self.accepted, self.remedy, self.door)


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
