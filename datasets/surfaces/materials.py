"""Families of surface: each turns a size and a generator into colour, relief and what lies beneath.

A family is one function and one entry in FAMILIES.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .fields import Rng, Size, cells, fractal, grid, noise, profile, step


@dataclass(frozen=True, eq=False)
class Material:
    """A surface before it is lit.

    albedo: float32 [H, W, 3] in 0 .. 1; relief: height in px, [H, W]; gloss: share of mirrored light, 0 .. 1; under:
    what shows where the surface is gone (the ground of a print, the dark below a cloth), [H, W, 3], or None.
    """

    albedo: np.ndarray
    relief: np.ndarray
    gloss: float = 0.0
    under: np.ndarray | None = None


def colour(rng: Rng, low: float = 0.25, high: float = 0.8, saturation: float = 0.35) -> np.ndarray:
    """A random colour [3] of value `low` .. `high`; most are nearly grey, as most industrial surfaces are."""
    strength = saturation * rng.random() ** 2 if rng.random() < 0.7 else saturation * rng.uniform(0.5, 1.6)
    return np.float32(colorsys.hsv_to_rgb(rng.random(), min(strength, 0.9), rng.uniform(low, high)))


def near(rng: Rng, base: np.ndarray, by: float) -> np.ndarray:
    """A colour close to `base`: lighter or darker by up to the share `by`, slightly turned in hue."""
    return np.clip(base * (1 + rng.uniform(-by, by)) + rng.uniform(-by, by, 3) * 0.15, 0.02, 0.98).astype(np.float32)


def _painted(base: np.ndarray, *layers: np.ndarray) -> np.ndarray:
    """A colour times 1 + the sum of relative changes [H, W]."""
    return base * (1 + sum(layers))[..., None]


def _mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return first + share[..., None] * (second - first)


def brushed(size: Size, rng: Rng) -> Material:
    """Metal brushed in one direction."""
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1) if rng.random() < 0.7 else rng.uniform(0, np.pi)
    fine = noise(size, rng, rng.uniform(10, 30), rng.uniform(0.4, 1.0), angle)
    broad = noise(size, rng, 60, rng.uniform(2, 8), angle)
    patches = fractal(size, rng, 90, 6, 1.2)
    albedo = _painted(
        colour(rng, 0.2, 0.75, 0.15),
        rng.uniform(0.03, 0.13) * fine,
        rng.uniform(0.01, 0.07) * broad,
        rng.uniform(0, 0.06) * patches,
    )
    return Material(albedo, 0.1 * fine, rng.uniform(0.1, 0.5))


def ground(size: Size, rng: Rng) -> Material:
    """Metal ground or sanded in several directions."""
    base, relief = colour(rng, 0.2, 0.7, 0.15), np.zeros(size, np.float32)
    first = rng.uniform(0, np.pi)
    for turn in (0, rng.uniform(0.4, 1.5), rng.uniform(1.5, 2.6))[: rng.integers(2, 4)]:
        relief += noise(size, rng, rng.uniform(6, 18), rng.uniform(0.4, 0.8), first + turn)
    patches = fractal(size, rng, 60, 3, 1.1)
    albedo = _painted(base, rng.uniform(0.02, 0.08) * relief, rng.uniform(0.01, 0.06) * patches)
    return Material(albedo, 0.1 * relief, rng.uniform(0.1, 0.4))


def turned(size: Size, rng: Rng) -> Material:
    """A lathed or faced part: rings about a centre that is mostly outside the picture."""
    centre = rng.uniform(-1.5, 2.5, 2) * size
    x, y = grid(size, centre=tuple(centre))
    radius = np.hypot(x, y) + 0.3 * noise(size, rng, 12)
    pitch = rng.uniform(2, 9)
    rings = np.sin(2 * np.pi * radius / pitch) * rng.uniform(0, 1) + profile(radius, rng, rng.uniform(0.6, 2))
    fan = profile(40 * np.arctan2(y, x) + 500, rng, rng.uniform(4, 12))
    albedo = _painted(colour(rng, 0.25, 0.75, 0.12), rng.uniform(0.03, 0.1) * rings, rng.uniform(0.02, 0.1) * fan)
    return Material(albedo, 0.15 * rings, rng.uniform(0.2, 0.6))


def cast(size: Size, rng: Rng) -> Material:
    """Sand-cast or shot-blasted metal: grains in relief."""
    grain = rng.uniform(0.8, 3.2)
    relief = grain * (noise(size, rng, grain) + noise(size, rng, 2.5 * grain)) * rng.uniform(0.25, 0.8)
    albedo = _painted(colour(rng, 0.2, 0.65, 0.2), 0.04 * noise(size, rng, 0.8), 0.03 * fractal(size, rng, 60, 6))
    return Material(albedo, relief, rng.uniform(0, 0.2))


def sheet(size: Size, rng: Rng) -> Material:
    """Rolled sheet or strip: smooth, with faint bands along the rolling direction."""
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.03)
    bands = noise(size, rng, 80, rng.uniform(1.5, 6), angle)
    fine = noise(size, rng, rng.uniform(2, 8), 0.6, angle)
    clouds = fractal(size, rng, 100, 8, 1.4)
    albedo = _painted(
        colour(rng, 0.3, 0.85, 0.1),
        rng.uniform(0, 0.05) * bands,
        rng.uniform(0.005, 0.03) * fine,
        rng.uniform(0, 0.05) * clouds,
    )
    return Material(albedo, 0.05 * fine, rng.uniform(0.1, 0.6))


def paint(size: Size, rng: Rng) -> Material:
    """A painted surface, with orange peel, sometimes with metal flakes; primer lies beneath."""
    base = colour(rng, 0.12, 0.9, 0.9)
    peel = noise(size, rng, rng.uniform(2.5, 7)) * rng.uniform(0, 0.9)
    flakes = np.maximum(noise(size, rng, 0.5) - 1.6, 0) * (rng.uniform(0, 0.5) if rng.random() < 0.35 else 0)
    albedo = _painted(base, flakes, 0.01 * noise(size, rng, 1.5))
    under = _painted(colour(rng, 0.45, 0.75, 0.15), 0.03 * noise(size, rng, 1.2))
    return Material(albedo, peel, rng.uniform(0.2, 0.8), under)


def plastic(size: Size, rng: Rng) -> Material:
    """A moulded part: even colour, sometimes with a fine mould grain."""
    base = colour(rng, 0.08, 0.92, 0.8)
    if rng.random() < 0.5:
        first, second, _ = cells(size, rng, rng.uniform(3, 9))
        relief = np.minimum(second - first, 0.4) * rng.uniform(0.5, 2.5)
    else:
        relief = noise(size, rng, rng.uniform(0.7, 2)) * rng.uniform(0, 0.3)
    return Material(_painted(base, 0.012 * fractal(size, rng, 60, 2)), relief, rng.uniform(0.05, 0.5))


def rubber(size: Size, rng: Rng) -> Material:
    """Rubber or coated board: dark and matt, with dust."""
    dust = np.maximum(noise(size, rng, 0.6) - rng.uniform(2.0, 3.0), 0)
    albedo = _painted(colour(rng, 0.05, 0.25, 0.25), 0.06 * fractal(size, rng, 40, 0.8, 0.7), dust)
    return Material(albedo, 0.3 * noise(size, rng, 1.2), rng.uniform(0, 0.3))


def leather(size: Size, rng: Rng) -> Material:
    """Leather or artificial leather: pebbles between creases."""
    spacing = rng.uniform(4, 14)
    first, second, value = cells(size, rng, spacing, stretch=rng.uniform(1, 1.8), angle=rng.uniform(0, np.pi))
    pebble = np.minimum(second - first, rng.uniform(0.25, 0.5))
    base = colour(rng, 0.12, 0.65, 0.8)
    albedo = _painted(base, 0.25 * (pebble / pebble.max() - 0.7), 0.05 * (value - 0.5), 0.03 * fractal(size, rng, 50))
    return Material(albedo, pebble * spacing * rng.uniform(0.2, 0.6), rng.uniform(0, 0.25))


def wood(size: Size, rng: Rng) -> Material:
    """Sawn or planed wood: rings that bend, and pores along the grain."""
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.15)
    _, across = grid(size, angle)
    bend = noise(size, rng, rng.uniform(60, 140), rng.uniform(10, 30), angle) * rng.uniform(3, 14)
    rings = profile((across + bend) * 1.0 + 500, rng, rng.uniform(1, 5))
    pores = np.maximum(noise(size, rng, rng.uniform(5, 14), 0.6, angle) - 0.8, 0)
    light = np.float32(colorsys.hsv_to_rgb(rng.uniform(0.04, 0.12), rng.uniform(0.2, 0.65), rng.uniform(0.4, 0.9)))
    albedo = _painted(
        light, rng.uniform(0.04, 0.16) * rings, -rng.uniform(0.05, 0.25) * pores, 0.04 * noise(size, rng, 8, 0.8, angle)
    )
    return Material(albedo, -0.3 * pores, rng.uniform(0, 0.25))


def cloth(size: Size, rng: Rng) -> Material:
    """A weave, plain or twill; the dark below shows where threads are gone."""
    pitch, sway = rng.uniform(3, 12), 0.12 * noise(size, rng, 20)
    x, y = grid(size, rng.uniform(-0.15, 0.15) if rng.random() < 0.7 else rng.uniform(0, np.pi))
    u, v = x / pitch + sway, y / (pitch * rng.uniform(0.8, 1.25)) - sway
    i, j = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    warp_round, weft_round = 1 - (2 * (u - i) - 1) ** 2, 1 - (2 * (v - j) - 1) ** 2
    twill = rng.integers(2, 4)
    over = np.where((i + j) % twill == 0, 0.6, -0.6) * (1 if twill == 2 else 0.8)
    up = warp_round + over > weft_round - over
    height = np.where(up, warp_round + over, weft_round - over)
    slubs = 1 + rng.uniform(0.02, 0.12) * rng.standard_normal((2, 512)).astype(np.float32)
    thread = np.where(up, slubs[0][i % 512], slubs[1][j % 512]) * (1 + 0.06 * noise(size, rng, 0.8))
    warp = colour(rng, 0.15, 0.85, 0.6)
    weft = warp if rng.random() < 0.5 else near(rng, warp, 0.4)
    tone = _mixed(weft * np.ones((*size, 1), np.float32), warp, up.astype(np.float32))
    albedo = tone * ((0.6 + 0.28 * height) * thread)[..., None]
    under = np.float32(rng.uniform(0.02, 0.2)) * warp * (1 + 0.1 * noise(size, rng, 2))[..., None]
    return Material(albedo, height * pitch * 0.1, 0.0, under)


def felt(size: Size, rng: Rng) -> Material:
    """Carpet, felt or foam: matted fibres."""
    base = colour(rng, 0.12, 0.75, 0.6)
    tufts = fractal(size, rng, rng.uniform(6, 16), 0.8, 0.6)
    fibres = np.maximum(
        noise(size, rng, 4, 0.5, rng.uniform(0, np.pi)), noise(size, rng, 4, 0.5, rng.uniform(0, np.pi))
    )
    albedo = _painted(base, rng.uniform(0.08, 0.25) * tufts, 0.06 * fibres)
    return Material(albedo, 0.4 * tufts, 0.0, _painted(0.35 * base, 0.1 * tufts))


def mesh(size: Size, rng: Rng) -> Material:
    """A wire mesh or perforated plate in front of a ground."""
    pitch = rng.uniform(7, 24)
    x, y = grid(size, rng.uniform(0, np.pi))
    lean = rng.uniform(-0.5, 0.5)
    u, v = (x + lean * y) / pitch + 0.04 * noise(size, rng, 15), y / (pitch * rng.uniform(0.7, 1.4))
    below = _painted(colour(rng, 0.05, 0.95, 0.15), 0.05 * fractal(size, rng, 60, 2))
    wire = colour(rng, 0.2, 0.7, 0.15)
    if rng.random() < 0.6:
        width = pitch * rng.uniform(0.08, 0.18)
        away = np.minimum(np.abs(u - np.rint(u)), np.abs(v - np.rint(v))) * pitch
        inside = width - away
    else:  # round holes in a plate
        inside = (np.hypot(u - np.rint(u), v - np.rint(v)) - rng.uniform(0.25, 0.38)) * pitch
        width = 2.0
    cover = step(inside, 1.2)
    dome = np.sqrt(np.clip(inside / width, 0, 1))
    albedo = _mixed(below, _painted(wire, 0.05 * noise(size, rng, 1), 0.15 * (dome - 0.5)), cover)
    return Material(albedo, cover * dome * rng.uniform(0.5, 2), rng.uniform(0.05, 0.4), below)


def printed(size: Size, rng: Rng) -> Material:
    """Ink on a ground: motifs, stripes, checks or marks like letters."""
    period = rng.uniform(12, 44)
    x, y = grid(size, rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1))
    u, v = x / period + rng.random(), y / period + rng.random()
    u = u + 0.5 * (np.floor(v) % 2) * (rng.random() < 0.5)
    a, b = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    kind = rng.integers(6)
    if kind == 0:
        inside = rng.uniform(0.2, 0.36) - np.hypot(a, b)
    elif kind == 1:
        inside = rng.uniform(0.05, 0.1) - np.abs(np.hypot(a, b) - 0.28)
    elif kind == 2:
        inside = rng.uniform(0.08, 0.3) - np.abs(b)
    elif kind == 3:
        inside = np.maximum(rng.uniform(0.03, 0.1) - np.abs(a), rng.uniform(0.03, 0.1) - np.abs(b))
    elif kind == 4:
        inside = 0.27 + 0.09 * np.cos(rng.integers(3, 7) * np.arctan2(b, a)) - np.hypot(a, b)
    else:  # strokes on a 4 x 5 raster in every cell, as letters have
        table = rng.random((64, 5, 4)) < 0.55
        letter = (np.floor(u) * 7 + np.floor(v) * 13).astype(np.int32) % 64
        column = np.clip(((a + 0.35) / 0.7 * 4), 0, 3.999).astype(np.int32)
        row = np.clip(((b + 0.4) / 0.8 * 5), 0, 4.999).astype(np.int32)
        drawn = table[letter, row, column] & (np.abs(a) < 0.35) & (np.abs(b) < 0.4)
        inside = np.where(drawn, 0.05, -0.05)
    cover = step(inside * period, 1.3)
    bare = _painted(colour(rng, 0.5, 0.95, 0.35), 0.02 * fractal(size, rng, 30, 1), 0.01 * noise(size, rng, 0.7))
    ink = _painted(colour(rng, 0.05, 0.6, 0.9), 0.03 * noise(size, rng, 1.5))
    if rng.random() < 0.25:
        bare, ink = ink, bare
    return Material(
        _mixed(bare, ink, cover * rng.uniform(0.7, 1)), 0.1 * noise(size, rng, 1), rng.uniform(0, 0.3), bare
    )


def ceramic(size: Size, rng: Rng) -> Material:
    """Glazed ceramic or enamel: light and smooth, sometimes speckled."""
    base = colour(rng, 0.55, 0.95, 0.2)
    albedo = _painted(base, 0.015 * fractal(size, rng, 60, 3), 0.008 * noise(size, rng, 0.8))
    if rng.random() < 0.6:
        specks = step(noise(size, rng, rng.uniform(0.8, 2.2)) - rng.uniform(1.6, 2.6), 0.5)
        albedo = _mixed(albedo, colour(rng, 0.1, 0.6, 0.6), specks * rng.uniform(0.3, 0.9))
    return Material(albedo, 0.4 * noise(size, rng, 9) * rng.random(), rng.uniform(0.2, 0.8))


def stone(size: Size, rng: Rng) -> Material:
    """Granite, terrazzo or stone tile: grains of two to four tones."""
    base = colour(rng, 0.3, 0.8, 0.3)
    albedo = _painted(base, 0.05 * noise(size, rng, 0.7))
    for _ in range(rng.integers(1, 4)):
        grain = fractal(size, rng, rng.uniform(4, 14), rng.uniform(0.8, 2), rng.uniform(0.6, 1.4))
        albedo = _mixed(albedo, near(rng, base, 0.6), step(grain - rng.uniform(0.2, 1.2), rng.uniform(0.2, 0.6)))
    return Material(albedo, 0.1 * noise(size, rng, 1), rng.uniform(0, 0.5))


def concrete(size: Size, rng: Rng) -> Material:
    """Concrete, plaster or mortar: cloudy and rough, with small pores."""
    clouds, rough = fractal(size, rng, 80, 2, 1.1), fractal(size, rng, 12, 0.7, 0.5)
    pores = step(noise(size, rng, rng.uniform(0.8, 1.8)) - rng.uniform(2.3, 3.2), 0.4)
    base = colour(rng, 0.35, 0.8, 0.18)
    albedo = _painted(base, rng.uniform(0.03, 0.1) * clouds, rng.uniform(0.02, 0.08) * rough, -0.5 * pores)
    return Material(albedo, rng.uniform(0.2, 0.9) * rough - pores, 0.0)


def glass(size: Size, rng: Rng) -> Material:
    """Glass, film or a screen: smooth gradients and reflections."""
    x, y = grid(size, rng.uniform(0, 2 * np.pi))
    side = max(size)
    ramp = 0.5 + rng.uniform(-0.5, 0.5) * x / side + rng.uniform(-0.2, 0.2) * y / side
    bands = step(profile(0.4 * x + 300, rng, rng.uniform(10, 40)) - rng.uniform(0.3, 1.2), 0.6) * rng.uniform(0, 0.35)
    first, second = colour(rng, 0.1, 0.9, 0.5), colour(rng, 0.1, 0.9, 0.3)
    albedo = _mixed(first * np.ones((*size, 1), np.float32), second, np.clip(ramp, 0, 1)) + bands[..., None]
    return Material(albedo, np.zeros(size, np.float32), rng.uniform(0.3, 0.9))


def paper(size: Size, rng: Rng) -> Material:
    """Paper, card or fleece: pale fibres."""
    angles = rng.uniform(0, np.pi, 3)
    fibres = sum(noise(size, rng, rng.uniform(3, 8), 0.6, angle) for angle in angles) / 3
    base = colour(rng, 0.6, 0.95, 0.3)
    albedo = _painted(base, rng.uniform(0.01, 0.06) * fibres, 0.02 * fractal(size, rng, 30, 2))
    return Material(albedo, 0.2 * fibres, 0.0)


def circuit(size: Size, rng: Rng) -> Material:
    """A circuit board: tracks and pads under solder mask."""
    pitch = rng.uniform(7, 16)
    x, y = grid(size, rng.choice([0, np.pi / 2]))
    u, v = x / pitch + 50, y / pitch + 50
    i, j = u.astype(np.int32), v.astype(np.int32)
    across, down = rng.random((128, 128)) < 0.5, rng.random((128, 128)) < 0.3
    a, b = np.abs(u - i - 0.5), np.abs(v - j - 0.5)
    width = rng.uniform(0.14, 0.24)
    tracks = np.where(across[i % 128, j % 128], width - b, -1.0)
    tracks = np.maximum(tracks, np.where(down[i % 128, j % 128], width - a, -1.0))
    pads = np.where(rng.random((128, 128))[i % 128, j % 128] < 0.12, 0.36 - np.hypot(a, b), -1.0)
    board = colour(rng, 0.12, 0.45, 1.0)
    albedo = _mixed(
        _painted(board, 0.05 * noise(size, rng, 1)), near(rng, board, 0.6) * 1.35, step(tracks * pitch, 1.2)
    )
    metal = colour(rng, 0.65, 0.9, 0.35)
    albedo = _mixed(albedo, _painted(metal, 0.06 * noise(size, rng, 1)), step(pads * pitch, 1.2))
    relief = step(tracks * pitch, 2) * 0.6 + step(pads * pitch, 2)
    return Material(albedo, relief, rng.uniform(0.1, 0.5), board * np.ones((*size, 1), np.float32))


FAMILIES: dict[str, Callable[[Size, Rng], Material]] = {
    "brushed": brushed,
    "ground": ground,
    "turned": turned,
    "cast": cast,
    "sheet": sheet,
    "paint": paint,
    "plastic": plastic,
    "rubber": rubber,
    "leather": leather,
    "wood": wood,
    "cloth": cloth,
    "felt": felt,
    "mesh": mesh,
    "print": printed,
    "ceramic": ceramic,
    "stone": stone,
    "concrete": concrete,
    "glass": glass,
    "paper": paper,
    "circuit": circuit,
}
