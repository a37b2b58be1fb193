"""A painted shape that a drawn defect fills: how deep every pixel lies in it, and the line along its length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter1d, map_coordinates
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from .fields import Rng

_COARSE = 64  # cells along a shape's longer side, on which its length is searched


class Region:
    """A shape, bool [H, W], not empty, one piece.

    inside: signed distance to its outline in px, positive inside, [H, W]; spine: the longest line through its middle,
    [N, 2] of (row, column).
    """

    def __init__(self, shape: np.ndarray):
        self.inside = (distance_transform_edt(shape) - distance_transform_edt(~shape)).astype(np.float32)
        self.inside -= np.where(shape, 0.5, -0.5).astype(np.float32)
        self.spine = _spine(shape)

    @property
    def depth(self) -> float:
        """Of its deepest pixel, px."""
        return float(self.inside.max())

    @property
    def length(self) -> float:
        """Of its spine, px."""
        return float(np.hypot(*np.diff(self.spine, axis=0).T).sum())

    def line(self, rng: Rng, points: int, wander: float, smooth: float = 0.0) -> np.ndarray:
        """`points` along the spine, each moved off it by up to about `wander` of the room there; smooth: over so many
        points."""
        way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(self.spine, axis=0).T))])
        places = np.linspace(0, way[-1], points)
        line = np.stack([np.interp(places, way, self.spine[:, axis]) for axis in (0, 1)], axis=1)
        room = np.maximum(map_coordinates(self.inside, line.T, order=1, mode="nearest"), 0)
        away = rng.normal(0, 1, line.shape)
        if smooth:
            away = gaussian_filter1d(away, smooth, axis=0) * smooth
        return line + np.clip(away, -1.5, 1.5) * (wander * room)[:, None]

    def spots(self, rng: Rng, count: int, smallest: float) -> Iterator[tuple[tuple[float, float], float]]:
        """(centre, reach) of `count` places inside."""
        rows, columns = np.nonzero(self.inside > 0)
        for _ in range(count):
            pick = rng.integers(len(rows))
            row, column = int(rows[pick]), int(columns[pick])
            yield (row, column), max(smallest, float(self.inside[row, column]) * rng.uniform(0.5, 1))


def _spine(shape: np.ndarray) -> np.ndarray:
    """The longest of the shortest ways through a shape, which keep to its middle."""
    rows, columns = np.nonzero(shape)
    top, left = rows.min(), columns.min()
    factor = max(1, -(-max(np.ptp(rows) + 1, np.ptp(columns) + 1) // _COARSE))
    cells = np.unique(np.stack([(rows - top) // factor, (columns - left) // factor], axis=1), axis=0)
    if len(cells) == 1:
        centre = np.array([rows.mean(), columns.mean()])
        half = max(np.ptp(rows), np.ptp(columns), 1) / 2
        return np.stack([centre - (0, half), centre + (0, half)])
    number = np.full(cells.max(0) + 3, -1)
    number[tuple((cells + 1).T)] = np.arange(len(cells))
    depth = distance_transform_edt(np.pad(number >= 0, 1))[1:-1, 1:-1]
    starts, ends, costs = [], [], []
    for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = cells + 1 + step
        there = number[tuple(other.T)]
        pair = there >= 0
        near = np.minimum(depth[tuple((cells[pair] + 1).T)], depth[tuple(other[pair].T)])
        starts.append(np.nonzero(pair)[0])
        ends.append(there[pair])
        costs.append(np.hypot(*step) * (1 + 4 / near**2))  # the middle is cheaper than the rim
    edges = (np.concatenate(costs), (np.concatenate(starts), np.concatenate(ends)))
    graph = csr_matrix(edges, shape=(len(cells),) * 2)
    start = _farthest(dijkstra(graph, directed=False, indices=0))
    away, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    way = [_farthest(away)]
    while way[-1] != start:
        way.append(before[way[-1]])
    line = cells[way] * factor + np.array([top, left]) + (factor - 1) / 2
    return line if len(line) < 5 else gaussian_filter1d(line, 1.0, axis=0, mode="nearest")


def _farthest(away: np.ndarray) -> int:
    return int(np.where(np.isfinite(away), away, -1).argmax())
