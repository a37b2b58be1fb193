"""How far a run is, as one line of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..files.progress import duration
from ..files.untrusted_text import one_line
from .table import FETCHED, SENT, SET_ASIDE, WAITING, WRITTEN

if TYPE_CHECKING:
    from .runner import Runner


@dataclass(frozen=True)
class Progress:
    """counts: items per state; rate: items a second; servers: (address, items made, rate, trouble or "")."""

    counts: dict[str, int]
    rate: float
    servers: list[tuple[str, int, float, str]]
    stopping: bool

    @classmethod
    def of(cls, run: Runner) -> Progress:
        servers = [(one.server.url, one.made, one.rate, "" if one.fine else one.note) for one in run.workers]
        return cls(run.table.counts(), sum(rate for _, _, rate, _ in servers), servers, run.stopping)

    @property
    def seconds_left(self) -> float | None:
        """At the rate of now; None before there is one."""
        left = self.counts[WAITING] + self.counts[SENT]
        return left / self.rate if self.rate else None

    def line(self) -> str:
        """123/500  2.10/s  3.0 min left  127.0.0.1:8188 60 at 1.05/s ..."""
        done = self.counts[WRITTEN]
        parts = [f"{done}/{sum(self.counts.values())}", f"{self.rate:.2f}/s", duration(self.seconds_left)]
        if self.counts[FETCHED]:
            parts.append(f"{self.counts[FETCHED]} wait for their turn")
        if self.counts[SET_ASIDE]:
            parts.append(f"{self.counts[SET_ASIDE]} SET ASIDE")
        if self.stopping:
            parts.append("STOPPING")
        for url, made, rate, trouble in self.servers:
            address = url.partition("://")[2]
            state = one_line(trouble.partition("\n")[0], 60).upper() if trouble else f"at {rate:.2f}/s"
            parts.append(f"{address} {made} {state}")
        return "  ".join(parts)
