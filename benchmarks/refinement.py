r"""What does refinement gain, and what does it cost? First draws against the kept pairs of the same items.

Per seed, of first draws and of kept pairs: share visible, `nearest_real` (which the search optimises), and scores that
the search does not use: the nearest real defect by pixels, diversity, contrast distance (Wasserstein-1, in standard
deviations of the real training defects) and seam, see `evaluation.pair_statistics`; calls of the denoiser; which rounds
were kept. Means over types, then mean and range over seeds. `--seeds-alone` keeps the settings in every round, as a
control at the same cost.

    python -P benchmarks/refinement.py --data DIR --split FILE --base FILE --types blowhole break crack --json FILE
"""

import argparse
import json
from collections import Counter
from functools import partial
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.datasets.split import load_split, part_of
from anomaly_synthesis.evaluation.pair_statistics import Defect, measure, measure_samples, summary
from anomaly_synthesis.modules.base_file import load_base_of
from anomaly_synthesis.synthesis import refine as search
from anomaly_synthesis.synthesis.make import BATCH, Settings
from anomaly_synthesis.synthesis.nearest import RealDefects, latent_features
from anomaly_synthesis.synthesis.negatives import measured_thresholds
from anomaly_synthesis.synthesis.pair import Pair, make_pairs
from anomaly_synthesis.synthesis.plan import Plan
from scipy.stats import wasserstein_distance

KEYS = (
    "visible",
    "nearest_real",
    "completeness",
    "nearest by pixels",
    "diversity",
    "contrast distance",
    "seam",
    "calls",
)


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    if options.seeds_alone:
        search.proposal = lambda settings, *_: settings
    split = load_split(options.split)
    train = part_of(split, read_dataset(options.data, options.types), "train")
    base = load_base_of(options.base, split.digest)
    settings = Settings(steps=options.steps)
    real = RealDefects.measured(
        [s for s in train if s.mask is not None],
        latent_features(base),
        base.config.resolution,
        settings.context,
        split.groups,
    )
    measured = {
        kind: measure_samples(s for s in train if (s.object, s.type) == kind) for kind in Plan(train, train, 0).types
    }
    rows = []
    for seed in range(options.seeds):
        rows.append(_seed(base, Plan(train, train, seed), settings, real, measured, options) | {"seed": seed})
        _print(rows[-1:], f"seed {seed}")
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))
    _print(rows, "all seeds")


def _seed(base, plan: Plan, settings: Settings, real: RealDefects, measured, options) -> dict:
    limits = measured_thresholds(base, lambda index: plan.item(index).job, settings, options.negatives)
    make = partial(make_pairs, base, changed_above=limits.changed, controlled=True, real=real)
    found: list[search.Refined] = []
    for start in range(0, options.count, BATCH):
        indices = range(start, min(start + BATCH, options.count))
        first = make([plan.item(index).job for index in indices], settings)

        def again(number: int, indices=indices) -> list:
            return [plan.item(index, number).job for index in indices]

        found += search.refine(make, first, again, settings, limits.shown, options.rounds, has_farm=False)
    first, kept = [one.first for one in found], [one.pair for one in found]
    return {
        "first": _numbers(first, limits, measured) | {"calls": fmean(one.first.calls for one in found)},
        "kept": _numbers(kept, limits, measured) | {"calls": fmean(one.calls for one in found)},
        "rounds": dict(sorted(Counter(one.round for one in found).items())),
        "seconds": fmean(one.pair.seconds for one in found),
        "first seconds": fmean(one.first.seconds for one in found),
    }


def _numbers(pairs: list[Pair], limits, measured: dict[tuple[str, str], list[Defect]]) -> dict:
    """Means over the types of every number."""
    types = []
    for kind, real in measured.items():
        own = [pair for pair in pairs if (pair.job.object, pair.job.type) == kind]
        defects = [measure(pair.picture.image(), pair.job.mask) for pair in own]
        found = summary(defects, real)
        contrasts, wanted = ([defect.contrast for defect in part] for part in (defects, real))
        types.append(
            {
                "visible": fmean(limits.shown(pair) for pair in own),
                "nearest_real": median(pair.nearest_real for pair in own),
                "completeness": median(pair.completeness for pair in own),
                "nearest by pixels": found["nearest"],
                "diversity": found["diversity"],
                "seam": found["seam"],
                "contrast distance": wasserstein_distance(contrasts, wanted) / float(np.std(wanted)),
            }
        )
    return {key: fmean(one[key] for one in types) for key in types[0]}


def _print(rows: list[dict], what: str) -> None:
    print(
        f"{what}: rounds kept {[row['rounds'] for row in rows]}, "
        f"{fmean(row['first seconds'] for row in rows):.2f} to {fmean(row['seconds'] for row in rows):.2f} s a pair"
    )
    for key in KEYS:
        parts = []
        for part in ("first", "kept"):
            values = [row[part][key] for row in rows]
            parts.append(f"{fmean(values):.2f} ({min(values):.2f}-{max(values):.2f})")
        gains = [row["kept"][key] - row["first"][key] for row in rows]
        print(
            f"  {key:18s} {parts[0]:22s} {parts[1]:22s} {fmean(gains):+.2f} ({min(gains):+.2f} {max(gains):+.2f})",
            flush=True,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--split", "--base"):
        parser.add_argument(name, required=True)
    parser.add_argument("--types", nargs="+")
    parser.add_argument("--count", type=int, default=48, help="pairs per seed, the types in turn (48)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--negatives", type=int, default=64)
    parser.add_argument("--seeds-alone", action="store_true", help="the settings stay in every round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
