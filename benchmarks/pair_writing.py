"""Are pairs and exports written at a steady rate, in constant memory, and does kill -9 lose any?

    python -P benchmarks/pair_writing.py --pairs 1000 --kills 5 --json pairs.json

CutPaste replaces the model, since it takes milliseconds: plan, writer and manifest are those of `synthesize`, on
procedural surfaces. A first process writes all pairs and prints rate and memory at every tenth. Then another folder is
written by processes that are killed with -9 at random moments and resumed, and the two folders are compared byte by
byte. Each export format then runs the same way, once unbroken and once killed. Exit code 1 if a file differs, or a pair
is missing or duplicated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from anomaly_synthesis.baselines.cutpaste import cutpaste
from anomaly_synthesis.datasets.exports import FORMATS
from anomaly_synthesis.datasets.exports.export import export_pairs
from anomaly_synthesis.datasets.pairs import MANIFEST, PairWriter, read_manifest
from anomaly_synthesis.datasets.procedural import write_surfaces
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.synthesis.plan import Plan
from anomaly_synthesis.synthesis.run import write_pair

PARTS = 10
READY = "ready"


def main() -> None:
    options = _options()
    if options.work:
        _work(options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        write_surfaces(folder / "surfaces", normals=15, defects=5, size=options.size)
        results, generator = {}, random.Random(options.seed)
        for what in ("write", *FORMATS):
            whole, broken = folder / what / "whole", folder / what / "broken"
            parts = _unbroken(what, whole, options)
            kills = _killed(what, broken, options, parts[-1]["at"], generator)
            results[what] = {"parts": parts, "kills": kills, **_compared(whole, broken, options.pairs)}
            _print(what, results[what])
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    sys.exit(any(row["different"] or row["lost"] or row["twice"] for row in results.values()))


def _unbroken(what: str, out: Path, options) -> list[dict]:
    process = _start(what, out, options)
    lines = process.stdout.read().splitlines()
    if process.wait() != 0:
        sys.exit(f"{what}: the unbroken run failed")
    return [json.loads(line) for line in lines]


def _killed(what: str, out: Path, options, seconds: float, generator: random.Random) -> list[int]:
    """Kill at random moments, one in each equal share of the work; the pairs done at each kill."""
    left = []
    for share in range(options.kills):
        process = _start(what, out, options)
        # A writer resumes where it stopped; an export checks everything again from the start.
        first, last = (
            (share / options.kills, (share + 1) / options.kills) if what != "write" else (0, 1 / (options.kills + 1))
        )
        time.sleep(seconds * generator.uniform(first, last))
        process.kill()
        process.wait()
        left.append(_done(what, out))
    process = _start(what, out, options)
    process.stdout.read()
    if process.wait() != 0:
        sys.exit(f"{what}: the last run failed")
    return left


def _start(what: str, out: Path, options) -> subprocess.Popen:
    """A process that has read its plan and starts to write."""
    command = [sys.executable, "-P", __file__, "--work", what, "--out", str(out), "--pairs", str(options.pairs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline().strip() != READY:
        sys.exit(f"{what}: a run did not begin")
    return process


def _work(options) -> None:
    folder = options.out.parents[1]
    parts = _Parts(options.pairs)
    if options.work == "write":
        samples = read_dataset(folder / "surfaces")
        plan = Plan(samples, samples, 0)
        print(READY, flush=True)
        parts.start()
        writer = PairWriter(options.out, {"benchmark": "cutpaste"}, resume=True)
        for index in range(writer.done, options.pairs):
            item = plan.item(index)
            picture = cutpaste(item.job.picture, item.job.mask, item.job.seed)
            write_pair(writer, index, item, picture, {"visible": True})
            parts(index + 1)
    else:
        print(READY, flush=True)
        parts.start()
        export_pairs(
            folder / "write" / "whole", options.out, options.work, resume=True, report=lambda done, of: parts(done)
        )


class _Parts:
    """Prints rate and memory at every tenth of the pairs."""

    def __init__(self, count: int) -> None:
        self._each = max(count // PARTS, 1)

    def start(self) -> None:
        self._begun = self._last = time.perf_counter()
        self._used = time.process_time()

    def __call__(self, done: int) -> None:
        if done % self._each == 0:
            now, used = time.perf_counter(), time.process_time()
            print(
                json.dumps(
                    {
                        "done": done,
                        "at": now - self._begun,
                        "rate": self._each / (now - self._last),
                        "processor": (used - self._used) / self._each * 1000,
                        "memory": _memory(),
                    }
                ),
                flush=True,
            )
            self._last, self._used = now, used


def _memory() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _done(what: str, out: Path) -> int:
    """Pairs in the manifest; for an export, which writes its manifest last, the files among the images."""
    if what != "write":
        return len(list((out / "images").glob("*"))) if (out / "images").exists() else 0
    path = out / MANIFEST
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _compared(whole: Path, broken: Path, count: int) -> dict[str, int]:
    expected, found = _digests(whole), _digests(broken)
    lines = read_manifest(broken)
    images = {line["image"] for line in lines}
    return {
        "files": len(expected),
        "pairs": len(lines),
        "lost": count - len(images),
        "twice": len(lines) - len(images),
        "different": sum(expected.get(name) != found.get(name) for name in expected.keys() | found.keys()),
    }


def _digests(root: Path) -> dict[str, str]:
    paths = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _print(what: str, row: dict) -> None:
    parts = row["parts"]
    print(f"\n{what}: at every tenth of the unbroken run")
    for key, unit in (("rate", "pairs/s"), ("processor", "ms of processor time per pair"), ("memory", "MB")):
        print("  " + " ".join(f"{part[key]:6.1f}" for part in parts) + f"  {unit}")
    print(
        f"  killed with {row['kills']} {'pairs' if what == 'write' else 'images'}; then {row['pairs']} pairs, "
        f"{row['lost']} lost, {row['twice']} twice, {row['different']} of {row['files']} files differ"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="pairs to write (1000)")
    parser.add_argument("--size", type=int, default=256, help="side of the surfaces in pixels (256)")
    parser.add_argument("--kills", type=int, default=5, help="kill -9 per folder (5)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
