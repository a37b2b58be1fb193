"""Every sampler on every world: one row per run, and the summary of all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log, sqrt
from statistics import fmean, stdev

from .measures import Target
from .peers import TABLE, Guide, euler_ancestral, sampler_of
from .worlds import World

REFERENCE = "ddpm"
TABLES = ("plain", "x0_blend")  # without a foreground model, and with it


def run_world(
    table: str,
    world: World,
    peers: Sequence[str],
    steps: Sequence[int],
    seeds: Sequence[int],
    samples: int,
    ddpm_steps: int = len(TABLE),
) -> list[dict]:
    """Rows of a world in a table: every sampler, number of steps and seed; first DDPM, the reference.

    A world without a background has no mask for a foreground model to fill, and gives no rows in x0_blend.
    """
    if table == "x0_blend" and not len(world.background):
        return []
    target = Target(world, table == "x0_blend", samples)
    runs = [(REFERENCE, ddpm_steps)] + [(peer, count) for peer in peers for count in steps]
    return [_row(table, world, target, peer, count, seed, samples) for peer, count in runs for seed in seeds]


def _row(table: str, world: World, target: Target, peer: str, steps: int, seed: int, samples: int) -> dict:
    guide = Guide(world, table == "x0_blend", samples, seed)
    x = (euler_ancestral if peer == REFERENCE else sampler_of(peer))(guide, steps)
    measured = target.measure(x.flatten(1)[:, : world.masked])
    return {
        "table": table,
        "world": world.name,
        "world_seed": world.seed,
        "peer": peer,
        "steps": steps,
        "seed": seed,
        "denoiser_calls": guide.calls["denoiser"],
        "foreground_calls": guide.calls["foreground"],
        **measured,
    }


def summarise(rows: Sequence[dict]) -> list[dict]:
    """One line per table, sampler and steps: means over worlds, with standard errors over the sampler's seeds.

    ratio, ratio_plain: sliced W2 per mode and plain over DDPM's of the same world and seed, geometric mean over
    worlds; ratio_worst: that of the world where it is largest. variance: mean over worlds and modes of the variance
    within a mode over DDPM's; variance_worst: that of the world where it is farthest from 1.
    """
    reference = {_run(row): row for row in rows if row["peer"] == REFERENCE}
    groups: dict = {}
    for row in rows:
        groups.setdefault((row["table"], row["peer"], row["steps"]), []).append(row)
    return [_line(*key, group, reference) for key, group in groups.items()]


def _line(table: str, peer: str, steps: int, rows: list[dict], reference: dict) -> dict:
    variances = {_run(row): _variance(row, reference) for row in rows}
    line = {
        "table": table,
        "peer": peer,
        "steps": steps,
        "denoiser_calls": fmean(row["denoiser_calls"] for row in rows),
        "foreground_calls": fmean(row["foreground_calls"] for row in rows),
    }
    ratios = {
        "ratio": lambda row: log(row["w2_modes"] / reference[_run(row)]["w2_modes"]),
        "ratio_plain": lambda row: log(row["w2"] / reference[_run(row)]["w2"]),
    }
    for name, of in ratios.items():
        mean, error = _over_seeds(rows, of)
        line[name], line[f"{name}_se"] = exp(mean), exp(mean) * error
    for name, of in {
        "w2_modes": lambda row: row["w2_modes"],
        "w2": lambda row: row["w2"],
        "without_defect": lambda row: row["without_defect"],
        "mode_error": lambda row: row["mode_error"],
        "variance": lambda row: variances[_run(row)],
    }.items():
        line[name], line[f"{name}_se"] = _over_seeds(rows, of)
    line["ratio_worst"] = exp(max(_by_world(rows, ratios["ratio"])))
    line["variance_worst"] = max(
        _by_world(rows, lambda row: variances[_run(row)]), key=lambda variance: abs(variance - 1)
    )
    return line


def _by_world(rows: Sequence[dict], of: Callable[[dict], float]) -> list[float]:
    """Means over seeds."""
    worlds = dict.fromkeys(_world(row) for row in rows)
    return [fmean(of(row) for row in rows if _world(row) == world) for world in worlds]


def _over_seeds(rows: Sequence[dict], of: Callable[[dict], float]) -> tuple[float, float]:
    """Mean over worlds, then over seeds, and the standard error of the latter; 0 where there is one seed."""
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        by_seed.setdefault(row["seed"], []).append(of(row))
    means = [fmean(values) for values in by_seed.values()]
    return fmean(means), stdev(means) / sqrt(len(means)) if len(means) > 1 else 0.0


def _variance(row: dict, reference: dict) -> float:
    """Mean over the modes that DDPM and the row both reached; DDPM's is its mean over seeds."""
    ratios = []
    for k, variance in enumerate(row["variances"]):
        base = [other["variances"][k] for other in reference.values() if _world(other) == _world(row)]
        base = [value for value in base if value is not None]
        if variance is not None and base:
            ratios.append(variance / fmean(base))
    return fmean(ratios)


def _world(row: dict) -> tuple:
    return row["table"], row["world"], row["world_seed"]


def _run(row: dict) -> tuple:
    return (*_world(row), row["seed"])


def goals(lines: Sequence[dict]) -> list[dict]:
    """The goals of `fast` and `recommended` with the foreground model: what, value, limit, whether it holds.

    At 20 calls the goal is DDPM itself, within two standard errors.
    """
    found = {(line["peer"], line["steps"]): line for line in lines if line["table"] == "x0_blend"}
    limits = {6: 2.0, 8: 1.15, 10: 1.15, 20: 1.0}
    checks = []
    for steps, limit in limits.items():
        fast, recommended = found.get(("aias:fast", steps)), found.get(("aias:recommended", steps))
        if fast:
            slack = 2 * fast["ratio_se"] if steps == 20 else 0.0
            checks += [
                _goal(f"fast at {steps}: per-mode W2 over DDPM's", fast["ratio"], limit + slack),
                _goal(f"fast at {steps}: masks without a defect", fast["without_defect"], 0.003),
                _goal(f"fast at {steps}: |variance over DDPM's - 1|", abs(fast["variance"] - 1), 0.05),
            ]
        if fast and recommended:
            checks.append(
                _goal(f"recommended at {steps}: per-mode W2 over fast's", recommended["ratio"] / fast["ratio"], 1.0)
            )
    return checks


def _goal(what: str, value: float, limit: float) -> dict:
    return {"goal": what, "value": value, "limit": limit, "holds": value <= limit}
