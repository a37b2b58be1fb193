r"""Which sampler is nearest to the truth at few steps? Known few-step samplers and AIAS where the truth is known.

Worlds are Gaussian mixtures with one normal mode and several anomaly modes, for which the denoiser, the foreground
model and the true distribution are exact (benchmarks/oracle/worlds.py). Two tables: `plain` without a foreground
model, `x0_blend` with it; the background is given in both. Every sampler starts from the same noise and is given the
same background, fresh noise on it at every level, and in x0_blend the same foreground down to t = 100. AIAS presets
that noise the foreground back into the state (`paper`) do that instead, and those that keep it longer (`recommended`,
`fast`: to t = 40) do so; `aias:fast,foreground_until=100` is `fast` under the conditions of the peers. Steps are levels
that call a model: the denoiser or the foreground model that replaces it; both are counted.

The main measure is the sliced Wasserstein-2 distance within each mode, weighted by the modes' masses, relative to DDPM
with 1000 steps; it is measured on finite samples, so the ratio depends on --samples. The plain distance mostly reflects
the mode counts. Also reported: masks without a defect (samples in the normal mode), mode error (total variation),
variance within the modes relative to DDPM's. Standard errors are over the sampler's seeds.

    python -P benchmarks/oracle.py --samples 6000 --seeds 5 --nfe 6 8 10 20 50 --out oracle.json --plot oracle.png
    python -P benchmarks/oracle.py --quick
    python -P benchmarks/oracle.py --peers aias:fast aias:fast,eta=0.3,correct=false --world-seeds 7 8
"""

import argparse
import importlib.util
import json
import time
from itertools import product
from pathlib import Path

import torch
from anomaly_synthesis.benchmarks.oracle.compare import TABLES, goals, run_world, summarise
from anomaly_synthesis.benchmarks.oracle.peers import NEED_DIFFUSERS, PEERS, sampler_of
from anomaly_synthesis.benchmarks.oracle.report import plot, print_goals, print_lines
from anomaly_synthesis.benchmarks.oracle.worlds import SPECS, make_world

QUICK = {"samples": 1000, "seeds": 2, "nfe": [10], "worlds": ["small", "fitted", "unmasked"]}


def main() -> None:
    options = _options()
    started = time.perf_counter()
    peers = _present(options.peers)
    worlds = [make_world(name, seed) for seed in options.world_seeds for name in options.worlds]
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "plot")} | {"peers": peers}
    rows: list[dict] = []
    for table, world in product(options.tables, worlds):
        seeds = range(options.seeds)
        rows += run_world(table, world, peers, options.nfe, seeds, options.samples, options.ddpm_steps)
        print(f"{table}: world {world.name} {world.seed}, at {time.perf_counter() - started:.0f} s", flush=True)
        if options.out:
            _write(options.out, settings, rows)
    lines = summarise(rows)
    print_lines(lines)
    print_goals(goals(lines))
    print(f"\n{time.perf_counter() - started:.0f} s, torch {torch.__version__}, {torch.get_num_threads()} threads")
    if options.plot:
        plot(lines, options.plot)


def _write(path: Path, settings: dict, rows: list[dict]) -> None:
    """Write the report so far, so that an interrupted run keeps its results."""
    lines = summarise(rows)
    report = {"settings": settings, "summary": lines, "goals": goals(lines), "rows": rows}
    path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")


def _present(peers: list[str]) -> list[str]:
    """The peers that can run here."""
    if importlib.util.find_spec("diffusers"):
        return peers
    left_out = [peer for peer in peers if peer in NEED_DIFFUSERS]
    if left_out:
        print(f"LEFT OUT, as diffusers is not installed (pip install diffusers): {', '.join(left_out)}", flush=True)
    return [peer for peer in peers if peer not in left_out]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=6000, help="per run (default 6000)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of every sampler, DDPM included (default 5)")
    parser.add_argument("--nfe", type=int, nargs="+", default=[6, 8, 10, 20, 50], help="steps (default 6 8 10 20 50)")
    parser.add_argument("--worlds", nargs="+", choices=SPECS, default=list(SPECS), help="kinds (default all)")
    parser.add_argument("--world-seeds", type=int, nargs="+", default=[0], help="worlds drawn per kind (default 0)")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), help="default all; also aias:preset,option=value")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--ddpm-steps", type=int, default=1000, help="levels of the reference (default 1000)")
    parser.add_argument("--quick", action="store_true", help="three worlds at 10 steps, a check of a minute")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write settings, summary, goals and rows as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the summary")
    quick = parser.parse_known_args()[0].quick
    parser.set_defaults(**QUICK if quick else {})
    options = parser.parse_args()
    if options.worlds == ["unmasked"] and options.tables == ["x0_blend"]:
        parser.error("the unmasked world has no place for a foreground model; use --tables plain")
    try:
        for peer in options.peers:
            sampler_of(peer)
    except ValueError as error:
        parser.error(str(error))
    return options


if __name__ == "__main__":
    main()
