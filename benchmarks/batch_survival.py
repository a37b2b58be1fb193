"""Does a batch survive? Two ComfyUI processes, a runner, and kill -9 for all of them; then the pairs are compared.

    python -P benchmarks/batch_survival.py --comfyui path/to/ComfyUI --items 500

Run with the Python of `anomaly-synthesis batch`. The job is workflows/aias-synthesis.json with the bundled compact
base. It first runs undisturbed on both servers. In the second run the runner is killed 5 times and resumed, each server
is killed 3 times and restarted, all connections are cut 5 times (by a relay between runner and servers), and another
client fills both queues twice. The result must hold one pair for every item, byte for byte as in the undisturbed run;
exit code 1 if not. Only events during the run are counted: a short run may end before a server is back.

Last, --delay-items items of a node that only waits (a stand-in for a GPU that needs no processor) run on one server and
on two, to compare the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CUTS, FILLS, FILL = 5, 2, 25
WAIT_NODE = """
import time
class SurvivalWait:
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "wait", "tests"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "seconds": ("FLOAT", {}), "item": ("INT", {"max": 2**31})}}
    def wait(self, image, seconds, item):
        time.sleep(seconds)
        return (image,)
NODE_CLASS_MAPPINGS = {"SurvivalWait": SurvivalWait}
"""
PAIRS = """\
workflow: {workflow}
out: {out}
count: {items}
servers: {servers}
inputs:
  Load Defect Dataset:
    index: {{item: 0}}
  KSampler (AIAS):
    seed: {{seed: anomaly 0}}
    steps: {steps}
results:
  image: {{node: Compose Pair, output: image}}
  mask: {{node: Load Defect Dataset, output: mask}}
  normal: {{node: Load Defect Dataset, output: image}}
  object: {{node: Load Defect Dataset, output: object}}
  type: {{node: Load Defect Dataset, output: type}}
record:
  visibility: {{node: Compose Pair, output: scores, field: visibility}}
  visible: {{node: Compose Pair, output: scores, field: visible}}
"""
WAITS = """\
workflow: {workflow}
out: {out}
count: {items}
servers: {servers}
inputs:
  wait:
    item: {{item: 0}}
results: {{image: wait, mask: mask, normal: wait, object: plate, type: none}}
"""
WAIT_PROMPT = {
    "image": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0xFF8000}},
    "wait": {"class_type": "SurvivalWait", "inputs": {"image": ["image", 0], "seconds": 0.5, "item": 0}},
    "mask": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 64}},
}


class Host:
    """One ComfyUI process on a fixed port, which can be killed and started again, and the relay before it."""

    def __init__(self, comfyui: Path, python: str, base: Path) -> None:
        self.base, self._comfyui, self._python = base, comfyui, python
        for name in ("models", "input", "output", "custom_nodes/survival"):
            (base / name).mkdir(parents=True, exist_ok=True)
        (base / "custom_nodes" / "anomaly-synthesis").symlink_to(REPOSITORY)
        (base / "custom_nodes" / "survival" / "__init__.py").write_text(WAIT_NODE)
        self.port = _free_port()
        self.relay = Relay(self.port)

    @property
    def own_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            self._python,
            "main.py",
            "--cpu",
            "--listen",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--disable-auto-launch",
            "--disable-api-nodes",
            "--preview-method",
            "none",
            "--base-directory",
            str(self.base),
            "--database-url",
            f"sqlite:///{self.base}/comfyui.db",
        ]
        with (self.base / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._comfyui,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def wait(self, seconds: float = 300) -> None:
        """Wait until it answers."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                _call(self.own_url + "/system_stats")
                return
            if time.monotonic() > end or self._process.poll() is not None:
                raise SystemExit(f"ComfyUI did not start; see {self.base / 'server.log'}")
            time.sleep(0.3)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def fill(self, count: int) -> None:
        """Queue prompts of another client."""
        for item in range(count):
            prompt = json.loads(json.dumps(WAIT_PROMPT))
            prompt["wait"]["inputs"] |= {"seconds": 0.1, "item": 10**6 + item + int(time.monotonic() * 1000) % 10**6}
            prompt["shown"] = {"class_type": "PreviewImage", "inputs": {"images": ["wait", 0]}}
            with contextlib.suppress(OSError):
                _call(self.own_url + "/prompt", {"prompt": prompt})


class Relay:
    """Passes bytes between a port of its own and a server's, until it is asked to cut all connections."""

    def __init__(self, port: int) -> None:
        self._target, self._writers, self.cuts = port, set(), 0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._meet, "127.0.0.1", 0), self._loop).result()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        self.cuts += len(self._writers)
        for writer in list(self._writers):
            writer.transport.abort()

    async def _meet(self, reader, writer) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader, writer) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        with contextlib.suppress(OSError):
            writer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--comfyui", type=Path, required=True, metavar="DIR", help="folder of ComfyUI")
    parser.add_argument("--python", help="ComfyUI's Python (its .venv or venv)")
    parser.add_argument("--items", type=int, default=500, help="pairs to make (500)")
    parser.add_argument("--steps", type=int, default=2, help="sampling steps of each (2)")
    parser.add_argument("--runner-kills", type=int, default=5, help="kills of the runner (5)")
    parser.add_argument("--server-kills", type=int, default=3, help="kills of each server (3)")
    parser.add_argument("--delay-items", type=int, default=60, help="items of the waiting node, 0 for none (60)")
    parser.add_argument("--work", type=Path, help="folder to work in, which must be new (a temporary one)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    python = options.python or next(
        str(path) for name in (".venv", "venv") if (path := options.comfyui / name / "bin" / "python").exists()
    )
    work = options.work or Path(tempfile.mkdtemp(prefix="batch-survival-"))
    hosts = [Host(options.comfyui.resolve(), python, work / f"host-{number}") for number in (1, 2)]
    try:
        for host in hosts:
            host.start()
        for host in hosts:
            host.wait()
        found = survive(hosts, work, options)
        if options.delay_items:
            found |= scale(hosts, work, options.delay_items)
    finally:
        for host in hosts:
            host.kill()
    for key, value in found.items():
        print(f"{key:>24}  {value}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found["identical"] and found["lost"] == found["twice"] == 0 else 1


def survive(hosts: list[Host], work: Path, options: argparse.Namespace) -> dict:
    """Run the job undisturbed, then disturbed, and compare the results."""
    items, steps = options.items, options.steps
    workflow, servers = REPOSITORY / "workflows" / "aias-synthesis.json", [host.relay.url for host in hosts]
    jobs = {}
    for name in ("undisturbed", "disturbed"):
        jobs[name] = work / f"{name}.yaml"
        jobs[name].write_text(PAIRS.format(workflow=workflow, out=name, items=items, servers=servers, steps=steps))
    began = time.monotonic()
    runner = Runner(jobs["undisturbed"])
    if runner.wait():
        raise SystemExit(f"the undisturbed run failed: {runner.log.read_text()[-2000:]}")
    undisturbed = time.monotonic() - began
    print(f"undisturbed: {undisturbed:.0f} s", flush=True)
    began = time.monotonic()
    counts = disturb(hosts, Runner(jobs["disturbed"]), work / "disturbed", options)
    there = [content(work / name) for name in jobs]
    lines = [json.loads(line) for line in there[1]["manifest"]]
    seen = [line["item"] for line in lines]
    return {
        "items": items,
        "pairs": len(seen),
        "lost": items - len(set(seen)),
        "twice": len(seen) - len(set(seen)),
        "identical": there[0] == there[1],
        "undisturbed_s": round(undisturbed),
        "disturbed_s": counts.pop("s"),
        **counts,
    }


def disturb(hosts: list[Host], runner: Runner, out: Path, options: argparse.Namespace) -> dict:
    """Trigger the events, spread over the run; the count of each that happened."""
    began, counts = time.monotonic(), {"runner_kills": 0, "server_kills": 0, "cuts": 0, "fills": 0}

    def kill_runner() -> None:
        runner.kill()
        runner.resume()
        counts["runner_kills"] += 1

    def kill_server(host: Host) -> None:
        host.wait()  # for the restart after the previous kill
        host.kill()
        counts["server_kills"] += 1
        time.sleep(1)
        host.start()  # the next event does not wait for its first answer

    def cut() -> None:
        for host in hosts:
            host.relay.cut()
        counts["cuts"] += 1

    def fill() -> None:
        for host in hosts:
            host.fill(FILL)
        counts["fills"] += 1

    events = _mixed(
        [kill_runner] * options.runner_kills,
        [lambda: kill_server(hosts[0])] * options.server_kills,
        [lambda: kill_server(hosts[1])] * options.server_kills,
        [cut] * CUTS,
        [fill] * FILLS,
    )
    for number, event in enumerate(events):
        while written(out) < (number + 0.5) / len(events) * options.items * 0.9 and runner.alive():
            time.sleep(0.05)
        if not runner.alive():
            break
        print(f"{time.monotonic() - began:6.0f} s  {written(out):5d} pairs  event {number + 1}", flush=True)
        event()
    code = runner.wait()
    for host in hosts:
        host.wait()
    if code:
        print(runner.log.read_text()[-3000:], file=sys.stderr)
    return {
        **counts,
        "connections_cut": sum(host.relay.cuts for host in hosts),
        "exit_code": code,
        "s": round(time.monotonic() - began),
    }


def scale(hosts: list[Host], work: Path, items: int) -> dict:
    """Rates of the waiting job on one server and on two, from first to last pair, without the start-up."""
    workflow, rates = work / "wait.json", []
    workflow.write_text(json.dumps(WAIT_PROMPT))
    for count in (1, 2):
        job = work / f"wait-{count}.yaml"
        job.write_text(
            WAITS.format(
                workflow=workflow, out=f"wait-{count}", items=items, servers=[host.relay.url for host in hosts[:count]]
            )
        )
        runner = Runner(job)
        while written(work / f"wait-{count}") < 1 and runner.alive():
            time.sleep(0.01)
        began, first = time.monotonic(), written(work / f"wait-{count}")
        while written(work / f"wait-{count}") < items and runner.alive():
            time.sleep(0.01)
        rates.append((items - first) / (time.monotonic() - began))
        runner.wait()
    return {
        "one_server_per_s": round(rates[0], 3),
        "two_servers_per_s": round(rates[1], 3),
        "ratio": round(rates[1] / rates[0], 3),
    }


class Runner:
    """The command, as a process."""

    def __init__(self, job: Path) -> None:
        self._job, self.log = job, job.with_suffix(".log")
        self._start("run")

    def _start(self, action: str) -> None:
        code = "import sys; from anomaly_synthesis import cli; sys.exit(cli.main(sys.argv[1:]))"
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, "batch", action, str(self._job)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def resume(self) -> None:
        self._start("resume")

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait(self) -> int:
        return self._process.wait()


def content(folder: Path) -> dict:
    """The content of a folder of pairs, without the manifest's seconds."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = [json.loads(line) for line in found.pop("manifest.jsonl").splitlines()]
    return {**found, "manifest": [json.dumps({**line, "seconds": None}) for line in lines]}


def written(out: Path) -> int:
    path = out / "manifest.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _mixed(*kinds: list[Callable[[], None]]) -> list[Callable[[], None]]:
    """The events interleaved, so that each kind is spread over the whole run."""
    placed = [
        ((place + 0.5) / len(kind), order, event)
        for order, kind in enumerate(kinds)
        for place, event in enumerate(kind)
    ]
    return [event for _, _, event in sorted(placed, key=lambda one: one[:2])]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _call(url: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        return json.loads(answer.read() or "null")


if __name__ == "__main__":
    sys.exit(main())
