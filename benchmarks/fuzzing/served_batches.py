"""Batches on a simulated server, with a damaged workflow, job, node definition or answer."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import yaml
from anomaly_synthesis.batch import commands, runner
from anomaly_synthesis.batch.client import Timing
from anomaly_synthesis.tests.unit.simulated_server import OBJECT_INFO, PROMPT, Simulated

from .mutations import json_bytes, mutated_bytes, mutated_json, mutated_text, value

_FAST = Timing(answer=0.5, poll=0.05, poll_blind=0.02, retry=0.02, retry_most=0.05, grace=0.2, start=0.3, tick=0.02)
GRAPH = {
    "nodes": [
        {
            "id": 1,
            "type": "MakePair",
            "mode": 0,
            "widgets_values": [0, "randomize", 24, "scratch", "small.safetensors"],
            "inputs": [],
            "outputs": [{"name": "image", "type": "IMAGE", "links": [7]}],
        },
        {"id": 3, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 7}], "outputs": [{"type": "IMAGE"}]},
        {
            "id": 4,
            "type": "SaveImage",
            "mode": 4,
            "inputs": [{"name": "images", "type": "IMAGE", "link": 8}],
            "outputs": [{"type": "IMAGE"}],
            "widgets_values": ["y"],
        },
        {
            "id": 2,
            "type": "SaveImage",
            "title": "Result",
            "inputs": [{"name": "images", "type": "IMAGE", "link": 9}],
            "widgets_values": ["x"],
        },
        {"id": 5, "type": "PrimitiveNode", "widgets_values": [1, "fixed"], "outputs": [{"type": "INT"}]},
    ],
    "links": [[7, 1, 0, 3, 0, "IMAGE"], [8, 3, 0, 4, 0, "IMAGE"], {"id": 9, "origin_id": 3, "origin_slot": 0}],
    "definitions": {"subgraphs": [{"id": "x"}]},
    "version": 0.4,
}
JOB = {
    "workflow": "workflow.json",
    "out": "pairs",
    "count": 3,
    "seed": 0,
    "kinds": [{"object": "plate", "type": ["scratch", "dent"]}],
    "inputs": {"Make Pair": {"seed": {"item": 0}, "type": {"kind": "type"}, "size": {"each": [24, 16]}}},
    "results": {
        "image": "Result",
        "mask": {"node": "1", "output": "mask"},
        "normal": {"node": "1", "output": "normal"},
        "object": {"kind": "object"},
        "type": {"node": "1", "output": "words"},
    },
    "record": {"note": {"node": "1", "output": "words", "field": "made"}},
    "limits": {"tries": 1, "seconds": 2},
}


class Batches:
    """`batch` with one of its inputs damaged, then `status`, `export` and `resume`."""

    def prepare(self) -> None:
        """Start one server for all inputs, and shorten the waiting times."""
        runner.Timing = commands.Timing = lambda **_: _FAST
        self._server = Simulated()
        self._server.__enter__()

    def meet(self, rng: random.Random, folder: Path, met) -> None:
        server = self._server
        server.info, server.histories, server.views, server.garbage = OBJECT_INFO, {}, {}, set()
        job = {**JOB, "servers": [server.url], "record": rng.choice(({}, JOB["record"]))}
        (folder / "workflow.json").write_text(json.dumps(rng.choice((PROMPT, GRAPH))))
        (folder / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
        act = rng.randrange(6)
        if act == 0:
            graph = mutated_json(rng, json.loads((folder / "workflow.json").read_text()))
            (folder / "workflow.json").write_bytes(json_bytes(rng, graph))
        elif act == 1:
            server.info = mutated_json(rng, OBJECT_INFO)
        elif act == 2:
            self._damage_answers(rng)
        elif act == 3:
            _damage_job(rng, folder / "job.yaml", job)
        if act < 4 or not self._ran(folder, met):
            met.command("batch", folder / "job.yaml", *(["--dry-run"] if rng.random() < 0.2 else []))
        elif act == 4:
            _damage_table(rng, folder)
        else:
            _damage_manifest(rng, folder / "pairs" / "manifest.jsonl")
        for again in ("status", "resume", "resume"):
            met.command("batch", again, folder / "job.yaml", *(["--json"] if again == "status" else []))
        met.command("batch", "export", folder / "job.yaml", "--to", folder / rng.choice(("a.csv", "a.jsonl")))

    def _ran(self, folder: Path, met) -> bool:
        return met.command("batch", folder / "job.yaml") == 0

    def _damage_answers(self, rng: random.Random) -> None:
        from aiohttp import web

        item = rng.randrange(3)
        changed = rng.randrange(2**32)

        def history(entry):
            drawn = random.Random(changed)
            kept = {key: entry[key] for key in ("outputs", "status")}
            entry = mutated_json(drawn, kept) if drawn.random() < 0.8 else value(drawn)
            return json_bytes(drawn, {"x": entry}) if drawn.random() < 0.1 else entry

        async def view(request):
            drawn = random.Random(changed)
            data = self._server._files.get(request.query["filename"], b"")
            return web.Response(
                body=mutated_bytes(drawn, data), status=drawn.choice((200, 200, 200, 404, 500, 302, 503))
            )

        if rng.random() < 0.7:
            self._server.histories = {item: history}
        else:
            self._server.views = {item: view}


def _damage_job(rng: random.Random, path: Path, job: dict) -> None:
    changed = mutated_json(rng, job)
    try:
        text = yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
    except (RecursionError, ValueError):
        text = "a: [" * 500
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(mutated_text(rng, data) if rng.random() < 0.3 else data)


def _damage_table(rng: random.Random, folder: Path) -> None:
    beside = folder / "pairs.batch"
    for name in rng.choice((["items.sqlite"], ["items.sqlite-wal"], ["report.html"], ["lock.sqlite"])):
        if (beside / name).is_file():
            (beside / name).write_bytes(mutated_bytes(rng, (beside / name).read_bytes()))
    if rng.random() < 0.2:
        shutil.rmtree(beside / "spool", ignore_errors=True)


def _damage_manifest(rng: random.Random, path: Path) -> None:
    lines = path.read_bytes().splitlines() if path.is_file() else []
    if lines:
        at = rng.randrange(len(lines))
        lines[at] = json_bytes(rng, mutated_json(rng, json.loads(lines[at]))).replace(b"\n", b" ")
        path.write_bytes(b"\n".join(lines) + b"\n")
