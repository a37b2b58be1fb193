"""The report of a job as one HTML file without scripts, beside its table of items."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from ..datasets.pairs import MANIFEST, manifest_lines
from ..files.durable import write_atomic
from ..files.untrusted_json import JsonValue
from ..files.untrusted_text import lines_of
from .job import Job
from .table import FETCHED, SET_ASIDE, WRITTEN, Table

_SHOWN = 24
_SHOWN_KEYS = ("object", "type", "image", "mask", "normal")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}figure{display:inline-block;margin:.3em}
figure img{height:128px;image-rendering:pixelated}figcaption{font-size:12px;color:#555}pre{white-space:pre-wrap}"""


def write_report(job: Job, table: Table) -> Path:
    """Write report.html into the job's folder; its path. Pictures are shown from the output folder, not copied."""
    counts = table.counts()
    elapsed = float(table.fact("elapsed", 0.0))
    per_hour = counts[WRITTEN] / elapsed * 3600 if elapsed else 0
    kinds = Counter((line["object"], line["type"]) for line in _lines(job))
    body = [
        f"<h1>{counts[WRITTEN]} of {sum(counts.values())} pairs</h1>",
        f"<p>{_text(job.path)} into {_text(job.out)}; {elapsed / 60:.1f} minutes of running, {per_hour:.0f} pairs an "
        f"hour; {counts[SET_ASIDE]} set aside.</p>",
        "<h2>States</h2>",
        _table(("state", "items"), counts.items()),
        "<h2>Servers</h2>",
        _table(
            ("server", "ComfyUI", "items", "seconds each"),
            [
                (url, table.fact(f"version {url}", ""), made, f"{seconds or 0:.2f}")
                for url, made, seconds in table.by_server()
            ],
        ),
        "<h2>Kinds</h2>",
        _table(("object", "type", "pairs"), [(*kind, count) for kind, count in sorted(kinds.items())]),
    ]
    tried = [
        (row.item, row.state, row.tries, row.crashes, row.error or "")
        for row in islice((row for row in table.rows() if row.tries or row.crashes), 500)
    ]
    if tried:
        body += ["<h2>Failures</h2>", _table(("item", "state", "tries", "crashes", "last error"), tried)]
    if counts[FETCHED]:
        body.append(f"<p>{counts[FETCHED]} pairs are fetched and wait for an earlier item.</p>")
    body += ["<h2>Pairs</h2>", *(_figure(job, line) for line in _shown(job, kinds.total()))]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>batch</title><style>{_STYLE}</style>"
    path = job.folder / "report.html"
    write_atomic(path, (page + "\n".join(body) + "</html>").encode())
    return path


def _lines(job: Job) -> Iterator[dict[str, str]]:
    """What is shown of every pair. Raises ValueError for a line of another form."""
    for number, line in enumerate(manifest_lines(job.out) if (job.out / MANIFEST).is_file() else (), 1):
        value = JsonValue(line, f"{job.out / MANIFEST}, line {number}")
        yield {"item": str(value.at("item").of(int)), **{key: value.at(key).text() for key in _SHOWN_KEYS}}


def _shown(job: Job, count: int) -> Iterator[dict]:
    """Some of so many pairs, from all of the run."""
    return islice(_lines(job), 0, _SHOWN * max(1, count // _SHOWN), max(1, count // _SHOWN))


def _figure(job: Job, line: dict) -> str:
    root = Path(os.path.relpath(job.out, job.folder)).as_posix()
    images = "".join(f'<img src="{quote(f"{root}/{line[key]}")}" alt="{key}">' for key in ("normal", "image", "mask"))
    caption = f"item {line['item']}: {_text(line['object'])} / {_text(line['type'])}"
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


def _table(head: tuple, rows) -> str:
    cells = (
        "".join(f"<td{' class=n' if isinstance(cell, int | float) else ''}>{_text(cell)}</td>" for cell in row)
        for row in rows
    )
    return (
        f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>"
        + "".join(f"<tr>{row}</tr>" for row in cells)
        + "</table>"
    )


def _text(value) -> str:
    return html.escape(lines_of(value))
