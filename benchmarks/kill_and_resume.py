"""Does kill -9 at any moment change what train-base, train and evaluate write?

    python -P benchmarks/kill_and_resume.py --kills 20 --seed 0 --json kills.json

Each command runs once undisturbed on small procedural surfaces. Then it runs in another folder, is killed with -9 at
random moments and restarted with --resume, until all kills are used; if a run ends before its next kill, another folder
is started. All folders are compared byte by byte with the undisturbed one, except for times (keys that begin with
"seconds", and the report's pages, which print them). States are written every 0.2 s instead of every 60 s, so that
kills hit the writing. Every run is a forked process that calls the command's own `main`; only the imports are shared.
Exit code 1 if a file differs, a state or a temporary file is left, or a run fails.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.procedural import write_surfaces
from anomaly_synthesis.evaluation.segmenter import training as segmenter
from anomaly_synthesis.training import adapter_loop, base, defects
from safetensors import safe_open

SAVE_EVERY = 0.2  # seconds
SPAN = 1.5  # times the share of an undisturbed run per kill, so that some runs end before they are killed


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    for module in (adapter_loop, base, segmenter):
        module.train = functools.partial(module.train, save_every=SAVE_EVERY)
    base.CompactLDMConfig = functools.partial(
        base.CompactLDMConfig, autoencoder_widths=(8, 16), unet_widths=(32, 32), token_channels=32
    )
    segmenter.Training = functools.partial(segmenter.Training, crop=32, batch=2)
    defects.FITTING, defects.HELD_OUT = 16, 8
    results, generator = {}, random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        for name, arguments in _commands(folder, options).items():
            whole = folder / name / "whole"
            started = time.perf_counter()
            _finish(arguments, whole, options)
            seconds = time.perf_counter() - started
            results[name] = _killed(arguments, folder / name, seconds, generator, options)
            results[name] |= {"seconds": round(time.perf_counter() - started, 1), "undisturbed": round(seconds, 1)}
            print(f"{name}: {json.dumps(results[name])}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    sys.exit(any(row["different"] or row["left"] for row in results.values()))


def _commands(folder: Path, options) -> dict[str, list[str]]:
    """Arguments of every command but --out and --resume; each may read the undisturbed output of the previous one."""
    data, split = folder / "data", folder / "split.json"
    write_surfaces(data, materials=("brushed_metal",), normals=4, defects=4, size=96)
    common = ["--data", data, "--split", split]
    _call(["split", "--data", data, "--out", split, "--ungrouped", "--share", "0.5"])
    trained = folder / "train-base" / "whole" / "out.safetensors"
    commands = {
        "train-base": [
            "train-base",
            *common,
            "--resolution",
            32,
            "--batch",
            2,
            "--autoencoder-steps",
            options.steps,
            "--steps",
            options.steps,
        ],
        "train": ["train", *common, "--base", trained, "--steps", options.steps, "--batch", 1, "--tokens", 2],
        "evaluate": [
            "evaluate",
            *common,
            "--methods",
            "real-only",
            "cutpaste",
            "copy-paste",
            "--networks",
            "small_unet",
            "--seeds",
            1,
            "--count",
            6,
            "--steps",
            options.steps,
        ],
    }
    return {name: list(map(str, commands[name])) for name in options.commands}


def _killed(arguments: list[str], folder: Path, seconds: float, generator: random.Random, options) -> dict:
    """Kill until all kills are used, finish, compare."""
    kills, runs, out = 0, 1, folder / "broken-1"
    while kills < options.kills:
        child = _start(arguments, out)
        end = time.monotonic() + generator.uniform(0, SPAN * seconds / options.kills)
        while time.monotonic() < end and not _ended(child):
            time.sleep(0.002)
        if _ended(child):
            _check(child)
            runs, out = runs + 1, folder / f"broken-{runs + 1}"
            continue
        os.kill(child.pid, signal.SIGKILL)
        _wait(child)
        kills += 1
    _finish(arguments, out, options)
    found = [_compared(folder / "whole", folder / f"broken-{run}") for run in range(1, runs + 1)]
    return {"kills": kills, "runs": runs} | {key: sum(row[key] for row in found) for key in found[0]}


class _Child:
    def __init__(self, pid: int) -> None:
        self.pid, self.status = pid, None


def _start(arguments: Sequence[str], out: Path) -> _Child:
    out.mkdir(parents=True, exist_ok=True)
    file = [] if arguments[0] == "evaluate" else ["--resume"]
    target = out if arguments[0] == "evaluate" else out / "out.safetensors"
    if pid := os.fork():
        return _Child(pid)
    try:
        os._exit(_call([*arguments, "--out", str(target), *file], quiet=True))
    finally:
        os._exit(3)


def _call(arguments: Sequence, quiet: bool = False) -> int:
    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        return cli.main(list(map(str, arguments)))


def _ended(child: _Child) -> bool:
    if child.status is None:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        child.status = status if pid else None
    return child.status is not None


def _wait(child: _Child) -> None:
    if child.status is None:
        child.status = os.waitpid(child.pid, 0)[1]


def _check(child: _Child) -> None:
    if os.waitstatus_to_exitcode(child.status):
        sys.exit(f"a run failed with {os.waitstatus_to_exitcode(child.status)}")


def _finish(arguments: list[str], out: Path, options) -> None:
    child = _start(arguments, out)
    _wait(child)
    _check(child)


def _compared(whole: Path, broken: Path) -> dict[str, int]:
    expected, found = _contents(whole), _contents(broken)
    names = expected.keys() | found.keys()
    return {
        "files": len(expected),
        "different": sum(expected.get(name) != found.get(name) for name in names),
        "left": sum(name.endswith((".state", ".partial", ".tmp", ".lock", ".late")) for name in found),
    }


def _contents(root: Path) -> dict[str, object]:
    """Every file's content, without times."""
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and path.name not in ("report.md", "report.html"):
            found[path.relative_to(root).as_posix()] = _content(path)
    return found


def _content(path: Path) -> object:
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        size = int.from_bytes(data[:8], "little")
        with safe_open(path, framework="pt") as file:
            texts = {key: _timeless(_json(text)) for key, text in file.metadata().items()}
        return data[8 + size :], json.loads(data[8 : 8 + size])["__metadata__"].keys(), texts
    if path.suffix == ".json":
        return _timeless(_json(data))
    if path.suffix == ".jsonl":
        return [_timeless(_json(line)) for line in data.splitlines()]
    return data


def _json(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if not key.startswith("seconds")}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", nargs="+", default=["train-base", "train", "evaluate"], help="all three")
    parser.add_argument("--kills", type=int, default=20, help="kill -9 per command (20)")
    parser.add_argument("--steps", type=int, default=60, help="training steps of every phase (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
