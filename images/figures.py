"""Figures of a report as PNG bytes, from plain numbers. matplotlib is imported when something is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI, WIDE = 110, 9.5  # inches: about 1000 px
DOTS = 60  # in a row of boxes: evenly through the sorted values
_GREY = "#555555"
# Okabe and Ito's colours without yellow, which white swallows, and three of Tol's: distinct with any colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288")
_MARKERS = "osD^vPX*<>"
_RC = {
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

Curve = Sequence[tuple[int, float]]


class Style(NamedTuple):
    """How one name is drawn in every figure."""

    colour: str = _GREY
    marker: str = _MARKERS[0]


def styles(names: Sequence[str], grey: str) -> dict[str, Style]:
    """A style for every name; the one called `grey` is drawn in grey."""
    coloured = [name for name in names if name != grey]
    colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(coloured)}
    return {name: Style(colours.get(name, _GREY), _MARKERS[place % len(_MARKERS)]) for place, name in enumerate(names)}


def dots_by_bin(
    bins: Sequence[str], values: Mapping[str, np.ndarray], styles: Mapping[str, Style], x: str, y: str
) -> bytes:
    """Names side by side in every bin: the mean over seeds, and a bar from the lowest seed to the highest.

    Args:
        bins: labels.
        values: by name, [seeds, bins] in 0 .. 1, shown in percent; a bin with a NaN is left out.
        styles: of every name in values.
        x, y: labels of the axes.

    Raises:
        ImportError: matplotlib is missing.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(bins))
        for index, (name, shares) in enumerate(values.items()):
            percent = 100 * shares
            known = ~np.isnan(percent).any(0)
            across, percent = (places + _aside(index, len(values)))[known], percent[:, known]
            (colour, marker), middle = styles[name], percent.mean(0)
            axes.plot(across, middle, color=colour, linewidth=1, alpha=0.35)
            axes.vlines(across, percent.min(0), percent.max(0), color=colour, linewidth=2.2)
            axes.plot(across, middle, marker, color=colour, markersize=7, label=_plain(name))
        for place in places[1:]:
            axes.axvline(place - 0.5, color="#d0d0d0", linewidth=0.8)
        axes.set_xticks(places, bins)
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        axes.set(xlabel=x, ylabel=y, xlim=(-0.5, len(places) - 0.5), ylim=(0, None))
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 5), handlelength=1.6)

    return _png((WIDE, 4.6), draw)


def spans_by_bin(
    bins: Mapping[int, str],
    spans: Mapping[str, Mapping[int, tuple[float, float, float]]],
    styles: Mapping[str, Style],
    x: str,
    y: str,
) -> bytes:
    """Names side by side in every bin: a mean and its interval, joined by a line from bin to bin.

    Args:
        bins: labels by key, in order.
        spans: by name and key, (mean, low, high) in 0 .. 1, shown in percent; a name may lack bins.
        styles: of every name in spans.
        x, y: labels of the axes.

    Raises:
        ImportError: matplotlib is missing.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        place = {key: index for index, key in enumerate(bins)}
        for index, (name, own) in enumerate(spans.items()):
            colour, marker = styles[name]
            across = [place[key] + _aside(index, len(spans)) for key in own]
            middle, low, high = 100 * np.array(list(own.values())).T
            axes.plot(across, middle, color=colour, linewidth=1.2, alpha=0.5)
            axes.vlines(across, low, high, color=colour, linewidth=2.2)
            axes.plot(across, middle, marker, color=colour, markersize=7, label=_plain(name))
        axes.set_xticks(range(len(bins)), bins.values())
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        axes.set(xlabel=x, ylabel=y, xlim=(-0.5, len(bins) - 0.5), ylim=(0, None))
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 5), handlelength=1.6)

    return _png((WIDE, 4.6), draw)


def curve_panels(
    runs: Mapping[str, Sequence[Curve]], means: Mapping[str, Curve], styles: Mapping[str, Style], x: str, y: str
) -> bytes:
    """One panel per name: every run a thin line, their mean a thick one; behind them the first name's mean in grey.

    Args:
        runs: by name, (step, value in 0 .. 1) in order of the steps; values are shown in percent.
        means: of every name's runs.
        styles: of every name.
        x, y: labels of the axes.

    Raises:
        ImportError: matplotlib is missing.
    """
    down = ceil(len(runs) / 4)
    across = ceil(len(runs) / down)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        first = _points(next(iter(means.values())))
        for axes, (name, own) in zip(panels.flat, runs.items(), strict=False):
            colour = styles[name].colour
            axes.plot(*first, color="#b5b5b5", linewidth=1.6)
            for curve in own:
                axes.plot(*_points(curve), color=colour, linewidth=0.9, alpha=0.5)
            axes.plot(*_points(means[name]), color=colour, linewidth=2.4)
            axes.set_title(_plain(name))
            axes.set_xlim(0, None)
        for axes in panels.flat[len(runs) - across : len(runs)]:
            axes.tick_params(labelbottom=True)  # the last one of its column, with or without a full row below
        for axes in panels.flat[len(runs) :]:
            axes.set_visible(False)
        figure.supxlabel(_plain(x), fontsize=11)
        figure.supylabel(y, fontsize=11)

    return _png((WIDE, 0.7 + 2.5 * down), draw)


def box_panels(
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    panels: Sequence[str],
    styles: Mapping[str, Style],
    band: float,
    x: str,
) -> bytes:
    """One panel per name in `panels`, one box per row: quartiles, a bold median, whiskers from 5 to 95 %, and dots.

    Args:
        rows: {row: {panel: values}}; a panel without values of a row has no box there.
        panels: at least one.
        styles: of the rows; one without is drawn in grey.
        band: half the width of a grey band around 0.
        x: label of the axis.

    Raises:
        ImportError: matplotlib is missing.
    """
    down = ceil(len(panels) / 3)
    across = ceil(len(panels) / down)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(down, across, squeeze=False, sharey=True)
        for axes, panel in zip(grid.flat, panels, strict=False):
            for place, (name, found) in enumerate(rows.items()):
                if found.get(panel):
                    _box(axes, found[panel], place, styles.get(name, Style()).colour)
            axes.axvspan(-band, band, color="#ececec", zorder=0)
            axes.set_title(_plain(panel))
            axes.set_yticks(range(len(rows)), [_plain(name) for name in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=False, axis="y")
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel(x, fontsize=11)

    return _png((WIDE, 0.75 + down * (0.75 + 0.3 * len(rows))), draw)


def _png(size: tuple[float, float], draw: Callable[[Figure], None]) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
        draw(figure)
        stream = BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _aside(index: int, count: int) -> float:
    return 0.0 if count < 2 else 0.62 * (index / (count - 1) - 0.5)


def _points(curve: Curve) -> np.ndarray:
    """(steps, percent), [2, points]."""
    return np.array(curve, dtype=float).T * [[1], [100]]


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


def _plain(text: str) -> str:
    """A text as matplotlib shows it plainly: it reads mathematics between dollar signs."""
    return text.replace("$", r"\$")
