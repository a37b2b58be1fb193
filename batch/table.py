"""The table of items: what state each is in, so that a killed runner finds everything again. SQLite, one file.

    waiting --claim--> sent --fetched--> fetched --written--> written
       ^                |
       +---- release ---+--- after `tries` failures ---> set_aside

A row is committed before the act that it records if the act can be found again (a prompt by its id), and after it
if the act itself is atomic (a file that was renamed). Nothing here looks at a clock: an item's lease ends when its
server is seen to have lost it, and a whole runner's when the next takes the lock.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused
from ..files import folder_lock
from ..files.untrusted_text import one_line

WAITING, SENT, FETCHED, WRITTEN, SET_ASIDE = STATES = ("waiting", "sent", "fetched", "written", "set_aside")
CRASHES = 10  # servers that an item may see die while it runs
_SCHEMA = """
create table if not exists items (
    item integer primary key, state text not null default 'waiting', tries integer not null default 0,
    crashes integer not null default 0, sendings integer not null default 0, server text, prompt_id text, seed integer,
    digest text, seconds real, error text);
create index if not exists by_state on items (state, item);
create table if not exists facts (key text primary key, value) without rowid;
"""
_BLOCK = 10_000
_WORDS = 4000  # characters of an error that are kept


@dataclass(frozen=True)
class Row:
    """One item; see the columns above."""

    item: int
    state: str
    tries: int
    crashes: int
    sendings: int
    server: str | None
    prompt_id: str | None
    seed: int | None
    digest: str | None
    seconds: float | None
    error: str | None


class Lock(folder_lock.Lock):
    """Held by the one runner of a job. Raises ValueError where another has it, with its process id."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            again=False,
            who="another runner works on this job",
            remedy="wait for it, or stop it with `batch cancel`",
        )


class Table:
    """The items of a job. Raises OSError where the disk is full or the file is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Commits survive the process's death; the machine's own death may undo the last ones, which only repeats work.
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._run("pragma journal_mode = wal")
        self._run("pragma synchronous = normal")
        with _readable(path):
            self._db.executescript(_SCHEMA)
        self._run("insert or ignore into facts values ('run', ?)", str(uuid.uuid4()))
        self.run_id = uuid.UUID(self.fact("run"))

    def close(self) -> None:
        self._db.close()

    def fact(self, key: str, default=None):
        """A value that is kept with the table."""
        found = self._run("select value from facts where key = ?", key).fetchone()
        return found[0] if found else default

    def set_fact(self, key: str, value) -> None:
        self._run("insert or replace into facts values (?, ?)", key, value)

    def plan(self, count: int) -> None:
        """Rows 0 .. count - 1. Raises Refused where there are more already: items are never taken back."""
        there = self._run("select count(*) from items").fetchone()[0]
        if there > count:
            raise Refused("count", f"the job had {there} items, now it has {count}", "a count that grows, not shrinks")
        for start in range(there, count, _BLOCK):
            with _readable(self.path):
                rows = ((item,) for item in range(start, min(start + _BLOCK, count)))
                self._db.execute("begin")
                self._db.executemany("insert into items (item) values (?)", rows)
                self._db.execute("commit")

    def counts(self) -> dict[str, int]:
        """Items per state."""
        found = dict(self._run("select state, count(*) from items group by state"))
        return {state: found.get(state, 0) for state in STATES}

    def waiting(self, at_most: int) -> list[int]:
        """The first items that wait."""
        return [
            row[0] for row in self._run("select item from items where state = 'waiting' order by item limit ?", at_most)
        ]

    def claim(self, item: int, server: str, seed: int | None) -> Row | None:
        """Lease a waiting item to a server, under a prompt id of this sending; None where it does not wait."""
        row = self.row(item)
        if row.state != WAITING:
            return None
        prompt_id = str(uuid.uuid5(self.run_id, f"{item}/{row.sendings}"))
        self._run(
            "update items set state = 'sent', server = ?, prompt_id = ?, seed = ?, sendings = sendings + 1 "
            "where item = ?",
            server,
            prompt_id,
            seed,
            item,
        )
        return self.row(item)

    def renamed(self, item: int, prompt_id: str) -> None:
        """The server gave the prompt an id of its own."""
        self._run("update items set prompt_id = ? where item = ?", prompt_id, item)

    def release(self, item: int, crashed: bool = False, error: str | None = None) -> bool:
        """Give a lease back; `crashed`: its server was lost while the item ran, which sets it aside after CRASHES.
        Whether it waits again."""
        crashes = self.row(item).crashes + crashed
        state = SET_ASIDE if crashes >= CRASHES else WAITING
        error = error and one_line(error, _WORDS)
        self._run(
            "update items set state = ?, crashes = ?, error = coalesce(?, error), prompt_id = null "
            "where item = ? and state = 'sent'",
            state,
            crashes,
            error,
            item,
        )
        return state == WAITING

    def failed(self, item: int, error: str, tries: int) -> bool:
        """Count a failure of the item's own, and set it aside at the last of `tries`. Whether it waits again."""
        there = self.row(item).tries + 1
        state = SET_ASIDE if there >= tries else WAITING
        self._run(
            "update items set state = ?, tries = ?, error = ?, prompt_id = null where item = ?",
            state,
            there,
            one_line(error, _WORDS),
            item,
        )
        return state == WAITING

    def fetched(self, item: int, digest: str, seconds: float | None) -> None:
        """Its result is on this machine's disk."""
        self._run(
            "update items set state = 'fetched', digest = ?, seconds = ?, error = null where item = ?",
            digest,
            seconds,
            item,
        )

    def written(self, item: int) -> None:
        """It is a pair of the output."""
        self._run("update items set state = 'written' where item = ?", item)

    def again(self, items: Iterable[int]) -> None:
        """Let items wait whatever they were: their result is not there."""
        self._many("update items set state = 'waiting', prompt_id = null where item = ?", items)

    def found_written(self, items: Iterable[int]) -> None:
        """The output has them."""
        self._many("update items set state = 'written' where item = ?", items)

    def retry_set_aside(self) -> int:
        """Let items that were set aside wait, with all their tries; how many."""
        return self._run(
            "update items set state = 'waiting', tries = 0, crashes = 0, error = null where state = 'set_aside'"
        ).rowcount

    def due(self) -> Row | None:
        """The first item that is neither written nor set aside: the next to write, once it is fetched."""
        firsts = [
            self._run("select min(item) from items where state = ?", state).fetchone()[0]
            for state in (WAITING, SENT, FETCHED)
        ]
        found = [item for item in firsts if item is not None]
        return self.row(min(found)) if found else None

    def item_of(self, prompt_id: str) -> int | None:
        """The item that a prompt was sent for."""
        found = self._run("select item from items where state = 'sent' and prompt_id = ?", prompt_id).fetchone()
        return found[0] if found else None

    def row(self, item: int) -> Row:
        return Row(*self._run("select * from items where item = ?", item).fetchone())

    def rows(self, *states: str) -> Iterator[Row]:
        """Items in order, of these states (all); other calls may come between."""
        last = -1
        marks = ", ".join("?" * len(states or STATES))
        while True:
            block = self._run(
                f"select * from items where state in ({marks}) and item > ? order by item limit 1000",
                *(states or STATES),
                last,
            ).fetchall()
            if not block:
                return
            yield from (Row(*values) for values in block)
            last = block[-1][0]

    def by_server(self) -> list[tuple[str, int, float | None]]:
        """(server, items it made, their mean seconds)."""
        return self._run(
            "select server, count(*), avg(seconds) from items where state in ('fetched', 'written') "
            "group by server order by server"
        ).fetchall()

    def _run(self, statement: str, *values) -> sqlite3.Cursor:
        with _readable(self.path):
            return self._db.execute(statement, values)

    def _many(self, statement: str, items: Iterable[int]) -> None:
        with _readable(self.path):
            self._db.execute("begin")
            self._db.executemany(statement, ((item,) for item in items))
            self._db.execute("commit")


class _readable:  # noqa: N801 - reads as the phrase `with _readable(path)`
    """SQLite's errors as an OSError that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, _) -> None:
        if isinstance(error, sqlite3.Error):
            raise OSError(f"{self._path}: the table of items cannot be used ({error})") from error
