"""Feeds one server: as many prompts as its rate allows, each followed to its checked result on this disk."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import time
import uuid
from collections import deque
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import reason
from ..files.untrusted_json import JsonValue
from .check import placed
from .client import Busy, NotThere, PromptRejected, Server, ServerGone
from .results import Interrupted, ItemFailed, check, failure_of, fetch, seconds_of
from .table import SENT, Row
from .waiting import happened
from .watch import Lost, Watch

if TYPE_CHECKING:
    from .runner import Runner

_Answer = TypeVar("_Answer")
_AHEAD = 5  # seconds of work that a server's queue should hold
_RECENT = 64  # ends that the rate is measured over
_LOST = "was lost while it ran"


class Worker:
    """One server of a run. note: how it is, in words; made: its items in this sitting; unfit: it cannot run the job."""

    def __init__(self, server: Server, run: Runner) -> None:
        self.server, self.run = server, run
        self.note, self.made, self.unfit = "not reached yet", 0, False
        self.wake = asyncio.Event()
        self._ends: deque[float] = deque(maxlen=_RECENT)
        self._slots: dict[int, asyncio.Task] = {}
        self._storing: set[asyncio.Task] = set()
        self._uploaded: set[str] = set()
        self._crashed: dict[int, str] = {}  # item -> how the server was lost, where the item may be why
        self._watch: Watch | None = None
        self._takes_ids, self._fine = False, "ComfyUI"
        self._version: str | None = None
        self._closed_until = 0.0

    @property
    def rate(self) -> float:
        """Items a second lately; 0 before the second."""
        if len(self._ends) < 2:
            return 0.0
        return (len(self._ends) - 1) / max(time.monotonic() - self._ends[0], 1e-3)

    @property
    def fine(self) -> bool:
        """It works, and `note` is ComfyUI's version."""
        return self.note == self._fine

    @property
    def idle(self) -> bool:
        """It answers and has nothing to do."""
        return self._watch is not None and not self._slots

    async def serve(self) -> None:
        """Work until the run is over, through any number of the server's deaths. Raises OSError: this disk is full."""
        timing = self.server.timing
        wait, since = timing.retry, time.monotonic()
        while not self.run.over:
            made, trouble = self.made, None
            try:
                await self._join()
                await self._work()
                return
            except (ServerGone, Busy, Unfit) as error:
                trouble = error
            finally:
                await self._drop_slots()  # results stored meanwhile reset `note`
            if isinstance(trouble, Unfit):
                self.note, self.unfit = f"not used: {trouble}", True
                self._release_all()
                return
            self.note = f"away: {trouble}"
            if self.made > made:
                wait, since = timing.retry, time.monotonic()
            if time.monotonic() - since > timing.grace:
                self._release_all()
            if self.run.stopping:
                return
            self.wake.clear()
            await happened(self.run.ending, wait)
            wait = min(2 * wait, timing.retry_most)

    async def recall(self, prompt_ids: list[str]) -> None:
        """Take prompts that wait in the server's queue out of it; their items then wait for any server."""
        if prompt_ids and self._watch:
            with contextlib.suppress(ServerGone, Busy):
                await self.server.delete(prompt_ids)
            self._watch.look()

    def pending(self) -> list[str]:
        """Prompts in the server's queue that do not run yet."""
        return self._watch.pending() if self._watch else []

    async def _join(self) -> None:
        version = await self.server.version()
        if version != self._version:  # also one that was updated while it was away
            await self.run.accept(self, version)
            self._version = version
        self._uploaded.clear()  # another server may have come to the same address
        self.note = self._fine = f"ComfyUI {version}"

    async def _work(self) -> None:
        client_id = uuid.uuid4().hex
        async with Watch(self.server, client_id) as watch:
            self._watch = watch
            try:
                await self._adopt(client_id)
                while not self.run.over:
                    self._reap()
                    if self.run.stopping and not self._slots:
                        return
                    if watch.gone:
                        raise ServerGone("it no longer answers")
                    self._claim(client_id)
                    if self.idle:
                        await self.run.steal_for(self)
                    self.wake.clear()
                    await happened(self.wake, self.server.timing.tick)
            finally:
                self._watch = None

    async def _adopt(self, client_id: str) -> None:
        """Go on with what this server was sent before; take what nobody waits for out of its queue."""
        rows = [row for row in self.run.table.rows(SENT) if row.server == self.server.url]
        for row in rows:
            self._start(row, client_id, sent=True)
        _, pending = await self.server.queue()
        known = {row.prompt_id for row in rows}
        orphans = [
            prompt_id
            for prompt_id, mark in pending.items()
            if mark.get("run") == str(self.run.table.run_id) and prompt_id not in known
        ]
        if orphans and self._takes_ids:
            await self.server.delete(orphans)

    def _claim(self, client_id: str) -> None:
        if self.run.stopping or time.monotonic() < self._closed_until:
            return
        for item in self.run.claimable(self, self._room()):
            row = self.run.table.claim(item, self.server.url, self.run.job.seed(self.run.job.plan.item(item)))
            if row:
                self._start(row, client_id, sent=False)

    def _room(self) -> int:
        """How many more prompts the server's queue should hold: some seconds of work, at most the job's limit."""
        depth = min(self.run.job.ahead, 2 + math.ceil(self.rate * _AHEAD))
        return max(0, depth - len(self._slots))

    def _start(self, row: Row, client_id: str, sent: bool) -> None:
        task = asyncio.ensure_future(self._item(row, client_id, sent))
        task.add_done_callback(lambda _: self.wake.set())
        self._slots[row.item] = task

    def _reap(self) -> None:
        for item, task in list(self._slots.items()):
            if task.done():
                del self._slots[item]
                task.result()  # raises ServerGone, Unfit, OSError

    async def _drop_slots(self) -> None:
        for task in self._slots.values():
            task.cancel()
        await asyncio.gather(*self._slots.values(), *self._storing, return_exceptions=True)
        self._slots.clear()

    def _release_all(self) -> None:
        for row in list(self.run.table.rows(SENT)):
            if row.server == self.server.url:
                self._release(row.item)

    def _release(self, item: int, crash: str | None = None) -> None:
        """Let an item wait for any server; `crash`: why this counts against it, since it may be its own doing."""
        crash = self._crashed.pop(item, None) or crash
        error = f"{self.server.url} {crash}" if crash else None
        if not self.run.table.release(item, crash is not None, error):
            self.run.set_aside(item)
        self.run.wake_all()

    async def _item(self, row: Row, client_id: str, sent: bool) -> None:
        """A leased item's result into the spool. Raises ServerGone: the lease stays; Unfit; OSError: disk full."""
        item = row.item
        try:
            prompt_id = row.prompt_id if sent else await self._send(row, client_id)
            if prompt_id is None:
                return
            entry = await self._ended(row, prompt_id, sent)
            why = failure_of(entry)
            if why:
                raise ItemFailed(why)
            await self._keep(item, entry)
        except ItemFailed as error:
            self.run.failed(item, str(error))
        except PromptRejected as error:
            await self._refused(item, error)
        except Lost as lost:
            self._release(item, _LOST if lost.crashed else self.run.lost_again(item))
        except Interrupted:
            self._release(item, "had its run interrupted")
        except Busy as error:
            raise ServerGone(str(error)) from error
        except ServerGone as error:
            if error.crashed:
                self._crashed[item] = _LOST
            raise
        self._crashed.pop(item, None)

    async def _refused(self, item: int, error: PromptRejected) -> None:
        """A server that is another since it was examined refuses every item, and that is no failure of theirs."""
        self._uploaded.clear()
        try:
            await self.run.examine(self)
        except Unfit:
            self._release(item)
            raise
        self.run.failed(item, str(error))

    async def _send(self, row: Row, client_id: str) -> str | None:
        plan_item = self.run.job.plan.item(row.item)
        mark = self._mark(row)
        try:
            values = placed(self.run.job, self.run.workflow, plan_item)
            for place, value in values.items():
                if isinstance(value, Path):
                    values[place] = await self._upload(value)
            prompt, targets = self.run.workflow.prompt(values), sorted(set(self.run.workflow.targets.values()))
            given = await self._own(self.server.send(prompt, row.prompt_id, client_id, targets, mark), sent=row.item)
        except Busy as error:
            self._closed_until = time.monotonic() + self.server.timing.retry * 4
            self.note = f"full: {error}"
            self._release(row.item)
            return None
        self._takes_ids = given == row.prompt_id
        if not self._takes_ids:
            self.run.table.renamed(row.item, given)
        return given

    def _mark(self, row: Row) -> dict:
        return {"run": str(self.run.table.run_id), "item": row.item, "sending": row.sendings}

    async def _upload(self, path: Path) -> str:
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise ItemFailed(str(error)) from error
        # Named by its content, so that it never replaces another job's file.
        name = hashlib.sha256(data).hexdigest()[:24] + path.suffix.lower()
        if name not in self._uploaded:
            await self._own(self.server.upload(name, data))
            self._uploaded.add(name)
        return f"anomaly-synthesis-batch/{name}"

    async def _own(self, call: Awaitable[_Answer], sent: int | None = None) -> _Answer:
        """A call for one item alone. What fails while the server answers all else is the item's failure.

        sent: the item that it queues; where no answer came, the prompt may be queued all the same, so that the lease
        stays, and only counts against the item.
        Raises ItemFailed, ServerGone, and what else the call raises.
        """
        try:
            return await call
        except (ServerGone, NotThere, ValueError) as error:
            await self.server.version()
            await self.server.queue()
            if sent is not None and isinstance(error, ServerGone):
                self._crashed[sent] = f"did not take it: {error}"
                raise
            raise ItemFailed(reason(error)) from error

    async def _ended(self, row: Row, prompt_id: str, sent: bool) -> JsonValue:
        """The history entry of the prompt. Raises Lost, ServerGone, and ItemFailed where it runs too long."""
        watch = self._watch
        if sent:
            watch.look()
        end = asyncio.ensure_future(watch.ended(prompt_id))
        try:
            while not (await asyncio.wait({end}, timeout=self.server.timing.tick))[0]:
                seconds = watch.runs_since(prompt_id)
                if seconds is not None and seconds > self.run.job.seconds:
                    await self.server.interrupt(prompt_id)
                    raise ItemFailed(f"it ran longer than {self.run.job.seconds:g} s and was stopped")
            return end.result()
        except Lost:
            # A server that gives ids of its own may have it under one that never reached us.
            other = None if self._takes_ids or not sent else await self.server.found(self._mark(row))
            if other is None:
                raise
            self.run.table.renamed(row.item, other)
            return await watch.ended(other)
        finally:
            end.cancel()

    async def _keep(self, item: int, entry: JsonValue) -> None:
        raw = await self._own(self._fetched(entry))
        # What is here is kept, also where the server dies now and its other items are let go.
        storing = asyncio.ensure_future(self._store(item, raw, seconds_of(entry)))
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)
        await asyncio.shield(storing)

    async def _fetched(self, entry: JsonValue) -> dict[str, Any]:
        try:
            return await fetch(self.server, self.run.job, self.run.workflow.targets, entry)
        except Busy as error:  # a file that is never handed over must not keep the rest waiting
            raise ServerGone(str(error)) from error

    async def _store(self, item: int, raw: dict, seconds: float | None) -> None:
        run = self.run
        plan_item = run.job.plan.item(item)
        async with run.checking:
            pair = await asyncio.to_thread(check, run.job, plan_item, raw, run.files_of(plan_item))
        await asyncio.to_thread(run.writer.spool.put, item, raw)
        run.writer.hand(item, pair)
        run.table.fetched(item, pair.digest, seconds)
        self.made += 1
        self._ends.append(time.monotonic())
        self.note = self._fine
        run.fetched()


class Unfit(Exception):
    """The server cannot run the job's workflow."""
