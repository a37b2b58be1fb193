r"""Few-step STAGE against its own 1000 steps, where both branches are exact.

Worlds are those of benchmarks/oracle/worlds.py. The anomaly-aware branch is the posterior mean under the anomaly modes
of (masked, background); the anomaly-only branch is E[M x0 | x^p] under the same modes' marginal of the masked
dimensions, since it does not see the background. The reference is graded diffusion with 1000 single steps, eta 1. The
measure is the sliced Wasserstein-2 distance to the anomaly modes given the background, within each mode, weighted by
the modes' masses. The reference does not reach an exact sampler's, since its anomaly-only branch ignores the
background. Standard errors are over the sampler's seeds. Settings are a preset of `samplers.presets`, with changes of
its grid, its sampler or STAGE's parts.

    python -P benchmarks/stage_oracle.py --samples 2000 --seeds 5 --nfe 10 50
    python -P benchmarks/stage_oracle.py --settings recommended,eta=0.5 --worlds small wide
"""

import argparse
import json
import time
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean, stdev

import torch
from anomaly_synthesis.benchmarks.oracle.measures import Target
from anomaly_synthesis.benchmarks.oracle.peers import TABLE, Guide
from anomaly_synthesis.benchmarks.oracle.worlds import NORMAL, SPECS, Mixture, World, make_world
from anomaly_synthesis.samplers.graded import sample_graded
from anomaly_synthesis.samplers.graded_windows import graded_grid
from anomaly_synthesis.samplers.grid import grid_sigmas
from anomaly_synthesis.samplers.presets import preset
from anomaly_synthesis.samplers.stage_presets import stage_preset
from torch import Tensor

WORLDS = [name for name, spec in SPECS.items() if spec.background]
REFERENCE, REFERENCE_STEPS = "paper,kind=uniform,refine=0", len(TABLE)
LIMITS = {10: 1.5, 50: 1.1}


class Branches:
    """Exact heads (aware, only) of a world. The model beneath them answers 0, so that its noise is the state over
    sigma, from which a head reads the state; calls: the number of calls of a head."""

    def __init__(self, world: World):
        self.masked, self.calls = world.masked, 0
        self.joint = world.prior.restricted(NORMAL + 1)
        m = world.masked
        self.marginal = Mixture(self.joint.weights, self.joint.means[:, :m], self.joint.covariances[:, :m, :m])

    @staticmethod
    def model(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def _head(self, eps: Tensor, t: Tensor, denoise) -> Tensor:
        self.calls += 1
        sigma = float(TABLE[int(t[0])])
        x = sigma * eps
        return (x - denoise(x.flatten(1), sigma).view_as(x)) / sigma

    def aware(self, eps: Tensor, mask: Tensor, t: Tensor) -> Tensor:
        return self._head(eps, t, self.joint.posterior_mean)

    def only(self, eps: Tensor, mask: Tensor, t: Tensor) -> Tensor:
        def denoise(x: Tensor, sigma: float) -> Tensor:
            made = torch.zeros_like(x)
            made[:, : self.masked] = self.marginal.posterior_mean(x[:, : self.masked], sigma)
            return made

        return self._head(eps, t, denoise)


def sample(world: World, settings: str, steps: int, samples: int, seed: int, parts: str) -> tuple[Tensor, int]:
    """The masked dimensions [samples, m] of a run, and the calls that it made."""
    guide, branches = Guide(world, False, samples, seed), Branches(world)
    grid, options = preset(settings.split(",")[0], steps)
    stage = stage_preset(parts)[1]
    for key, value in (change.split("=") for change in settings.split(",")[1:]):
        (grid if key in ("kind", "refine") else stage if key in stage else options)[key] = _value(value)
    options = {key: value for key, value in options.items() if not key.startswith("foreground")}
    start = guide.start
    if options.get("pure_start"):
        start = start - (1 - guide.mask) * guide.background
    x = sample_graded(
        branches.model,
        start,
        grid_sigmas(graded_grid(**grid, windows=stage["windows"]), TABLE),
        mask=guide.mask,
        background=guide.background,
        branches=(branches.aware, branches.only),
        noise_sampler=guide.noise,
        **options,
        **stage,
    )
    return x.flatten(1)[:, : world.masked], branches.calls


def rows_of(world: World, options: argparse.Namespace) -> list[dict]:
    """Every setting, number of steps and seed on a world; the reference's first."""
    target = Target(world, True, options.samples)
    runs = [(REFERENCE, REFERENCE_STEPS)] + [(name, steps) for name in options.settings for steps in options.nfe]
    rows = []
    for name, steps in runs:
        for seed in range(options.seeds):
            x, calls = sample(world, name, steps, options.samples, seed, options.parts)
            rows.append(
                {
                    "world": world.name,
                    "settings": name,
                    "steps": steps,
                    "seed": seed,
                    "calls": calls,
                    **target.measure(x),
                }
            )
    return rows


def summarise(rows: list[dict]) -> list[dict]:
    """Per setting and steps: geometric mean over worlds of the distance over the reference's, its standard error over
    seeds, the worst world's, the share of masks without a defect, the variance within modes over the reference's."""
    reference = {(row["world"], row["seed"]): row for row in rows if row["steps"] == REFERENCE_STEPS}
    lines = []
    for name, steps in dict.fromkeys((row["settings"], row["steps"]) for row in rows):
        group = [row for row in rows if (row["settings"], row["steps"]) == (name, steps)]
        ratios = {
            (row["world"], row["seed"]): log(row["w2_modes"] / reference[row["world"], row["seed"]]["w2_modes"])
            for row in group
        }
        seeds = sorted({seed for _, seed in ratios})
        by_seed = [fmean(ratio for (_, other), ratio in ratios.items() if other == seed) for seed in seeds]
        worlds = dict.fromkeys(world for world, _ in ratios)
        by_world = {w: exp(fmean(ratio for (other, _), ratio in ratios.items() if other == w)) for w in worlds}
        worst = max(by_world, key=by_world.get)
        lines.append(
            {
                "settings": name,
                "steps": steps,
                "calls": fmean(row["calls"] for row in group),
                "ratio": exp(fmean(by_seed)),
                "ratio_se": exp(fmean(by_seed)) * stdev(by_seed) / sqrt(len(by_seed)) if len(by_seed) > 1 else 0.0,
                "worst": worst,
                "ratio_worst": by_world[worst],
                "w2_modes": fmean(row["w2_modes"] for row in group),
                "without_defect": fmean(row["without_defect"] for row in group),
                "variance": fmean(_variance(row, reference[row["world"], row["seed"]]) for row in group),
            }
        )
    return lines


def _variance(row: dict, reference: dict) -> float:
    pairs = zip(row["variances"], reference["variances"], strict=True)
    return fmean(made / known for made, known in pairs if made is not None and known is not None)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _print(lines: list[dict]) -> None:
    print(
        "settings | steps (calls) | per-mode W2 / own 1000 steps' (worst world) | W2 | masks without a defect | "
        "variance / 1000 steps' | goal"
    )
    for line in lines:
        limit = LIMITS.get(line["steps"])
        goal = "" if limit is None else f"{'holds' if line['ratio'] <= limit else 'MISSED'} ({limit})"
        print(
            f"{line['settings']} | {line['steps']} ({line['calls']:.0f}) | {line['ratio']:.2f} ± "
            f"{line['ratio_se']:.2f} ({line['worst']} {line['ratio_worst']:.2f}) | {line['w2_modes']:.3f} | "
            f"{line['without_defect']:.2%} | {line['variance']:.2f} | {goal}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="per run (default 2000)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of every setting (default 5)")
    parser.add_argument("--nfe", type=int, nargs="+", default=[10, 50], help="steps (default 10 50)")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=WORLDS, help="kinds (default all)")
    parser.add_argument(
        "--settings", nargs="+", metavar="PRESET,KEY=VALUE", default=["paper", "recommended,eta=1", "fast"]
    )
    parser.add_argument("--parts", default="stage", help="parts of STAGE, see samplers/stage_presets.py (stage)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write settings, summary and rows as JSON")
    options = parser.parse_args()
    started, rows = time.perf_counter(), []
    for name in options.worlds:
        rows += rows_of(make_world(name, 0), options)
        print(f"world {name}, at {time.perf_counter() - started:.0f} s", flush=True)
    lines = summarise(rows)
    _print(lines)
    if options.out:
        settings = {name: value for name, value in vars(options).items() if name != "out"}
        options.out.write_text(json.dumps({"settings": settings, "summary": lines, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
