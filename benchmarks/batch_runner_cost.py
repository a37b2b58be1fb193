"""What the runner of a batch costs beside the servers: processor time per item, and memory for plans of any length.

    path/to/python -P benchmarks/batch_runner_cost.py --out batch_runner_cost.json

The server is the tests' simulated one in a process of its own, which answers at once with pairs of --size pixels
square. Each run has a plan of 100, 1,000, ... items, of which at most --items are made. Reported are the runner's own
processor seconds per item (without the start of the process), how much of that is reading and writing PNG (three
pictures are read and a mask is written; the other two keep the server's compressed pixels), and its resident memory
after a tenth of the items and at the end. With --there the folder already holds that many pairs of the plan, as after
an interrupted run: this shows the cost late in a long plan without hours of running; start_s is the time to open them.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
JOB = """\
workflow: workflow.json
out: pairs-{count}
count: {count}
servers: {url}
limits: {{ahead: 64}}
inputs:
  Make Pair:
    seed: {{item: 0}}
    size: {size}
results: {{image: Result, mask: {{node: 1, output: mask}}, normal: {{node: 1, output: normal}}, object: a, type: b}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--items", type=int, default=1000, help="items that are made of every plan, at most (1000)")
    parser.add_argument("--plans", type=int, nargs="+", default=[100, 1000, 10_000, 100_000], help="items of the plans")
    parser.add_argument("--there", type=int, default=0, help="pairs of every plan that are there already (0)")
    parser.add_argument("--size", type=int, default=256, help="pixels of a picture's side (256)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batch-cost-") as folder:
        rows = measure(Path(folder), options)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


def measure(folder: Path, options: argparse.Namespace) -> list[dict]:
    """Run every plan and return its costs."""
    (folder / "workflow.json").write_text(json.dumps(_simulated().PROMPT))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    url, rows = _received(ours, server), []
    for count in options.plans:
        path = folder / f"{count}.yaml"
        path.write_text(JOB.format(count=count, url=url, size=options.size))
        if options.there:
            _in_a_process(context, path, 1, ours, theirs)
            _multiply(folder / f"pairs-{count}", options.there)
        items = min(count, options.there + options.items)
        rows.append({"planned": count, "there": options.there, **_in_a_process(context, path, items, ours, theirs)})
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
        shutil.rmtree(folder / f"pairs-{count}")
    server.kill()
    return rows


def _in_a_process(context, path: Path, items: int, ours, theirs) -> dict:
    runner = context.Process(target=_run, args=(path, items, theirs))
    runner.start()
    received = _received(ours, runner)
    runner.join()
    return received


def _multiply(out: Path, count: int) -> None:
    """Fill a folder up to `count` pairs with copies of its last pair under new names."""
    manifest = out / "manifest.jsonl"
    lines = manifest.read_text().splitlines()
    last = json.loads(lines[-1])
    for index in range(len(lines), count):
        line = {**last, "index": index, "item": index}
        for key in ("image", "mask"):
            line[key] = last[key].replace(f"{last['item']:06d}", f"{index:06d}")
            shutil.copyfile(out / last[key], out / line[key])
        lines.append(json.dumps(line))
    manifest.write_text("\n".join(lines) + "\n")


def _received(pipe, process):
    """What a process sends; its error is raised here too."""
    while not pipe.poll(1):
        if process.exitcode not in (None, 0):
            raise SystemExit(process.exitcode)
    return pipe.recv()


def _run(path: Path, items: int, pipe) -> None:
    """One run in a process of its own, stopped after `items` items."""
    from anomaly_synthesis.batch.job import read_job
    from anomaly_synthesis.batch.runner import Runner
    from anomaly_synthesis.datasets.pairs import manifest_lines
    from anomaly_synthesis.images import pictures

    starts: list[float] = []
    marks: dict[str, tuple[int, float, float, float, float]] = {}
    codec = [0.0]
    for name in ("_png", "_decode"):
        setattr(pictures, name, _timed(getattr(pictures, name), codec))

    def show(progress) -> None:
        starts.append(time.monotonic())
        made = progress.counts["written"] - there
        now = (made, time.process_time(), time.monotonic(), _resident(), codec[0])
        if made >= max((items - there) // 10, 1):
            marks.setdefault("first", now)
        if not runner.stopping:
            marks["last"] = now
        if made >= items - there:
            runner.stop()

    job, began = read_job(path), time.monotonic()
    there = sum(1 for _ in manifest_lines(job.out)) if job.out.exists() else 0
    runner = Runner(job, show=show)
    asyncio.run(runner.run(job.servers))
    last = marks["last"]
    first = marks.get("first", last)
    made = max(last[0] - first[0], 1)
    pipe.send(
        {
            "start_s": round(starts[0] - began, 1),
            "made": last[0],
            "cpu_ms_per_item": round((last[1] - first[1]) / made * 1000, 2),
            "of_it_png_ms": round((last[4] - first[4]) / made * 1000, 2),
            "wall_ms_per_item": round((last[2] - first[2]) / made * 1000, 2),
            "resident_mb_early": round(first[3], 1),
            "resident_mb_end": round(last[3], 1),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }
    )


def _timed(function, total: list[float]):
    def timed(*arguments):
        began = time.thread_time()
        try:
            return function(*arguments)
        finally:
            total[0] += time.thread_time() - began

    return timed


def _serve(pipe) -> None:
    with _simulated().Simulated() as server:
        server.grain = 8  # 256 x 256 of it make a file of 93 KB
        pipe.send(server.url)
        time.sleep(86400)


def _simulated():
    path = REPOSITORY / "tests" / "unit" / "simulated_server.py"
    spec = importlib.util.spec_from_file_location("simulated_server", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulated_server"] = module
    spec.loader.exec_module(module)
    return module


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
