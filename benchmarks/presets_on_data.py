r"""Which sampler settings make the anomalies that the data has? Presets, steps and guidance on a trained base.

Per setting: share of visible pairs, signed contrast (median and 10-90 %) beside that of the real training defects, the
distance between the two contrast distributions (Wasserstein-1, in standard deviations of the real one, mean over
types), and seconds per pair. Every setting sees the same normals, masks and seeds.

    python -P benchmarks/presets_on_data.py --base F --data DIR --split FILE \
        --settings preset=paper,steps=50 preset=recommended,steps=10,guidance=3
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

import torch
from anomaly_synthesis.datasets.mvtec import read_mvtec, read_sample
from anomaly_synthesis.datasets.split import load_split, part_of
from anomaly_synthesis.modules.base_file import load_base
from anomaly_synthesis.synthesis.pair import Settings, make_pairs
from anomaly_synthesis.synthesis.plan import Plan
from anomaly_synthesis.synthesis.run import BATCH, visibility_threshold
from anomaly_synthesis.synthesis.visibility import signed_contrast


def main() -> None:
    options = _options()
    base, _ = load_base(options.base)
    samples, split = read_mvtec(options.data, options.types), load_split(options.split)
    train = part_of(split, samples, "train")
    normals = part_of(split, samples, options.normals.replace("-", "_"))
    real = _by_type((s.type, _real_contrast(s)) for s in train if s.mask)
    print("real training defects: " + "; ".join(f"{type} {_spread(values)}" for type, values in real.items()))
    rows = []
    for text in options.settings:
        settings = _parsed(text)
        for seed in range(options.seeds):
            measured = _measure(base, Plan(normals, train, seed), settings, real, options)
            rows.append({"settings": text, "seed": seed} | measured)
        print(_line(text, rows[-options.seeds:]), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))


def _parsed(text: str) -> Settings:
    """`Settings` from name=value,name=value; values are JSON, or words."""
    values = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return Settings(**values)


def _measure(base, plan: Plan, settings: Settings, real: dict, options) -> dict:
    threshold = visibility_threshold(base, plan, settings, options.negatives)
    pairs, count = [], options.count
    for start in range(0, count, BATCH):
        pairs += make_pairs(base, [plan.item(i).job for i in range(start, min(start + BATCH, count))], settings)
    made = _by_type((pair.job.type, pair.contrast) for pair in pairs)
    visible = _by_type((pair.job.type, pair.visibility > threshold) for pair in pairs)
    return {
        "threshold": threshold,
        "visible": fmean(pair.visibility > threshold for pair in pairs),
        "visible_by_type": {type: fmean(flags) for type, flags in visible.items()},
        "contrast": {type: _quantiles(values) for type, values in made.items()},
        "distance": fmean(_distance(made[type], real[type]) for type in made),
        "seconds": fmean(pair.seconds for pair in pairs),
    }


def _real_contrast(sample) -> float:
    picture, mask = read_sample(sample)
    return signed_contrast(picture.image(), mask)


def _by_type(pairs) -> dict:
    found: dict = {}
    for type, value in pairs:
        found.setdefault(type, []).append(value)
    return dict(sorted(found.items()))


def _quantiles(values: list[float]) -> list[float]:
    return torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.1, 0.5, 0.9]).double()).tolist()


def _spread(values: list[float]) -> str:
    low, middle, high = _quantiles(values)
    return f"{middle:+.2f} [{low:+.2f} {high:+.2f}]"


def _distance(made: list[float], real: list[float]) -> float:
    """Wasserstein-1 over real's standard deviation, by quantiles."""
    at = torch.linspace(0.005, 0.995, 100, dtype=torch.float64)
    made, real = torch.tensor(made, dtype=torch.float64), torch.tensor(real, dtype=torch.float64)
    return ((made.quantile(at) - real.quantile(at)).abs().mean() / real.std()).item()


def _line(text: str, rows: list[dict]) -> str:
    visible, distance = [row["visible"] for row in rows], [row["distance"] for row in rows]
    contrast = "; ".join(
        f"{type} {fmean(r['visible_by_type'][type] for r in rows):.0%} "
        + "{:+.2f} [{:+.2f} {:+.2f}]".format(*(fmean(r["contrast"][type][k] for r in rows) for k in (1, 0, 2)))
        for type in rows[0]["contrast"]
    )
    return (
        f"{text:50s} visible {fmean(visible):.1%} ({min(visible):.0%}-{max(visible):.0%})  distance "
        f"{fmean(distance):.2f} ({min(distance):.2f}-{max(distance):.2f})  {fmean(r['seconds'] for r in rows):.2f} s"
        f"  threshold {fmean(r['threshold'] for r in rows):.2f} | {contrast}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--base", "--data", "--split"):
        parser.add_argument(name, required=True)
    parser.add_argument("--types", nargs="+")
    parser.add_argument("--normals", choices=("train", "held-back"), default="train")
    parser.add_argument("--settings", nargs="+", required=True, metavar="NAME=VALUE,...")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--negatives", type=int, default=32)
    parser.add_argument("--json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
