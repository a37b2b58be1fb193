"""The comparison as a table of text and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .compare import REFERENCE, TABLES

PANELS = {
    "ratio": "sliced W2 per mode / DDPM's",
    "variance": "variance within modes / DDPM's",
    "mode_error": "mode error",
    "without_defect": "masks without a defect",
}
HEAD = (
    "steps | calls of denoiser + foreground | W2 per mode / DDPM's (worst world) | plain W2 / DDPM's | "
    "masks without a defect | mode error | variance / DDPM's (worst world)"
)
RATIOS = (0.7, 1, 1.5, 2, 3, 5, 8, 12)


def print_lines(lines: Sequence[dict]) -> None:
    for table in TABLES:
        shown = [line for line in lines if line["table"] == table]
        if not shown:
            continue
        print(f"\n{table} | {HEAD}")
        for line in sorted(shown, key=lambda line: (line["steps"], line["ratio"])):
            print(_text(line))


def _text(line: dict) -> str:
    return " | ".join(
        [
            line["peer"],
            str(line["steps"]),
            f"{line['denoiser_calls']:.0f} + {line['foreground_calls']:.0f}",
            f"{_with_error(line, 'ratio', '.2f')} ({line['ratio_worst']:.2f})",
            _with_error(line, "ratio_plain", ".2f"),
            _with_error(line, "without_defect", ".2%"),
            _with_error(line, "mode_error", ".3f"),
            f"{_with_error(line, 'variance', '.3f')} ({line['variance_worst']:.2f})",
        ]
    )


def _with_error(line: dict, measure: str, form: str) -> str:
    return f"{line[measure]:{form}} ± {line[f'{measure}_se']:{form}}"


def print_goals(goals: Sequence[dict]) -> None:
    if goals:
        print("\ngoal | value | limit | holds")
    for goal in goals:
        print(f"{goal['goal']} | {goal['value']:.4g} | {goal['limit']:.4g} | {'yes' if goal['holds'] else 'NO'}")


def plot(lines: Sequence[dict], path: Path) -> None:
    """Every panel's figure against steps, a line per sampler with bars of one standard error; DDPM dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tables = [table for table in TABLES if any(line["table"] == table for line in lines)]
    figure, grid = pyplot.subplots(
        len(tables), len(PANELS), figsize=(4.6 * len(PANELS), 3.9 * len(tables)), squeeze=False, layout="constrained"
    )
    peers = dict.fromkeys(line["peer"] for line in lines if line["peer"] != REFERENCE)
    styles = {peer: _style(peer, f"C{i % 10}") for i, peer in enumerate(peers)}
    for table, axes in zip(tables, grid, strict=True):
        for (measure, title), axis in zip(PANELS.items(), axes, strict=True):
            _panel(axis, [line for line in lines if line["table"] == table], styles, measure)
            axis.set_title(f"{table}: {title}", fontsize=10)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _style(peer: str, color: str) -> dict:
    """AIAS is drawn in full lines, its peers in thin broken ones."""
    if peer.startswith("aias"):
        return {"color": color, "linewidth": 2.2, "marker": "o", "markersize": 5}
    return {"color": color, "linewidth": 1.1, "marker": "x", "markersize": 4, "linestyle": "--"}


def _panel(axis, lines: Sequence[dict], styles: dict[str, dict], measure: str) -> None:
    for peer, style in styles.items():
        points = sorted((line["steps"], line[measure], line[f"{measure}_se"]) for line in lines if line["peer"] == peer)
        axis.errorbar(*zip(*points, strict=True), label=peer, **style)
    reference = [line for line in lines if line["peer"] == REFERENCE]
    axis.axhline(reference[0][measure], color="black", linestyle=":", label=f"DDPM, {reference[0]['steps']} steps")
    steps = sorted({line["steps"] for line in lines if line["peer"] != REFERENCE})
    axis.set_xscale("log")
    axis.set_xticks(steps, [str(s) for s in steps])
    if measure == "ratio":
        axis.set_yscale("log")
        axis.set_yticks(RATIOS, [f"{ratio:g}" for ratio in RATIOS])
    if measure == "without_defect" and max(line[measure] for line in lines) < 0.5:
        axis.set_yscale("symlog", linthresh=1e-3)
        axis.set_ylim(bottom=0)
    axis.minorticks_off()
    axis.set_xlabel("steps")
    axis.grid(alpha=0.3)
