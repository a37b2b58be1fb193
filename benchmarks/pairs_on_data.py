r"""Do the pairs look like the data's defects? Methods and sampler settings side by side, without training a network.

Per method: share of visible pairs, signed contrast (median and 10-90 %) and its distance to that of the real training
defects (Wasserstein-1, in standard deviations of the real ones), seam at the mask's edge, diversity and nearest-real
distance (see `evaluation.pair_statistics`), seconds per pair; means over seeds and types, ranges over seeds. Every
method fills the same masks on the same normals of the training part. Methods are named as `evaluate` names them:

    python -P benchmarks/pairs_on_data.py --data DIR --split FILE --base FILE --adapter FILE \
        --methods copy-paste aias@steps=10 fast@steps=10 fast@steps=10,farm=0 --sheet sheet.png --json pairs.json
"""

import argparse
import json
import time
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from anomaly_synthesis.datasets.mvtec import read_sample
from anomaly_synthesis.evaluation.cell import Data
from anomaly_synthesis.evaluation.methods import method
from anomaly_synthesis.evaluation.pair_statistics import Defect, measure, summary
from anomaly_synthesis.evaluation.study import Study, prepare
from anomaly_synthesis.images.pictures import Picture, write_picture
from anomaly_synthesis.synthesis.plan import Plan
from anomaly_synthesis.synthesis.run import BATCH
from scipy.stats import wasserstein_distance

SHOWN = 6  # pairs of every type on the sheet, per method
SIDE = 96  # px of a crop on the sheet


def main() -> None:
    options = _options()
    data = prepare(
        Study(
            options.data,
            options.split,
            tuple(options.methods),
            base=options.base,
            adapters=tuple(options.adapter),
            types=tuple(options.types) if options.types else None,
        )
    )
    real = data.defects["train"]
    for kind, found in real.items():
        print(f"real {'/'.join(kind)}: {_summary_text([summary(found, found)])}")
    rows, strips = [], [_strip(_real_crops(data))]
    for name in options.methods:
        made = [_made(name, data, seed, options.count) for seed in range(options.seeds)]
        own = [_row(name, seed, found, seconds, real) for seed, (found, _, seconds) in enumerate(made)]
        rows += own
        strips.append(_strip(made[0][1]))
        _print(name, own)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.sheet:
        write_picture(options.sheet, Picture(np.concatenate(strips)))


def _made(name: str, data: Data, seed: int, per_type: int):
    """({kind: measured pairs}, {kind: crops of the first ones}, seconds per pair)."""
    plan, make = Plan(data.train, data.train, seed), method(name)
    count = per_type * len(plan.types)
    found: dict[tuple[str, str], list[Defect]] = {kind: [] for kind in plan.types}
    crops: dict[tuple[str, str], list[np.ndarray]] = {kind: [] for kind in plan.types}
    seconds = 0.0
    for start in range(0, count, BATCH):
        items = [plan.item(index) for index in range(start, min(start + BATCH, count))]
        started = time.perf_counter()
        pictures = make(items, data.tools)
        seconds += time.perf_counter() - started
        for item, picture in zip(items, pictures, strict=True):
            kind = item.job.object, item.job.type
            found[kind].append(measure(picture.image(), item.job.mask))
            crops[kind].append(_crop(picture, item.job.mask))
    return found, {kind: own[:SHOWN] for kind, own in crops.items()}, seconds / count


def _row(name: str, seed: int, found, seconds: float, real) -> dict:
    types = {}
    for kind, own in found.items():
        contrasts, wanted = ([defect.contrast for defect in part] for part in (own, real[kind]))
        distance = wasserstein_distance(contrasts, wanted) / float(np.std(wanted))
        types["/".join(kind)] = summary(own, real[kind]) | {"distance": distance}
    return {"method": name, "seed": seed, "seconds": seconds, "types": types}


def _print(name: str, rows: list[dict]) -> None:
    def over_seeds(key: str) -> str:
        values = [[t[key] for t in row["types"].values() if t[key] is not None] for row in rows]
        means = [fmean(own) for own in values if own]
        return f"{fmean(means):.2f} ({min(means):.2f}-{max(means):.2f})" if means else "-"

    keys = ("visible", "distance", "seam", "diversity", "nearest")
    print(
        f"{name}: "
        + "  ".join(f"{key} {over_seeds(key)}" for key in keys)
        + f"  {fmean(row['seconds'] for row in rows):.2f} s per pair"
    )
    for type in rows[0]["types"]:
        print(f"    {type}: {_summary_text([row['types'][type] for row in rows])}", flush=True)


def _summary_text(found: list[dict]) -> str:
    low, middle, high, visible, seam = (
        fmean(one[key] for one in found) for key in ("contrast_low", "contrast", "contrast_high", "visible", "seam")
    )
    return f"visible {visible:.2f}, contrast {middle:+.2f} [{low:+.2f} {high:+.2f}], seam {seam:.1f}"


def _real_crops(data: Data):
    shown = {}
    for sample in data.train:
        if sample.mask is not None:
            picture, mask = read_sample(sample)
            shown.setdefault((sample.object, sample.type), []).append(_crop(picture, mask))
    return {kind: own[:: max(1, len(own) // SHOWN)][:SHOWN] for kind, own in sorted(shown.items())}


def _crop(picture: Picture, mask: torch.Tensor) -> np.ndarray:
    """[SIDE, SIDE, 3] around the mask."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    top, left = int(rows.float().mean()), int(columns.float().mean())
    half = max(32, int(0.75 * max(rows.max() - rows.min(), columns.max() - columns.min())))
    image = picture.image()
    down = torch.linspace(top - half, top + half, SIDE).round().long().clamp(0, image.shape[1] - 1)
    across = torch.linspace(left - half, left + half, SIDE).round().long().clamp(0, image.shape[2] - 1)
    return (image[:, down][:, :, across].permute(1, 2, 0) * 255).round().byte().numpy()


def _strip(crops) -> np.ndarray:
    """A line of pictures, type after type; missing ones are white."""
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    return np.concatenate([one for own in crops.values() for one in (own + [white] * SHOWN)[:SHOWN]], axis=1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--split"):
        parser.add_argument(name, required=True)
    parser.add_argument("--base")
    parser.add_argument("--adapter", nargs="+", default=[])
    parser.add_argument("--types", nargs="+")
    parser.add_argument("--methods", nargs="+", required=True, metavar="METHOD")
    parser.add_argument("--count", type=int, default=32, help="pairs per type and seed (32)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="real defects, then a line per method, of seed 0")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
