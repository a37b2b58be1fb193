"""What a study's cells say, in numbers alone: differences with their intervals, their noise, and what it would take.

Unless said otherwise `cells` are finished cells of one network and of one number of real defects, IoU is in 0 .. 1, and
"the IoU" is the mean over types of the type's pooled IoU over its own images, as the papers have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from ..methods import NEEDS_BASE, REAL_ONLY, is_method, needs
from .measures import MEASURES, image_key, mean_over_types

DRAWS = 2000
WIDTH = 1.96  # standard deviations to either side: 95 % of a normal distribution
BINS = 4
TINY = 100  # px: smaller masks are reported separately, since they are the first that methods lose
RISE = 0.02  # IoU by which a training has to change over the last third of its looks to be no longer level
_SIGNS = np.array([1.0, -1.0])
_AT_ONCE = 100  # draws


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, or the difference of two, and its 95 % interval over `seeds` and `groups` drawn together."""

    mean: float
    low: float
    high: float
    seeds: int
    groups: int


@dataclass(frozen=True)
class Noise:
    """What blurs a difference: seed: standard deviation from seed to seed, None with one seed; group: standard
    deviation of its mean over seeds when the groups are drawn again."""

    seed: float | None
    group: float
    seeds: int
    groups: int


@dataclass(frozen=True)
class Halves:
    """One arm against itself: mean IoU of its first `seeds` minus that of its last; the truth is 0."""

    mean: float
    seeds: int


@dataclass(frozen=True)
class Areas:
    """IoU by defect size. bounds: smallest and largest mask area of every bin in px, ascending; images: how many are in
    each; iou: {method: [seeds, bins]}."""

    bounds: list[tuple[int, int]]
    images: list[int]
    iou: dict[str, np.ndarray]


def methods(cells: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(cell["method"] for cell in cells))


def of(cells: Sequence[dict], method: str) -> list[dict]:
    return [cell for cell in cells if cell["method"] == method]


def is_baseline(method: str) -> bool:
    """Whether a method is one that ours, which sample with a base, and folders of pairs are compared with."""
    return is_method(method) and not needs(method, NEEDS_BASE)


def best_baseline(cells: Sequence[dict]) -> str:
    """The baseline with the highest mean IoU; "real-only" where there is none."""
    scores = {method: ious(of(cells, method)) for method in methods(cells) if is_baseline(method)}
    return max((name for name in scores if scores[name]), key=lambda name: np.mean(scores[name]), default=REAL_ONLY)


def references(cells: Sequence[dict], against: Sequence[str] = ()) -> list[str]:
    """What the methods are compared with: the best baseline, then the methods of `against` that have cells."""
    return list(dict.fromkeys([best_baseline(cells), *(name for name in against if of(cells, name))]))


def ious(cells: Sequence[dict]) -> list[float]:
    """The IoU of every cell that defines it, by seed."""
    ordered = sorted(cells, key=lambda cell: cell["seed"])
    return [cell["mean"]["iou"] for cell in ordered if cell["mean"]["iou"] is not None]


def score(cells: Sequence[dict], method: str, draws: int = DRAWS, measure: str = "iou") -> Interval | None:
    """The method's value of a measure in MEASURES; None with fewer than two groups, or where no type has an anomalous
    pixel."""
    return _interval([(cell,) for cell in of(cells, method)], draws, measure)


def difference(
    cells: Sequence[dict], method: str, other: str, draws: int = DRAWS, measure: str = "iou"
) -> Interval | None:
    """The measure of `method` minus that of `other`, paired by seed, the same groups drawn on both sides.

    A type that vanishes from a draw is left out of that draw's mean. With one seed only the groups are drawn.
    None where they share no seed, with fewer than two groups, or where no type has an anomalous pixel.
    """
    return _interval(_shared(cells, method, other), draws, measure)


def gains(cells: Sequence[dict], method: str, other: str, name: str) -> list[float]:
    """By how much `method` is over `other` in a metric's mean over types, under every seed that both define it for."""
    values = [{cell["seed"]: cell["mean"][name] for cell in of(cells, one)} for one in (method, other)]
    shared = sorted(values[0].keys() & values[1].keys())
    return [values[0][s] - values[1][s] for s in shared if None not in (values[0][s], values[1][s])]


def noise(cells: Sequence[dict], method: str, other: str, draws: int = DRAWS, measure: str = "iou") -> Noise | None:
    """The noise of that difference; None where there is no difference."""
    counts = _counts(_shared(cells, method, other), measure)
    if counts is None:
        return None
    gaps = mean_over_types(MEASURES[measure], counts.sum(3)) @ _SIGNS
    drawn = _drawn(counts, draws, np.random.default_rng(0), measure).mean(1)
    seeds, groups = counts.shape[0], counts.shape[3]
    return Noise(float(gaps.std(ddof=1)) if seeds > 1 else None, float(np.nanstd(drawn, ddof=1)), seeds, groups)


def needed(
    points: float, s_seed: float | None, s_group: float, seeds: int, groups: int
) -> tuple[int | None, int | None]:
    """(seeds, groups) that would make the 95 % interval +- `points`: seeds with these groups, groups with these seeds.

    points, s_seed and s_group are in one unit. The first solves 1.96 sqrt(s_seed^2 / n + s_group^2) <= points; the
    second lets s_group^2 fall as 1 / groups. None where the other noise alone is too wide, or s_seed is not known.
    """
    if s_seed is None:
        return None, None
    allowed = (points / WIDTH) ** 2
    return _count(s_seed**2, allowed - s_group**2), _count(s_group**2 * groups, allowed - s_seed**2 / seeds)


def halves(cells: Sequence[dict], method: str, network: str) -> Halves | None:
    """The same arm twice, in cells of any networks: what the yardstick shows where there is nothing to see.

    Of an odd number of seeds the middle one is left out; None with fewer than four.
    """
    values = ious([cell for cell in of(cells, method) if cell["network"] == network])
    count = len(values) // 2
    return Halves(float(np.mean(values[:count]) - np.mean(values[-count:])), count) if count > 1 else None


def by_area(cells: Sequence[dict]) -> Areas | None:
    """Pooled IoU of the images in each quarter of the mask areas, all types together; None without anomalous pixels.

    Images of one area stay in one bin, so there may be fewer than four, of unequal size.
    """
    areas = _areas(cells)
    values = np.array(list(areas.values()))
    return _in_bins(cells, areas, np.quantile(values, np.arange(1, BINS) / BINS)) if areas else None


def tiny(cells: Sequence[dict]) -> Areas | None:
    """The same for the images whose masks have fewer than TINY pixels, in one bin; None where there is none."""
    areas = {key: area for key, area in _areas(cells).items() if area < TINY}
    return _in_bins(cells, areas, np.array([])) if areas else None


def _areas(cells: Sequence[dict]) -> dict[tuple, int]:
    return {image_key(image): image["anomalous"] for cell in cells for image in cell["images"] if image["anomalous"]}


def _in_bins(cells: Sequence[dict], areas: dict[tuple, int], edges: np.ndarray) -> Areas:
    """Pooled IoU of the images with `areas`, in the bins that ascending `edges` part and that hold any."""
    values = np.array(list(areas.values()))
    found, place = np.unique(np.searchsorted(edges, values), return_inverse=True)
    bins = dict(zip(areas, place, strict=True))
    held = [values[place == index] for index in range(len(found))]
    iou = {name: np.stack([_by_bin(cell, bins, len(found)) for cell in of(cells, name)]) for name in methods(cells)}
    return Areas([(int(one.min()), int(one.max())) for one in held], [len(one) for one in held], iou)


def contrasts(cells: Sequence[dict], methods: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """{row: {type: signed contrasts}}: "real, train", "real, held back", then the methods that make pairs."""
    rows: dict[str, dict[str, list[float]]] = {"real, train": {}, "real, held back": {}}
    for cell in cells:
        rows["real, train"] |= cell["contrasts"]["train"]
        rows["real, held back"] |= cell["contrasts"]["held_back"]
    for method in methods:
        # The same pairs train every network: one cell per seed holds them all.
        by_seed = {cell["seed"]: cell["contrasts"]["pairs"] for cell in of(cells, method)}
        types = {type for found in by_seed.values() for type in found}
        if types:
            rows[method] = {type: [v for found in by_seed.values() for v in found.get(type, [])] for type in types}
    return rows


def validation(cells: Sequence[dict], method: str) -> list[list[tuple[int, float]]]:
    """The curves (step, IoU) of the method's trainings with groups held out, in cells of one network; may be none."""
    found = (cell["validation"]["curve"] for cell in of(cells, method) if cell.get("validation"))
    return [[(step, value) for step, value in curve] for curve in found if curve]


def mean_curve(curves: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Mean over trainings of the looks that all of them had."""
    return [(looks[0][0], float(np.mean([value for _, value in looks]))) for looks in zip(*curves, strict=False)]


def progress(curve: Sequence[tuple[int, float]]) -> str | None:
    """What a curve of validation IoU says of the number of steps: "rising" where the last third of the looks is on
    average more than 0.02 over the third before, "falling" where it is so much under it, else "level". None with fewer
    than three looks.

    Means, since a single look rests on a few images.
    """
    values = [value for _, value in curve]
    third = len(values) // 3
    if not third:
        return None
    gain = np.mean(values[-third:]) - np.mean(values[-2 * third : -third])
    return "rising" if gain > RISE else "falling" if gain < -RISE else "level"


def _shared(cells: Sequence[dict], method: str, other: str) -> list[tuple[dict, dict]]:
    sides = [{cell["seed"]: cell for cell in of(cells, name)} for name in (method, other)]
    return [(sides[0][seed], sides[1][seed]) for seed in sorted(sides[0].keys() & sides[1].keys())]


def _counts(rows: Sequence[tuple[dict, ...]], measure: str) -> np.ndarray | None:
    """The measure's vectors, [seed, side, type, group, K], of the images with defects.

    rows: the cells of every seed, one per side. None without rows, anomalous pixels or a second group.
    """
    found = [[MEASURES[measure].of(cell) for cell in row] for row in rows]
    keys = {key for row in found for side in row for key in side}
    types = {type: index for index, type in enumerate(sorted({type for type, _ in keys}))}
    groups = {group: index for index, group in enumerate(sorted({group for _, group in keys}))}
    if len(groups) < 2:
        return None
    length = len(next(iter(found[0][0].values())))
    counts = np.zeros((len(rows), len(rows[0]), len(types), len(groups), length))
    for seed, row in enumerate(found):
        for side, vectors in enumerate(row):
            for (type, group), vector in vectors.items():
                counts[seed, side, types[type], groups[group]] += vector
    return counts if MEASURES[measure].anomalous(counts).any() else None


def _interval(rows: Sequence[tuple[dict, ...]], draws: int, measure: str) -> Interval | None:
    counts = _counts(rows, measure)
    if counts is None:
        return None
    seeds, sides, groups = counts.shape[0], counts.shape[1], counts.shape[3]
    generator = np.random.default_rng(0)
    drawn = _drawn(counts, draws, generator, measure)
    weights = _draws(generator, seeds, draws) / seeds
    low, high = np.nanquantile((drawn * weights).sum(1), (0.025, 0.975))
    mean = (mean_over_types(MEASURES[measure], counts.sum(3)) @ _SIGNS[:sides]).mean()
    return Interval(float(mean), float(low), float(high), seeds, groups)


def _drawn(counts: np.ndarray, draws: int, generator: np.random.Generator, measure: str) -> np.ndarray:
    """The measure, or its difference, [draws, seeds], over groups drawn with replacement; NaN where a draw holds no
    defect."""
    weights = _draws(generator, counts.shape[3], draws).astype(float)
    parts = [weights[first : first + _AT_ONCE] for first in range(0, draws, _AT_ONCE)]  # histograms take memory
    sums = (np.tensordot(part, counts, (1, 3)) for part in parts)
    return np.concatenate([mean_over_types(MEASURES[measure], one) for one in sums]) @ _SIGNS[: counts.shape[1]]


def _draws(generator: np.random.Generator, count: int, draws: int) -> np.ndarray:
    """How often each of `count` is drawn, [draws, count]."""
    return generator.multinomial(count, np.full(count, 1 / count), draws)


def _count(needs: float, allowed: float) -> int | None:
    """The smallest whole number n >= 1 with needs / n <= allowed."""
    if not needs and allowed >= 0:
        return 1
    return max(ceil(needs / allowed - 1e-9), 1) if allowed > 0 else None


def _by_bin(cell: dict, bins: dict, count: int) -> np.ndarray:
    """IoU [count] of one cell's images; NaN where it has none of a bin."""
    sums = np.zeros((count, 3))
    for image in cell["images"]:
        if image_key(image) in bins:
            sums[bins[image_key(image)]] += image["hits"], image["false"], image["anomalous"]
    union = sums[:, 1] + sums[:, 2]
    return np.divide(sums[:, 0], union, out=np.full(count, np.nan), where=union > 0)
