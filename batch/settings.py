"""What can be set of a batch job beside what it makes."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import setting


@dataclass(frozen=True)
class Limits:
    """The job file's `limits`."""

    tries: int = setting(3, "Failures of an item before it is set aside.", low=1)
    seconds: float = setting(3600, "Longest run of one item.", low=1)
    ahead: int = setting(8, "Prompts in one server's queue.", low=1)
    megabytes: float = setting(64, "Largest file that a server may send.", low=1)
