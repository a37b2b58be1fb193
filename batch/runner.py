"""Runs a job: one worker per server, one writer, one table between them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from ..datasets.batch_plan import PlanItem
from ..errors import Refused
from .check import add_results, local_file, problems_of
from .client import Busy, Redirected, Server, ServerGone, Timing, session
from .job import Job
from .problems import Problems
from .progress import Progress
from .table import SENT, Lock, Table
from .worker import Unfit, Worker
from .workflow import Workflow, build, read_workflow
from .writer import Writer

_log = logging.getLogger(__name__)
_BACK_OFF = 2.0  # seconds before an item's second try; twice as long before each further one
_HOPELESS = 20  # items set aside in a row, none done: the job itself is wrong
_LOOK = 64  # waiting items that are looked at for a claim
_CHECKED = 2  # results that are decoded at a time
_LOSSES = 50  # times that servers may lose an item's prompt before each further one counts against the item
_RESERVED = 10.0  # seconds that an item taken back from one server is reserved for the server that asked for it


class Runner:
    """One sitting of a job. `stopping`: no new work; `over`: nothing more to do."""

    def __init__(self, job: Job, timing: Timing | None = None, show: Callable[[Progress], None] | None = None) -> None:
        self.job, self.timing, self._show = job, timing or Timing(), show
        self.raw = read_workflow(job.workflow)
        self.workflow: Workflow | None = None
        self.workers: list[Worker] = []
        self.stopping = self.over = False
        self.ending = asyncio.Event()
        self._versions: dict[str, str] = {}
        self._delays: dict[int, float] = {}
        self._reserved: dict[int, tuple[Worker, float]] = {}
        self._lost: Counter[int] = Counter()
        self._in_a_row, self._last_error = 0, ""
        self.checking = asyncio.Semaphore(_CHECKED)  # decoded pictures take memory
        self._stop_words: str | None = None

    async def run(self, servers: tuple[str, ...]) -> dict[str, int]:
        """Work until every item is written or set aside, or the run is stopped; the items per state.

        Raises:
            Refused: another runner works on the job, or no server can run it; all problems are listed.
            OSError: the disk is full. What is fetched stays, `resume` goes on.
        """
        self.job.folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(self.job.folder)
        try:
            self.table = Table(self.job.folder / "items.sqlite")
            try:
                async with session() as http:
                    self.workers = [Worker(Server(url, http, self.timing, self.job.most), self) for url in servers]
                    await self._first_server()
                    self.table.plan(len(self.job.plan))
                    self.table.set_fact("stop", None)
                    self._release_strangers(servers)
                    self.writer = Writer(self.job, self.raw, self.table, self.files_of)
                    try:
                        with self._signals():
                            await self._sitting()
                    finally:
                        self.writer.release()
                return self.table.counts()
            finally:
                self.table.close()
        finally:
            lock.release()

    def stop(self, words: str | None = None) -> None:
        """Send nothing more, take back what does not run yet, let the rest end. words: why, raised at the end."""
        self._stop_words = self._stop_words or words
        self.stopping = True
        self.ending.set()
        self.wake_all()

    # What workers ask for.

    async def accept(self, worker: Worker, version: str) -> None:
        """Take a server into the run. Raises Unfit where it cannot run the job."""
        await self.examine(worker)
        self.table.set_fact(f"version {worker.server.url}", version)
        self._versions[worker.server.url] = version
        if len(set(self._versions.values())) > 1:
            versions = ", ".join(f"{url} {one}" for url, one in self._versions.items())
            _log.warning(
                "ComfyUI is of several versions (%s): a pair's bytes may depend on which server made it", versions
            )

    async def examine(self, worker: Worker) -> None:
        """Raises Unfit with all problems of the job on a server."""
        info = await worker.server.object_info()
        try:
            problems = self._build(info)
        except ValueError as error:
            raise Unfit(str(error)) from error
        if problems:
            raise Unfit("\n".join(f"  {problem}" for problem in problems))

    def claimable(self, worker: Worker, room: int) -> list[int]:
        """Items for a worker with that much room; near the end no more than its share of what is left."""
        now = time.monotonic()
        self._delays = {item: at for item, at in self._delays.items() if at > now}
        self._reserved = {item: held for item, held in self._reserved.items() if held[1] > now}
        if room < 1:
            return []
        items = [
            item
            for item in self.table.waiting(_LOOK + len(self._delays) + len(self._reserved))
            if item not in self._delays and self._reserved.get(item, (worker,))[0] is worker
        ]
        rates = [other.rate for other in self.workers]
        share = worker.rate / sum(rates) if sum(rates) and all(rates) else 1 / len(self.workers)
        return items[: min(room, max(1, round(share * len(items))))]

    async def steal_for(self, worker: Worker) -> None:
        """Nothing waits and a worker is idle: take one item back from the longest of the other servers' queues."""
        if self.stopping or self.table.waiting(1):
            return
        longest = max(
            (other for other in self.workers if other is not worker),
            default=None,
            key=lambda other: len(other.pending()),
        )
        if longest is None or not longest.pending():
            return
        prompt_id = longest.pending()[-1]
        item = self.table.item_of(prompt_id)
        if item is not None and item not in self._reserved:
            self._reserved[item] = (worker, time.monotonic() + _RESERVED)
            await longest.recall([prompt_id])

    def files_of(self, item: PlanItem) -> dict[str, Path]:
        """The item's results that are files of this machine."""
        files = {name: local_file(self.job, self.workflow, name, item) for name in self.job.pictures}
        return {name: path for name, path in files.items() if path is not None}

    def fetched(self) -> None:
        """An item's result is in the spool."""
        self._in_a_row = 0
        self.writer.more.set()

    def failed(self, item: int, error: str) -> None:
        """An item failed by its own fault: it waits for a while, or is set aside."""
        if self.table.failed(item, error, self.job.tries):
            tries = self.table.row(item).tries
            self._delays[item] = time.monotonic() + _BACK_OFF * self.timing.tick * 2 ** (tries - 1)
        else:
            self.set_aside(item)
        self.wake_all()

    def lost_again(self, item: int) -> str | None:
        """A server neither queues nor remembers an item's prompt; why this counts against the item, where it does."""
        self._lost[item] += 1
        return "lost its prompt again and again" if self._lost[item] > _LOSSES else None

    def set_aside(self, item: int) -> None:
        """An item is given up; the rest goes on, unless nothing else happens."""
        self._in_a_row += 1
        self._last_error = f"item {item}: {self.table.row(item).error}"
        if self._in_a_row >= _HOPELESS:
            self.stop(f"{self._in_a_row} items in a row were set aside; the last was {self._last_error}")
        self.writer.more.set()

    def wake_all(self) -> None:
        """Let every worker look for work."""
        for worker in self.workers:
            worker.wake.set()

    # The sitting.

    async def _first_server(self) -> None:
        """Wait until a server can run the job. Raises Problems with what is wrong with each."""
        end, notes, lost = time.monotonic() + self.timing.start, {}, set()  # lost: that no waiting helps
        while True:
            for worker in self.workers:
                try:
                    await self.accept(worker, await worker.server.version())
                    return
                except Unfit as error:
                    notes[worker.server.url] = f"cannot run this job:\n{error}"
                    lost.add(worker.server.url)
                except Redirected as error:
                    notes[worker.server.url] = f"cannot be used: {error}"
                    lost.add(worker.server.url)
                except (ServerGone, Busy) as error:
                    notes[worker.server.url] = str(error)
                    lost.discard(worker.server.url)
            if lost == notes.keys() or time.monotonic() > end:
                raise _unusable(notes)
            await asyncio.sleep(self.timing.retry)

    def _build(self, info: dict) -> list[str]:
        """The problems on a server; the first server's definitions decide the prompts of all."""
        if self.workflow is not None:
            return problems_of(self.job, Workflow(self.workflow.nodes, info))
        workflow = build(self.raw, info, self.job.workflow)
        problems = problems_of(self.job, workflow) + add_results(self.job, workflow)
        if not problems:
            self.workflow = workflow
        return problems

    def _release_strangers(self, servers: tuple[str, ...]) -> None:
        """Items that servers have which the job no longer names."""
        for row in list(self.table.rows(SENT)):
            if row.server not in servers:
                self.table.release(row.item)

    async def _sitting(self) -> None:
        writing = asyncio.ensure_future(self.writer.run())
        working = [asyncio.ensure_future(worker.serve()) for worker in self.workers]
        housekeeping = asyncio.ensure_future(self._housekeeping(working))
        try:
            pending = {writing, *working}
            while pending:
                done, _ = await asyncio.wait({*pending, housekeeping}, return_when=asyncio.FIRST_COMPLETED)
                pending -= done
                for task in done:
                    task.result()  # raises OSError
                if writing in done:
                    self.over = True
                    self.ending.set()
                    self.wake_all()
                elif not pending - {writing}:
                    self.writer.close()  # all servers are done with, or unfit
        finally:
            for task in (writing, housekeeping, *working):
                task.cancel()
            await asyncio.gather(writing, housekeeping, *working, return_exceptions=True)
            self._report()
        if self._stop_words:
            raise Refused(self.job.path, self._stop_words)
        if all(worker.unfit for worker in self.workers):
            raise _unusable({worker.server.url: worker.note for worker in self.workers})

    async def _housekeeping(self, working: list[asyncio.Task]) -> None:
        """Every tick: show progress, add up the time, take back queued prompts once stopping, hear `cancel`."""
        before, recalled = time.monotonic(), False
        while True:
            self._report()
            await asyncio.sleep(self.timing.tick)
            now = time.monotonic()
            self.table.set_fact("elapsed", float(self.table.fact("elapsed", 0.0)) + now - before)
            before = now
            if self.table.fact("stop"):
                self.stop()
            if self.stopping and not recalled:
                recalled = True
                for worker in self.workers:
                    await worker.recall(worker.pending())

    def _report(self) -> None:
        if self._show:
            self._show(Progress.of(self))

    @contextlib.contextmanager
    def _signals(self):
        """The first Ctrl-C stops cleanly; the second is Python's own, which stops at once."""
        loop = asyncio.get_running_loop()

        def first() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            self.stop()

        try:
            loop.add_signal_handler(signal.SIGINT, first)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            yield
            return
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)


def _unusable(notes: Mapping[str, str]) -> Problems:
    """notes: what is wrong with every server."""
    return Problems("servers", "\n".join(["no server can be used:", *(f"{url} {note}" for url, note in notes.items())]))
