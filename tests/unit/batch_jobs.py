"""Jobs for simulated servers, and what a folder of pairs holds, for tests of the batch room."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import yaml
from anomaly_synthesis.batch.client import Timing
from anomaly_synthesis.batch.job import read_job
from anomaly_synthesis.batch.runner import Runner

from .simulated_server import PROMPT

FAST = Timing(answer=0.6, poll=0.3, poll_blind=0.05, retry=0.05, retry_most=0.2, grace=0.5, start=3, tick=0.05)


def write_job(folder: Path, servers, count: int = 12, **changes) -> Path:
    """job.yaml and its workflow in a folder; changes replace keys, None removes one."""
    job = {
        "workflow": "workflow.json",
        "out": "pairs",
        "count": count,
        "servers": [server.url for server in servers] or None,
        "inputs": {"Make Pair": {"seed": {"item": 0}}},
        "results": {
            "image": "Result",
            "mask": {"node": "1", "output": "mask"},
            "normal": {"node": "1", "output": "normal"},
            "object": "plate",
            "type": "scratch",
        },
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "workflow.json").exists():
        (folder / "workflow.json").write_text(json.dumps(PROMPT))
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in job.items() if value is not None}, sort_keys=False))
    return path


def run(path: Path, timing: Timing = FAST, limit: float = 60, during=None) -> dict[str, int]:
    """Run a job to its end; `during`: a coroutine function of the runner that runs at the same time."""

    async def both() -> dict[str, int]:
        job = read_job(path)
        runner = Runner(job, timing)
        beside = asyncio.ensure_future(during(runner)) if during else None
        try:
            return await asyncio.wait_for(runner.run(job.servers), limit)
        finally:
            if beside:
                beside.cancel()

    return asyncio.run(both())


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder of pairs, and the manifest without seconds."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = [json.loads(line) for line in found.pop("manifest.jsonl").splitlines()]
    found["manifest"] = json.dumps([{**line, "seconds": None} for line in lines]).encode()
    return found
