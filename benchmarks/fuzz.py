"""Does hostile input end in a clear error? Seeded inputs of every kind, read by the commands in a worker process.

    python -P benchmarks/fuzz.py --minutes 10 --seed 0

Every input is a folder that a target draws and damages (fuzzing/: datasets of every layout, folders of pairs, servers
and workflows, weights, pickles), and commands that read it. An exit code of 0, 1 or 2 passes. Faults are tracebacks
(any exception that the command does not turn into its error), hangs (an input that takes longer than --limit), memory
(beyond --memory GB), and control characters in the output. "Bare" errors carry only Python's own message, without what
was got and what to do: no fault, but worth a look. The first input at each place of an error is kept below --save with
its message, and can be drawn again with --one TARGET:NUMBER under the same --seed. Exit code 1 for any fault.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

FAULTS = ("traceback", "hang", "memory", "control characters")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BARE = re.compile(
    "unpack|invalid literal|could not convert|codec can't|embedded null|cannot convert|math domain|out of range|"
    "unhashable|not subscriptable|object has no|unexpected keyword|not supported between|argument must be"
)

_NAMED = re.compile(r"\w\.(pt|safetensors|ya?ml|jsonl?|csv|png|txt|xml|sqlite)\b|/input/")


class Fault(Exception):
    """A wrong reaction to an input."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", metavar="TARGET", help="of: " + ", ".join(_targets()))
    parser.add_argument("--limit", type=float, default=20, help="seconds an input may take (20)")
    parser.add_argument("--memory", type=float, default=6, help="GB of address space of the worker (6)")
    parser.add_argument("--save", default="fuzz-faults", metavar="DIR", help="where inputs with a fault are kept")
    parser.add_argument("--one", metavar="TARGET:NUMBER", help="this input alone")
    options = parser.parse_args()
    if options.one:
        target, number = options.one.rsplit(":", 1)
        inputs = iter([(target, int(number))])
    else:
        names = options.targets or list(_targets())
        inputs = ((name, number) for number in range(sys.maxsize) for name in names)
    counts = _run(inputs, options)
    names = sorted({name for name, _ in counts})
    print(f"\n{'target':10s} {'inputs':>8s} " + " ".join(f"{fault:>18s}" for fault in (*FAULTS, "bare")))
    for name in names:
        print(
            f"{name:10s} {counts[name, 'inputs']:8d} "
            + " ".join(f"{counts[name, fault]:18d}" for fault in (*FAULTS, "bare"))
        )
    faults = sum(counts[name, fault] for name in names for fault in FAULTS)
    print(f"{sum(counts[name, 'inputs'] for name in names)} inputs, {faults} faults, seed {options.seed}")
    return 1 if faults else 0


def _run(inputs, options: argparse.Namespace) -> Counter:
    counts: Counter = Counter()
    seen: set[str] = set()
    end = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        folder = Path(temporary)
        worker = None
        for name, number in inputs:
            if time.monotonic() > end:
                break
            worker = worker or _Worker(options)
            shutil.rmtree(folder / "input", ignore_errors=True)
            (folder / "input").mkdir()
            kind, words = worker.meet(name, number, folder / "input")
            if kind in ("hang", "memory"):
                worker.end()
                worker = None
            counts[name, "inputs"] += 1
            if kind == "fine":
                continue
            counts[name, kind] += 1
            last = words.strip().splitlines()[-1][:150] if words.strip() else ""
            places = [line.strip() for line in words.splitlines() if line.strip().startswith("File")]
            place = f"{kind} {places[-1] if places else last}"
            if place not in seen:  # each is shown once; all are counted
                seen.add(place)
                print(f"{kind}: {name}:{number}  {ascii(last)}", flush=True)
                kept = Path(options.save) / f"{name}-{number}"
                shutil.rmtree(kept, ignore_errors=True)
                with contextlib.suppress(OSError, shutil.Error):
                    shutil.copytree(folder / "input", kept, symlinks=True)
                kept.mkdir(parents=True, exist_ok=True)
                (kept / "fault.txt").write_text(f"{kind}, seed {options.seed}\n{words}", errors="backslashreplace")
        if worker:
            worker.end()
    return counts


class _Worker:
    """A process that reads one input after the other, and is killed if one hangs."""

    def __init__(self, options: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._limit, (self._pipe, other) = options.limit, context.Pipe()
        self._process = context.Process(target=_work, args=(other, options.seed, options.memory), daemon=True)
        self._process.start()
        other.close()
        self._pipe.recv()  # sent once everything is imported

    def meet(self, name: str, number: int, folder: Path) -> tuple[str, str]:
        """("fine", "bare" or a fault; the message)."""
        self._pipe.send((name, number, str(folder)))
        if not self._pipe.poll(self._limit):
            return "hang", f"longer than {self._limit:g} s"
        try:
            return self._pipe.recv()
        except EOFError:
            return "memory", "the worker died"

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _work(pipe, seed: int, memory: float) -> None:
    targets = _targets()
    for target in targets.values():
        target.prepare()
    resource.setrlimit(resource.RLIMIT_AS, (int(memory * 2**30),) * 2)
    pipe.send("ready")
    while True:
        name, number, folder = pipe.recv()
        rng, met = random.Random(f"{seed}/{name}/{number}"), Met()
        try:
            targets[name].meet(rng, Path(folder), met)
            pipe.send(("bare", met.bare) if met.bare else ("fine", ""))
        except MemoryError:
            pipe.send(("memory", traceback.format_exc()))
        except Fault as fault:
            pipe.send((fault.args[0], fault.args[1]))
        except BaseException:
            pipe.send(("traceback", traceback.format_exc()))


class Met:
    """Runs the readers of an input; `bare`: the last error that carries only Python's own message."""

    def __init__(self) -> None:
        self.bare = ""

    def command(self, *arguments: str | Path) -> int:
        """Run a command and return its exit code. Raises Fault, and any exception that the command does not catch."""
        from anomaly_synthesis import cli

        out = io.StringIO()
        code: int | str | None = 2
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
            code = cli.main(list(map(str, arguments)))
        text = out.getvalue()
        if code not in (0, 1, 2) or "Traceback" in text:
            raise Fault("traceback", f"exit code {code}\n{text}")
        if _CONTROLS.search(text.replace("\r\x1b[K", "")):
            raise Fault("control characters", f"{' '.join(map(str, arguments))}\n{text}")
        if code == 1:
            self._look(text)
        return code

    def call(self, function, *arguments) -> None:
        """Call a function that a command would call with the same input."""
        try:
            function(*arguments)
        except (ValueError, OSError) as error:
            self._look(str(error))

    def _look(self, text: str) -> None:
        if _BARE.search(text) and not _NAMED.search(text):
            self.bare = text


def _targets() -> dict:
    from anomaly_synthesis.benchmarks.fuzzing import TARGETS

    return TARGETS


if __name__ == "__main__":
    sys.exit(main())
