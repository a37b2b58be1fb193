"""Outlines of defects: lines, trees of lines, blobs and flakes, as signed distances in px, positive inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fields import Rng, Size, grid, line_distance, noise, profile
from .region import Region


@dataclass(frozen=True, eq=False)
class Place:
    """Where a defect goes: its centre (row, column), how far it reaches from there in px, and its direction.

    region: a shape that it fills instead of a random one: areas take its outline, lines follow its length.
    """

    centre: tuple[float, float]
    reach: float
    angle: float
    region: Region | None = None

    def within(self, rng: Rng, reach: float) -> Place:
        """A smaller place inside this one, of another direction."""
        room, turn = max(self.reach - reach, 0) * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        centre = (self.centre[0] + room * np.sin(turn), self.centre[1] + room * np.cos(turn))
        return Place(centre, reach, rng.uniform(0, np.pi))


def curve(rng: Rng, place: Place, bend: float, points: int = 12) -> np.ndarray:
    """A line [points, 2] of (row, column) through the place from end to end; `bend` turns it by about so many radians,
    smoothly."""
    if place.region is not None:
        return place.region.line(rng, points, 0.25, smooth=2.0)
    turns = np.cumsum(rng.normal(0, 1, points))
    heading = place.angle + bend * (turns - turns.mean()) / points**0.5
    steps = np.stack([np.sin(heading), np.cos(heading)], axis=1)
    return _fitted(np.cumsum(steps, axis=0), place)


def jagged(rng: Rng, place: Place, swerve: float = 0.7, points: int = 14) -> np.ndarray:
    """As `curve`, but every point swerves from the direction by itself."""
    if place.region is not None:
        return place.region.line(rng, points, 0.6 * swerve)
    heading = place.angle + rng.uniform(-swerve, swerve, points)
    steps = np.stack([np.sin(heading), np.cos(heading)], axis=1) * rng.uniform(0.5, 1.5, (points, 1))
    return _fitted(np.cumsum(steps, axis=0), place)


def tube(size: Size, rng: Rng, line: np.ndarray, half: float, rough: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Inside of a line of half width `half` px that tapers at both ends, and the place along it in -1 .. 1."""
    away, along = line_distance(size, line)
    length = max(float(np.hypot(*np.diff(line, axis=0).T).sum()), 1e-6)
    place = 2 * along / length - 1
    taper = np.clip(1 - np.abs(place) ** rng.uniform(2, 6), 0, 1) ** 0.5
    width = half * (0.25 + 0.75 * taper) * (1 + rough * profile(along + 10, rng, max(2.0, length / 12)))
    return np.maximum(width, 0.25) - away, place


def tree(size: Size, rng: Rng, place: Place, half: float) -> np.ndarray:
    """Inside of a line that swerves and branches, as cracks do."""
    trunk = jagged(rng, place)
    inside, _ = tube(size, rng, trunk, half)
    for _ in range(rng.integers(0, 5)):
        joint = trunk[rng.integers(2, len(trunk) - 2)]
        turn = place.angle + rng.choice([-1, 1]) * rng.uniform(0.4, 1.3)
        branch = jagged(rng, Place((0.0, 0.0), place.reach * rng.uniform(0.15, 0.5), turn), points=7)
        branch = branch - branch[0] + joint
        part, _ = tube(size, rng, branch, half * rng.uniform(0.5, 0.9))
        inside = np.maximum(inside, np.where(_away(size, place) < place.reach, part, -9.0))
    return inside


def blob(size: Size, rng: Rng, place: Place, rough: float, stretch: float = 1.6) -> np.ndarray:
    """Inside of a closed outline; rough: 0 an ellipse .. 0.5 torn; stretch: the longest it may be against its width."""
    if place.region is not None:
        return place.region.inside.copy()
    x, y = grid(size, place.angle, place.centre)
    ratio = rng.uniform(1, stretch)
    theta = np.arctan2(y * ratio, x)
    orders = np.arange(2, 8)
    lobes = sum(
        a * np.cos(k * theta + p)
        for k, a, p in zip(
            orders, rng.uniform(0.3, 1, len(orders)) / orders, rng.uniform(0, 6.3, len(orders)), strict=True
        )
    )
    room = place.reach / (1 + rough)
    torn = rough * noise(size, rng, max(1.0, 0.12 * place.reach)) * 0.4
    radius = room * np.clip(1 + rough * lobes * 0.6 + torn, 0.3, 1 + rough)
    return (radius - np.hypot(x, y * ratio)) / ratio**0.5


def flake(size: Size, rng: Rng, place: Place, corners: int | None = None) -> np.ndarray:
    """Inside of a convex polygon with straight edges, as splinters and chips have."""
    if place.region is not None:
        return place.region.inside + 0.4 * noise(size, rng, 1.5)
    x, y = grid(size, place.angle, place.centre)
    count = corners or rng.integers(3, 8)
    turns = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) * 2 * np.pi / count
    edges = place.reach * rng.uniform(0.35, 0.8, count)
    sides = [edge - (np.cos(turn) * x + np.sin(turn) * y) for turn, edge in zip(turns, edges, strict=True)]
    inside = np.minimum.reduce(sides)
    return np.minimum(inside, place.reach - np.hypot(x, y)) + 0.4 * noise(size, rng, 1.5)


def spots(size: Size, rng: Rng, place: Place, count: int, smallest: float = 1.2, rough: float = 0.2) -> np.ndarray:
    """Inside of several blobs, few large and many small."""
    inside = np.full(size, -99.0, np.float32)
    if place.region is not None:
        for centre, room in place.region.spots(rng, count, smallest):
            inside = np.maximum(inside, blob(size, rng, Place(centre, room, rng.uniform(0, np.pi)), rough))
        return inside
    for _ in range(count):
        reach = max(smallest, place.reach * rng.uniform(0.08, 0.45) ** 1.3)
        inside = np.maximum(inside, blob(size, rng, place.within(rng, reach), rough))
    return inside


def _away(size: Size, place: Place) -> np.ndarray:
    return np.hypot(*grid(size, centre=place.centre))


def _fitted(line: np.ndarray, place: Place) -> np.ndarray:
    """A line moved and scaled so that it just stays within reach of the place's centre."""
    middle = (line.max(0) + line.min(0)) / 2
    line = line - middle
    return line * (place.reach / max(np.hypot(*line.T).max(), 1e-6)) + np.array(place.centre)
