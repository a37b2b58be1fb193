"""The report of a job as one HTML file without scripts, beside its table of items."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..datasets.pairs import MANIFEST, manifest_lines
from ..files.durable import write_atomic
from ..files.untrusted_json import JsonValue
from ..files.untrusted_text import lines_of
from .job import Job
from .table import FETCHED, SET_ASIDE, WRITTEN, Table

_SHOWN = 24
_SHOWN_KEYS = ("object", "type", "image", "mask", "normal")
_FAILURES = 500


def write_report(job: Job, table: Table) -> Path:
    """Write report.html into the job's folder; its path. Pictures are shown from the output folder, not copied."""
    counts = table.counts()
    elapsed = float(table.fact("elapsed", 0.0))
    kinds = Counter((line["object"], line["type"]) for line in _lines(job))
    tried = (row for row in table.rows() if row.tries or row.crashes)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_plain,  # of every value that the template shows
    )
    page = environment.get_template("report.html.jinja").render(
        written=counts[WRITTEN],
        waiting=counts[FETCHED],
        aside=counts[SET_ASIDE],
        counts=counts,
        source=job.path,
        out=job.out,
        minutes=f"{elapsed / 60:.1f}",
        per_hour=f"{counts[WRITTEN] / elapsed * 3600 if elapsed else 0:.0f}",
        servers=[
            (url, table.fact(f"version {url}", ""), made, f"{seconds or 0:.2f}")
            for url, made, seconds in table.by_server()
        ],
        kinds=[(*kind, count) for kind, count in sorted(kinds.items())],
        failures=[(row.item, row.state, row.tries, row.crashes, row.error or "") for row in islice(tried, _FAILURES)],
        pairs=_shown(job, kinds.total()),
    )
    path = job.folder / "report.html"
    write_atomic(path, page.encode())
    return path


def _plain(value: Any) -> str:
    """Names and errors come from others, so control characters become escapes; a macro's result went through here."""
    return value if isinstance(value, Markup) else lines_of(value)


def _lines(job: Job) -> Iterator[dict[str, str]]:
    """What is shown of every pair. Raises ValueError for a line of another form."""
    for number, line in enumerate(manifest_lines(job.out) if (job.out / MANIFEST).is_file() else (), 1):
        value = JsonValue(line, f"{job.out / MANIFEST}, line {number}")
        yield {"item": str(value.at("item").of(int)), **{key: value.at(key).text() for key in _SHOWN_KEYS}}


def _shown(job: Job, count: int) -> Iterator[dict]:
    """Some of so many pairs, from all of the run, with the addresses of their pictures."""
    root = Path(os.path.relpath(job.out, job.folder)).as_posix()
    step = max(1, count // _SHOWN)
    for line in islice(_lines(job), 0, _SHOWN * step, step):
        yield line | {"pictures": {key: quote(f"{root}/{line[key]}") for key in ("normal", "image", "mask")}}
