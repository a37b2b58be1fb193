"""Random fields that surfaces and defects are made of: noise by scale and direction, cells, distances to lines.

Every field is float32 [H, W]; lengths are pixels, angles radians. A generator decides every value.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

Rng = np.random.Generator
Size = tuple[int, int]
_MARGIN = 16  # px of a periodic field that are cut off, so that opposite borders do not repeat


def grid(size: Size, angle: float = 0.0, centre: tuple[float, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) from `centre` (row, column; None: the middle), in a frame turned by `angle`."""
    row, column = ((size[0] - 1) / 2, (size[1] - 1) / 2) if centre is None else centre
    y, x = np.ogrid[: size[0], : size[1]]
    x, y = (x - column).astype(np.float32), (y - row).astype(np.float32)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def noise(size: Size, rng: Rng, along: float, across: float | None = None, angle: float = 0.0) -> np.ndarray:
    """Gaussian noise blurred by `along` and `across` (None: the same) in a frame turned by `angle`; unit spread."""
    u, v = _frequencies(size, angle)
    across = along if across is None else across
    return _filtered(size, rng, np.exp(-2 * np.pi**2 * ((along * u) ** 2 + (across * v) ** 2)))


def fractal(
    size: Size, rng: Rng, coarse: float, fine: float = 1.0, slope: float = 1.0, stretch: float = 1.0, angle: float = 0.0
) -> np.ndarray:
    """Noise whose amplitude falls with frequency to the power `slope`, between the scales `coarse` and `fine`; unit
    spread. stretch: how much longer it is along `angle` than across."""
    u, v = _frequencies(size, angle)
    f = np.hypot(u * stretch, v) + 1e-6
    return _filtered(size, rng, f**-slope * np.exp(-((f * fine) ** 2)) * (1 - np.exp(-((f * coarse) ** 2))))


def profile(x: np.ndarray, rng: Rng, scale: float, length: int = 1024) -> np.ndarray:
    """A random function of one coordinate, smooth over `scale`: unit spread, looked up at every x."""
    table = ndimage.gaussian_filter1d(rng.standard_normal(length), max(scale, 0.1), mode="wrap")
    table = (table / (table.std() + 1e-9)).astype(np.float32)
    place = np.mod(x, length - 1)
    first = place.astype(np.int32)
    part = place - first
    return table[first] * (1 - part) + table[first + 1] * part


def cells(
    size: Size, rng: Rng, spacing: float, jitter: float = 0.95, stretch: float = 1.0, angle: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voronoi cells of jittered points: distances to the nearest and the second point in units of `spacing`, and a
    random value in 0 .. 1 of the nearest point's cell. stretch: as in `fractal`."""
    x, y = grid(size, angle)
    u, v = x / (spacing * stretch), y / spacing
    u, v = u - u.min() + 1, v - v.min() + 1
    i, j = v.astype(np.int32), u.astype(np.int32)
    rows, columns = int(i.max()) + 2, int(j.max()) + 2
    points = 0.5 + jitter * (rng.random((rows + 1, columns + 1, 2), dtype=np.float32) - 0.5)
    values = rng.random((rows + 1, columns + 1), dtype=np.float32)
    first = np.full(np.broadcast_shapes(u.shape, v.shape), 9, np.float32)
    second, value = first.copy(), np.zeros_like(first)
    i, j = np.broadcast_arrays(i, j)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            point = points[i + di, j + dj]
            away = np.hypot(v - (i + di) - point[..., 0], u - (j + dj) - point[..., 1])
            nearer = away < first
            second = np.where(nearer, first, np.minimum(second, away))
            value = np.where(nearer, values[i + di, j + dj], value)
            first = np.where(nearer, away, first)
    return first, second, value


def step(inside: np.ndarray, soft: float = 1.0) -> np.ndarray:
    """Coverage in 0 .. 1 from a signed distance (positive inside): smooth over `soft` px around its zero line."""
    t = np.clip(inside / max(soft, 1e-3) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def warped(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`field` [H, W] or [H, W, C] looked up at displaced places; displacements in px, borders reflected."""
    place = np.indices(field.shape[:2], dtype=np.float32)
    place[0] += rows
    place[1] += columns
    if field.ndim == 2:
        return ndimage.map_coordinates(field, place, order=1, mode="reflect")
    layers = [ndimage.map_coordinates(field[..., c], place, order=1, mode="reflect") for c in range(field.shape[2])]
    return np.stack(layers, axis=-1)


def line_distance(size: Size, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every pixel to a line through the points [N, 2] (row, column), and how far along it that is, px."""
    y, x = np.ogrid[: size[0], : size[1]]
    y, x = y.astype(np.float32), x.astype(np.float32)
    nearest = np.full(size, 1e9, np.float32)
    along, start = np.zeros(size, np.float32), 0.0
    for (r0, c0), (r1, c1) in zip(line[:-1], line[1:], strict=True):
        dr, dc = r1 - r0, c1 - c0
        length = float(np.hypot(dr, dc))
        t = np.clip(((y - r0) * dr + (x - c0) * dc) / max(length**2, 1e-9), 0, 1)
        away = np.hypot(y - r0 - t * dr, x - c0 - t * dc)
        closer = away < nearest
        nearest = np.where(closer, away, nearest)
        along = np.where(closer, start + t * length, along)
        start += length
    return nearest, along


@lru_cache(maxsize=16)
def _plane(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    fy = fft.fftfreq(height).astype(np.float32)[:, None]
    return fy, fft.rfftfreq(width).astype(np.float32)[None]


def _canvas(size: Size) -> Size:
    return fft.next_fast_len(size[0] + _MARGIN), fft.next_fast_len(size[1] + _MARGIN, real=True)


def _frequencies(size: Size, angle: float) -> tuple[np.ndarray, np.ndarray]:
    fy, fx = _plane(*_canvas(size))
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * fx + s * fy, c * fy - s * fx


def _filtered(size: Size, rng: Rng, amplitude: np.ndarray) -> np.ndarray:
    height, width = _canvas(size)
    amplitude[0, 0] = 0
    white = rng.standard_normal((height, width), dtype=np.float32)
    field = fft.irfft2(fft.rfft2(white) * amplitude.astype(np.float32), (height, width))
    return (field / (field.std() + 1e-9))[: size[0], : size[1]].astype(np.float32)
