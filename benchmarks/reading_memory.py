"""Peak memory and time of `inspect` and `split` over folders of photographs: this checkout against others.

    python -P benchmarks/reading_memory.py --images 100 500 --package . --package ../old/anomaly_synthesis

The photographs are noise that the script draws itself, as JPEG, a fifth of them with a mask. Every command runs as a
process of its own; the peak is that of getrusage, the interpreter and torch included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

COARSE = 24  # px of the photograph per value of the noise: finer noise would only make the files large


def write_photographs(root: Path, first: int, last: int, megapixels: float) -> None:
    """Photographs number first .. last - 1 of one object in MVTec layout; every fifth has a defect and its mask."""
    size = round((megapixels * 1e6 * 9 / 7) ** 0.5), round((megapixels * 1e6 * 7 / 9) ** 0.5)
    places = {name: root / "part" / name for name in ("train/good", "test/dent", "ground_truth/dent")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    for number in range(first, last):
        coarse = [-(-length // COARSE) for length in size[::-1]]
        noise = np.random.default_rng(number).integers(0, 256, (*coarse, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize(size, Image.Resampling.BILINEAR)
        defective = number % 5 == 0
        picture.save(places["test/dent" if defective else "train/good"] / f"{number:05d}.jpg", quality=90)
        if defective:
            mask = np.zeros(size[::-1], np.uint8)
            mask[size[1] // 3 : size[1] // 2, size[0] // 3 : size[0] // 2] = 255
            Image.fromarray(mask).save(places["ground_truth/dent"] / f"{number:05d}_mask.png")


def measured(package: Path, arguments: list[str], work: Path) -> tuple[float, float, float]:
    """(peak in MB, seconds, seconds of processor time) of one command, run by the package in the folder `package`."""
    place = work / f"package-{abs(hash(package))}"
    place.mkdir(exist_ok=True)
    link = place / "anomaly_synthesis"
    if not link.exists():
        link.symlink_to(package.resolve(), target_is_directory=True)
    command = [sys.executable, "-P", "-m", "anomaly_synthesis.cli", *arguments]
    started = time.perf_counter()
    with (work / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"},
            cwd=work,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit((work / "output.txt").read_text()[-2000:])
    return usage.ru_maxrss / 1024, time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 500], help="numbers of photographs")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.63], help="of each (default 0.63)")
    parser.add_argument("--package", type=Path, action="append", help="a checkout; several are measured in turn")
    parser.add_argument("--commands", nargs="+", choices=("inspect", "split"), default=["inspect", "split"])
    options = parser.parse_args()
    print("| command | images | megapixels | package | peak MB | s | processor s |\n|---|---|---|---|---|---|---|")
    for megapixels in options.megapixels:
        with tempfile.TemporaryDirectory() as folder:
            work, written = Path(folder), 0
            for count in sorted(options.images):
                write_photographs(work / "data", written, count, megapixels)
                written = count
                for command in options.commands:
                    for package in options.package or [Path(__file__).parents[1]]:
                        out = work / "split.json"
                        out.unlink(missing_ok=True)
                        arguments = {
                            "inspect": ["inspect", str(work / "data")],
                            "split": ["split", "--data", str(work / "data"), "--out", str(out)],
                        }[command]
                        peak, seconds, processor = measured(package, arguments, work)
                        row = command, count, megapixels, package, f"{peak:.0f}", f"{seconds:.1f}", f"{processor:.1f}"
                        print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    main()
