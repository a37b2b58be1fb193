"""The report's figures, as PNG bytes. matplotlib is imported here alone, and only when something is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from ..methods import REAL_ONLY
from ..pair_statistics import VISIBLE
from . import compare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI, WIDE = 110, 9.5  # inches: about 1000 px
DOTS = 60  # in a row of the contrasts: evenly through the sorted values
_GREY = "#555555"
# Okabe and Ito's colours without yellow, which white swallows, and three of Tol's: told apart with any colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288")
_MARKERS = "osD^vPX*<>"
_CONTRAST_AXIS = "signed contrast, SD of the surface around (negative: darker; grey band: hardly visible)"
_STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}


def network_figures(cells: Sequence[dict], methods: Sequence[str]) -> dict[str, bytes]:
    """{"area", "validation"}: what can be drawn of one network's finished cells.

    methods: all of the study, in order: a method has one colour in every figure. Raises ImportError without matplotlib.
    """
    drawn = {}
    areas = compare.by_area(cells)
    if areas is not None:
        drawn["area"] = _png((WIDE, 4.6), lambda figure: _area(figure, areas, methods))
    trainings = {method: compare.validation(cells, method) for method in methods}
    trainings = {method: own for method, own in trainings.items() if own and len(own[0]) > 1}
    if trainings:
        size = WIDE, 0.7 + 2.5 * ceil(len(trainings) / 4)
        drawn["validation"] = _png(size, lambda figure: _validation(figure, trainings, methods))
    return drawn


def contrast_figure(cells: Sequence[dict], methods: Sequence[str]) -> bytes | None:
    """Signed contrasts per type: real ones and every method's, all seeds together; None without any.

    Raises ImportError without matplotlib.
    """
    rows = contrasts(cells, methods)
    types = sorted({type for found in rows.values() for type, values in found.items() if values})
    if not types:
        return None
    down = ceil(len(types) / 3)
    across = ceil(len(types) / down)
    high = 0.75 + down * (0.75 + 0.3 * len(rows))
    return _png((WIDE, high), lambda figure: _contrasts(figure, rows, types, methods, (down, across)))


def contrasts(cells: Sequence[dict], methods: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """{row: {type: signed contrasts}}: "real, train", "real, held back", then the methods that make pairs."""
    rows: dict[str, dict[str, list[float]]] = {"real, train": {}, "real, held back": {}}
    for cell in cells:
        rows["real, train"] |= cell["contrasts"]["train"]
        rows["real, held back"] |= cell["contrasts"]["held_back"]
    for method in methods:
        # The same pairs train every network: one cell per seed holds them all.
        by_seed = {cell["seed"]: cell["contrasts"]["pairs"] for cell in compare.of(cells, method)}
        types = {type for found in by_seed.values() for type in found}
        if types:
            rows[method] = {type: [v for found in by_seed.values() for v in found.get(type, [])] for type in types}
    return rows


def _png(size: tuple[float, float], draw: Callable[[Figure], None]) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
        draw(figure)
        stream = BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _colour(method: str, methods: Sequence[str]) -> str:
    others = [name for name in methods if name != REAL_ONLY]
    return _COLOURS[others.index(method) % len(_COLOURS)] if method in others else _GREY


def _marker(method: str, methods: Sequence[str]) -> str:
    return _MARKERS[list(methods).index(method) % len(_MARKERS)]


def _area(figure: Figure, areas: compare.Areas, methods: Sequence[str]) -> None:
    """Mean over seeds, a bar from the lowest seed to the highest; methods side by side in every bin."""
    axes = figure.add_subplot()
    names = [method for method in methods if method in areas.iou]
    places = np.arange(len(areas.bounds))
    for index, name in enumerate(names):
        values = 100 * areas.iou[name]
        known = ~np.isnan(values).any(0)
        x, values = (places + _aside(index, len(names)))[known], values[:, known]
        colour, middle = _colour(name, methods), values.mean(0)
        axes.plot(x, middle, color=colour, linewidth=1, alpha=0.35)
        axes.vlines(x, values.min(0), values.max(0), color=colour, linewidth=2.2)
        axes.plot(x, middle, _marker(name, methods), color=colour, markersize=7, label=_shown(name))
    for place in places[1:]:
        axes.axvline(place - 0.5, color="#d0d0d0", linewidth=0.8)
    axes.set_xticks(
        places,
        [f"{low} to {high}\n({images} images)" for (low, high), images in zip(areas.bounds, areas.images, strict=True)],
    )
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="mask area, px", ylabel="pooled IoU, %", xlim=(-0.5, len(places) - 0.5), ylim=(0, None))
    _legend(figure, axes)


def _aside(index: int, count: int) -> float:
    return 0.0 if count < 2 else 0.62 * (index / (count - 1) - 0.5)


def _validation(figure: Figure, trainings: dict[str, list], methods: Sequence[str]) -> None:
    """One panel per method: every training a thin line, their mean a thick one; behind them, for comparison, the first
    method's mean."""
    down = ceil(len(trainings) / 4)
    across = ceil(len(trainings) / down)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    first = _points(compare.mean_curve(next(iter(trainings.values()))))
    for axes, (name, own) in zip(panels.flat, trainings.items(), strict=False):
        colour = _colour(name, methods)
        axes.plot(*first, color="#b5b5b5", linewidth=1.6)
        for curve in own:
            axes.plot(*_points(curve), color=colour, linewidth=0.9, alpha=0.5)
        axes.plot(*_points(compare.mean_curve(own)), color=colour, linewidth=2.4)
        axes.set_title(_shown(name))
        axes.set_xlim(0, None)
    for axes in panels.flat[len(trainings) - across : len(trainings)]:
        axes.tick_params(labelbottom=True)  # the last one of its column, with or without a full row below
    for axes in panels.flat[len(trainings) :]:
        axes.set_visible(False)
    figure.supxlabel(f"training step (grey: {_shown(next(iter(trainings)))})", fontsize=11)
    figure.supylabel("validation IoU, %", fontsize=11)


def _points(curve: Sequence[tuple[int, float]]) -> np.ndarray:
    """(steps, percent), [2, looks]."""
    return np.array(curve, dtype=float).T * [[1], [100]]


def _contrasts(
    figure: Figure, rows: dict[str, dict], types: Sequence[str], methods: Sequence[str], grid: tuple[int, int]
) -> None:
    """One panel per type, one box per row: quartiles, a bold median, whiskers from 5 to 95 %, up to 60 dots."""
    panels = figure.subplots(*grid, squeeze=False, sharey=True)
    for axes, type in zip(panels.flat, types, strict=False):
        for place, (name, found) in enumerate(rows.items()):
            if found.get(type):
                _box(axes, found[type], place, _colour(name, methods))
        axes.axvspan(-VISIBLE, VISIBLE, color="#ececec", zorder=0)
        axes.set_title(_shown(type))
        axes.set_yticks(range(len(rows)), [_shown(name) for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
    for axes in panels.flat[len(types) :]:
        axes.set_visible(False)
    figure.supxlabel(_CONTRAST_AXIS, fontsize=11)


def _box(axes: Axes, values: Sequence[float], place: int, colour: str) -> None:
    line = {"color": colour, "linewidth": 1.4}
    axes.boxplot(
        [values],
        positions=[place],
        widths=0.6,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        medianprops={"color": colour, "linewidth": 3.2},
        whiskerprops=line,
        capprops=line,
        boxprops={"facecolor": f"{colour}38", "edgecolor": colour, "linewidth": 1.2},
    )
    # A box hides two heaps, dark and bright defects; dots show them. Those beyond the whiskers would squeeze the rest.
    ordered = np.sort(values)[int(0.05 * len(values)) : ceil(0.95 * len(values))]
    shown = ordered[np.unique(np.linspace(0, len(ordered) - 1, DOTS).round().astype(int))]
    beside = np.random.default_rng(0).uniform(-0.22, 0.22, len(shown))
    axes.plot(shown, place + beside, "o", color=colour, markersize=3.2, alpha=0.55, markeredgewidth=0)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 5), handlelength=1.6)


def _shown(name: str) -> str:
    """A name as matplotlib shows it plainly: it reads mathematics between dollar signs."""
    return name.replace("$", r"\$")
