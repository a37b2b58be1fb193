r"""Visibility against truth: does it flag masks without a visible defect, and pass real defects?

Every case is a mask of a plan on a normal image, scored as a pair is:

    re-sampled   the mask made again by the base as normal surface
    round trip   the normal image encoded and decoded, pasted into the mask
    beside       a real defect beside the mask, encoded and decoded, and composed by the mask
    real         a real training defect of the type, blended into the mask (Poisson): the one case that must pass

The thresholds come from other re-samples (another seed's plan, `--negatives` of them), as a run measures them. Printed,
by visibility, by strength and by excess: the flagged share of every case against the goals (99, 95, 95 % of the
negatives; at most 5 % of the real ones), mean and range over seeds, real ones by type; the area under the ROC curve of
real against re-sampled, and the real share flagged where 90, 95 and 99 % of the tested re-samples are caught. `--json`
writes the scores of all cases and the curves, `--plot` the curves.

    python -P benchmarks/visibility_truth.py --data DIR --split FILE --base FILE --types blowhole break crack \
        --json truth.json --plot truth.png
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from anomaly_synthesis.baselines.copy_paste import copy_paste
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.datasets.sample import Sample, read_sample
from anomaly_synthesis.datasets.split import load_split, part_of
from anomaly_synthesis.images.masks import mask_box
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.images.windows import cut_picture
from anomaly_synthesis.modules.base_file import load_base
from anomaly_synthesis.modules.compact_ldm import NORMAL, CompactLDM
from anomaly_synthesis.synthesis.compose import Made, composed_picture
from anomaly_synthesis.synthesis.controls import KnownControls, control_values
from anomaly_synthesis.synthesis.make import BATCH, Job, Settings, encoded_windows
from anomaly_synthesis.synthesis.pair import made_parts
from anomaly_synthesis.synthesis.plan import Plan, Planned
from anomaly_synthesis.synthesis.scores import Scores, scores_of, visible_above
from anomaly_synthesis.synthesis.windows import Part, crop_parts

MEASURES = ("visibility", "strength", "excess")
GOALS = {"re-sampled": 0.99, "round trip": 0.95, "beside": 0.95, "real": 0.05}
OTHER = 1000  # added to a seed for the plan that the thresholds are read from
FAINT = 0.5  # |signed contrast| below which a spot is hardly visible on its surface, as in `evaluation.pair_statistics`
GAP = 2  # px between a mask and the defect beside it


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    split = load_split(options.split)
    train = part_of(split, read_dataset(options.data, options.types), "train")
    base, settings = load_base(options.base)[0], Settings(steps=options.steps)
    rows = []
    for seed in range(options.seeds):
        rows += _cases(base, train, settings, seed, options)
        print(f"seed {seed}: {len(rows)} cases so far", flush=True)
        if options.json:
            options.json.write_text(json.dumps({"cases": rows, "curves": {m: _curve(rows, m) for m in MEASURES}}))
    for measure in MEASURES:
        _print(rows, measure)
    if options.plot:
        _plot(rows, options.plot)


def _cases(base: CompactLDM, train: list[Sample], settings: Settings, seed: int, options) -> list[dict]:
    """Scores of all cases of one seed, and of the negatives that its thresholds come from (case "threshold")."""
    sources = {(sample.name, sample.type): sample for sample in train}
    found = [
        ("threshold", item, scores)
        for item, scores in _resampled(base, Plan(train, train, seed + OTHER), options.negatives, settings)
    ]
    plan = Plan(train, train, seed)
    found += [("re-sampled", item, scores) for item, scores in _resampled(base, plan, options.count, settings)]
    for index in range(options.count):
        item = plan.item(index)
        source = read_sample(sources[item.mask_name, item.job.type])
        found += [(case, item, scores) for case, scores in _decoded_cases(base, item, settings, *source)]
    return [
        {"case": case, "seed": seed, "type": f"{item.job.object}/{item.job.type}", **scores.entries}
        for case, item, scores in found
    ]


def _resampled(base: CompactLDM, plan: Plan, count: int, settings: Settings) -> Iterator[tuple[Planned, Scores]]:
    for start in range(0, count, BATCH):
        items = [plan.item(index) for index in range(start, min(start + BATCH, count))]
        jobs = [replace(item.job, type=NORMAL) for item in items]
        for item, made in zip(items, made_parts(base, jobs, settings, known=KnownControls()), strict=True):
            yield item, _composed(item.job.picture, made.parts, made.controls)


def _decoded_cases(
    base: CompactLDM, item: Planned, settings: Settings, source: Picture, source_mask: torch.Tensor
) -> Iterator[tuple[str, Scores]]:
    normal, mask = item.job.picture, item.job.mask
    pasted = copy_paste(normal, mask, source, source_mask)
    parts = crop_parts(0, mask, base.config.resolution)
    known, controls = _roundtrip(base, normal, parts), _controls(base, item.job, settings)
    real = _made(parts, _roundtrip(base, pasted, parts), known)
    yield "real", scores_of(pasted, normal, real, controls=controls)
    yield "round trip", _composed(normal, _made(parts, known, known), controls, "paste")
    moved = _beside(mask)
    if moved is not None:
        parts = crop_parts(0, moved, base.config.resolution)
        windows = (_roundtrip(base, picture, parts) for picture in (pasted, normal))
        controls = _controls(base, replace(item.job, mask=moved), settings)
        yield "beside", _composed(normal, _made(parts, *windows), controls)


def _composed(normal: Picture, made: list[Made], controls: list[np.ndarray], mode: str = "difference") -> Scores:
    return scores_of(composed_picture(normal, made, mode), normal, made, controls=controls)


@torch.inference_mode()
def _controls(base: CompactLDM, job: Job, settings: Settings) -> list[np.ndarray]:
    windows = encoded_windows(base, [job], settings.context)
    return [own for one in windows for own in control_values(base, [job], one, range(len(one.parts)), settings)[0]]


def _made(parts: list[Part], anomalous: list[torch.Tensor], known: list[torch.Tensor]) -> list[Made]:
    return list(zip(parts, zip(anomalous, known, strict=True), strict=True))


@torch.inference_mode()
def _roundtrip(base: CompactLDM, picture: Picture, parts: list[Part]) -> list[torch.Tensor]:
    return [base.decode(base.encode(cut_picture(picture, part.window)[None]))[0] for part in parts]


def _beside(mask: torch.Tensor) -> torch.Tensor | None:
    """The mask moved by its own size, so that it does not overlap itself; None if the image has no room."""
    top, left, height, width = mask_box(mask)
    for down, across in ((0, width + GAP), (0, -width - GAP), (height + GAP, 0), (-height - GAP, 0)):
        if mask_box(moved := torch.roll(mask, (down, across), (0, 1))) == (top + down, left + across, height, width):
            return moved
    return None


def _curve(rows: list[dict], measure: str) -> dict[str, list[list[float]]]:
    """Per negative case and per type against re-samples: [share of negatives caught, share of real ones flagged]."""

    def points(negatives: list[float], real: list[float]) -> list[list[float]]:
        limits = np.unique(np.concatenate([negatives, real]))
        return [[float(np.mean(np.array(own) <= limit)) for own in (negatives, real)] for limit in limits]

    def of(case: str, type: str | None = None) -> list[float]:
        return [row[measure] for row in rows if row["case"] == case and type in (None, row["type"])]

    curves = {case: points(of(case), of("real")) for case in GOALS if case != "real"}
    types = sorted({row["type"] for row in rows})
    return curves | {type: points(of("re-sampled", type), of("real", type)) for type in types}


def _print(rows: list[dict], measure: str) -> None:
    seeds = sorted({row["seed"] for row in rows})
    limits = {
        seed: visible_above([r[measure] for r in rows if (r["case"], r["seed"]) == ("threshold", seed)])
        for seed in seeds
    }
    print(f"{measure}: thresholds {', '.join(f'{limit:.2f}' for limit in limits.values())}")

    def flagged(case: str, type: str | None = None) -> str:
        shares = [
            fmean(
                r[measure] <= limits[seed]
                for r in rows
                if (r["case"], r["seed"]) == (case, seed) and type in (None, r["type"])
            )
            for seed in seeds
        ]
        return f"{fmean(shares):.1%} ({min(shares):.1%}-{max(shares):.1%})"

    for case, goal in GOALS.items():
        print(f"  {case:10s} flagged {flagged(case)}, goal {'<=' if case == 'real' else '>='} {goal:.0%}")
    for type in sorted({row["type"] for row in rows}):
        print(f"    real {type}: flagged {flagged('real', type)}")
    negatives, real = (np.array([r[measure] for r in rows if r["case"] == case]) for case in ("re-sampled", "real"))
    above = (real[:, None] > negatives).mean() + (real[:, None] == negatives).mean() / 2
    at = {share: np.mean(real <= np.quantile(negatives, share)) for share in (0.9, 0.95, 0.99)}
    faint = [abs(r["contrast"]) < FAINT for r in rows if r["case"] == "real"]
    low = [r[measure] <= limits[r["seed"]] for r in rows if r["case"] == "real"]
    both = sum(a and b for a, b in zip(faint, low, strict=True))
    print(
        f"  |contrast| of real ones under {FAINT}: {both / max(sum(low), 1):.0%} of those flagged, "
        f"{(sum(faint) - both) / max(len(low) - sum(low), 1):.0%} of the others"
    )
    print(
        f"  area under the curve {above:.3f}; real ones flagged where 90, 95, 99 % of the re-samples are caught: "
        + ", ".join(f"{share:.0%}" for share in at.values()),
        flush=True,
    )


def _plot(rows: list[dict], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    for axes, measure in zip(figure.subplots(1, len(MEASURES), sharey=True), MEASURES, strict=True):
        for name, points in _curve(rows, measure).items():
            caught, flagged = zip(*points, strict=True)
            axes.plot(flagged, caught, label=name, lw=2 if name in GOALS else 1, ls="-" if name in GOALS else "--")
        axes.axvline(GOALS["real"], color="0.7")
        axes.set(title=measure, xlabel="real defects flagged", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(fontsize=8)
    figure.axes[0].set_ylabel("negatives caught")
    figure.savefig(path, dpi=120)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--split", "--base"):
        parser.add_argument(name, required=True)
    parser.add_argument("--types", nargs="+")
    parser.add_argument("--count", type=int, default=64, help="masks per seed, the types in turn (64)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--negatives", type=int, default=64, help="re-samples behind the threshold (64)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    return parser.parse_args()


if __name__ == "__main__":
    main()
