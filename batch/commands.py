"""What the `batch` command does; each returns or prints its result as text."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..files.durable import open_atomic
from ..files.folder_lock import holder
from ..files.untrusted_text import csv_cell, lines_of, one_line
from .client import Busy, Server, ServerGone, Timing, session
from .job import Job, read_job
from .problems import Problems
from .progress import Progress
from .report import write_report
from .runner import Runner
from .table import SENT, SET_ASIDE, WAITING, WRITTEN, Lock, Table
from .worker import Unfit, Worker
from .writer import items_of

Show = Callable[[Progress], None]
_CLUSTER_START = 600  # seconds: the ComfyUIs of a cluster begin with the run, on machines that may be busy


def run_command(options: argparse.Namespace, write: Callable[[str], object], terminal: bool) -> None:
    """Do what the arguments of `arguments.add_arguments` ask for; words go to `write`."""
    if options.action == "status":
        words = status(options.job, options.json)
    elif options.action == "cancel":
        words = cancel(options.job)
    elif options.action == "export":
        words = export(options.job, options.to)
    elif options.dry_run:
        words = dry_run(options.job)
    else:
        show = ProgressLine(write, terminal)
        try:
            words = run_batch(options.job, show, options.action == "resume", options.retry, options.ray)
        finally:
            show.end()
    write(f"{lines_of(words)}\n")


def run_batch(
    path: str | Path,
    show: Show,
    resume: bool = False,
    retry: bool = False,
    ray: str | None = None,
    timing: Timing | None = None,
) -> str:
    """Start a job, or go on with one.

    Args:
        show: called every second with the progress.
        resume: go on; retry: with the items that were set aside, too.
        ray: address of a Ray cluster that starts the servers, instead of the job's own.

    Returns:
        What came of it.

    Raises:
        Refused: a job that cannot run, one that was started before (or, to resume, was not); OSError: disk full.
    """
    job = read_job(path)
    started = (job.folder / "items.sqlite").is_file()
    if started and not resume:
        raise Refused(job.folder, "this job was started before", remedy=f"go on with `batch resume {path}`")
    if resume and not started:
        raise Refused(job.folder, "this job was not started", remedy=f"start it with `batch {path}`")
    if retry:
        with _table(job, alone=True) as table:
            table.retry_set_aside()
    timing = timing or (Timing(start=_CLUSTER_START) if ray else None)
    try:
        asyncio.run(_run(Runner(job, timing, show), job, ray))
    except (ValueError, OSError):
        with contextlib.suppress(ValueError, OSError):  # not started, or a full disk: the first error is the one raised
            _reported(job)
        raise
    return _reported(job)


def _reported(job: Job) -> str:
    with _table(job) as table:
        return f"{_summary(job, table.counts())}\n{write_report(job, table)}"


async def _run(runner: Runner, job: Job, ray: str | None) -> dict[str, int]:
    if ray is None:
        if not job.servers:
            raise Refused(job.path, "no servers", remedy="name some, or start them on a Ray cluster")
        return await runner.run(job.servers)
    from .cluster import Cluster

    async with Cluster(job, ray) as cluster:
        return await runner.run(cluster.servers)


def dry_run(path: str | Path, timing: Timing | None = None) -> str:
    """Check a job against its servers, and show its plan and how long it may take. Raises Refused: all problems."""
    job = read_job(path)
    found = asyncio.run(_probe(Runner(job, timing), job))
    lines = [f"{len(job.plan)} items: {job.plan.count} of each of {len(job.plan.kinds)} kinds, into {job.out}"]
    lines += [f"  {url}: {note}" for url, note in found.items()]
    for index in sorted({0, 1, len(job.plan) - 1}):
        if index < len(job.plan):
            values = {f"{node}.{name}": str(value) for (node, name), value in job.values(job.plan.item(index)).items()}
            shown = ", ".join(f"{key} = {one_line(value)}" for key, value in values.items())
            lines.append(f"  item {index}: {shown or '-'}")
    return "\n".join([*lines, _estimate(job)])


async def _probe(runner: Runner, job: Job) -> dict[str, str]:
    """How each server is. Raises Refused where one cannot run the job, or none answers."""
    found, problems = {}, []
    async with session() as http:
        for url in job.servers:
            worker = Worker(Server(url, http, runner.timing), runner)
            try:
                version = await worker.server.version()
                await runner.examine(worker)
                running, pending = await worker.server.queue()
                found[url] = f"ComfyUI {version}, {len(running) + len(pending)} prompts in its queue"
            except Unfit as error:
                problems.append(f"{url} cannot run this job:\n{error}")
            except (ServerGone, Busy) as error:
                found[url] = f"NOT REACHED: {error}"
    if problems:
        raise Problems(job.path, "\n".join(problems))
    if runner.workflow is None:
        notes = [f"{url}: {note}" for url, note in found.items()]
        raise Problems(job.path, "\n".join(notes or [f"{job.path}: the job names no servers"]))
    return found


def _estimate(job: Job) -> str:
    if not (job.folder / "items.sqlite").is_file():
        hours = len(job.plan) / max(len(job.servers), 1) / 3600
        return f"time: {hours:.1f} h for every second that an item takes on one server; `status` measures it"
    with _table(job) as table:
        return f"time: {_time_left(table)}"


def status(path: str | Path, as_json: bool = False) -> str:
    """How far a job is. Raises Refused where it was not started."""
    job = read_job(path)
    with _table(job) as table:
        counts = table.counts()
        set_aside = [{"item": row.item, "error": row.error} for row in table.rows(SET_ASIDE)]
        servers = [{"server": url, "items": made, "mean_seconds": seconds} for url, made, seconds in table.by_server()]
        left = _time_left(table)
    running = _is_running(job)
    if as_json:
        return json.dumps({"running": running, "counts": counts, "servers": servers, "set_aside": set_aside})
    lines = [f"{'running' if running else 'not running'}; {_summary(job, counts)}", f"time: {left}"]
    lines += [f"  {row['server']}: {row['items']} items, {row['mean_seconds'] or 0:.2f} s each" for row in servers]
    lines += [f"  item {row['item']} was set aside: {one_line(row['error'])}" for row in set_aside[:20]]
    if len(set_aside) > 20:
        lines.append(f"  and {len(set_aside) - 20} more; `export` lists them all")
    return "\n".join(lines)


def cancel(path: str | Path) -> str:
    """Stop a job: through its runner, or without one by taking its prompts out of the servers' queues."""
    job = read_job(path)
    if _is_running(job):
        with _table(job) as table:
            table.set_fact("stop", "cancel")
        return "the runner was asked to stop; what runs now is finished and kept"
    with _table(job, alone=True) as table:
        rows = list(table.rows(SENT))
        notes = asyncio.run(_take_back({row.server for row in rows}, [row.prompt_id for row in rows if row.prompt_id]))
        for row in rows:
            table.release(row.item)
    return "\n".join([f"no runner; {len(rows)} items wait again", *notes])


async def _take_back(urls: set[str], prompt_ids: list[str]) -> list[str]:
    notes = []
    async with session() as http:
        for url in sorted(urls):
            server = Server(url, http, Timing(answer=10))
            try:
                await server.delete(prompt_ids)
                for prompt_id in prompt_ids:
                    await server.interrupt(prompt_id)  # only if it is the one that runs
            except (ServerGone, Busy) as error:
                notes.append(f"  {url}: {error}")
    return notes


def export(path: str | Path, to: str | Path) -> str:
    """Write every item as a row of a .csv, or a line of a .jsonl. Raises Refused for another name."""
    job, to = read_job(path), Path(to)
    if to.suffix not in (".csv", ".jsonl"):
        raise Refused(to, accepted="a name that ends in .csv or .jsonl")
    with _table(job) as table, open_atomic(to) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
        written = csv.DictWriter(file, _COLUMNS) if to.suffix == ".csv" else None
        if written:
            written.writeheader()
        count = 0
        for count, row in enumerate(_exported(job, table), 1):  # noqa: B007 - used below
            if written:
                written.writerow({name: csv_cell(value) for name, value in row.items()})
            else:
                file.write(json.dumps(row) + "\n")
    return f"{to}: {count} items"


_COLUMNS = [
    "item",
    "state",
    "object",
    "type",
    "image",
    "mask",
    "seed",
    "server",
    "tries",
    "crashes",
    "seconds",
    "digest",
    "error",
]
_OF_PAIRS = ("object", "type", "image", "mask")  # the columns that come from the manifest


def _exported(job: Job, table: Table) -> Iterator[dict[str, Any]]:
    lines = {}
    if table.counts()[WRITTEN]:
        for item, line in items_of(job.out).items():
            lines[item] = {name: line.at(name).text() for name in _OF_PAIRS}
    for row in table.rows():
        line = lines.get(row.item, {})
        yield {name: getattr(row, name, line.get(name)) for name in _COLUMNS}


def _summary(job: Job, counts: dict[str, int]) -> str:
    total, done, aside = sum(counts.values()), counts[WRITTEN], counts[SET_ASIDE]
    words = f"{done} of {total} pairs in {job.out}"
    if aside:
        words += f", {aside} set aside (`resume --retry` tries them again)"
    if done + aside < total:
        words += f", {total - done - aside} to do: `batch resume {job.path}`"
    return words


def _time_left(table: Table) -> str:
    counts, elapsed = table.counts(), float(table.fact("elapsed", 0.0))
    left = counts[WAITING] + counts[SENT]
    if not left:
        return f"{elapsed / 60:.1f} min, nothing left"
    if not counts[WRITTEN]:
        return f"{left} items left, none done yet"
    return f"{left} items left, about {left * elapsed / counts[WRITTEN] / 3600:.1f} h at the rate so far"


def _is_running(job: Job) -> bool:
    return holder(job.folder) is not None


@contextlib.contextmanager
def _table(job: Job, alone: bool = False) -> Iterator[Table]:
    """The job's table; `alone`: while no runner may start. Raises Refused where the job was not started."""
    if not (job.folder / "items.sqlite").is_file():
        raise Refused(job.folder, "this job was not started", remedy=f"start it with `batch {job.path}`")
    lock = Lock(job.folder) if alone else None
    table = Table(job.folder / "items.sqlite")
    try:
        yield table
    finally:
        table.close()
        if lock:
            lock.release()


class ProgressLine:
    """Shows progress on a terminal's one line, or in a log a line every ten seconds."""

    def __init__(self, write: Callable[[str], object], terminal: bool) -> None:
        self._write, self._terminal, self._last = write, terminal, -10.0

    def __call__(self, progress: Progress) -> None:
        if self._terminal:
            self._write(f"\r\x1b[K{one_line(progress.line())}"[: os.get_terminal_size().columns + 4])
        elif time.monotonic() - self._last >= 10:
            self._last = time.monotonic()
            self._write(f"{one_line(progress.line())}\n")

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            self._write("\n")
