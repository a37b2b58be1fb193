"""Types of drawn defects: each edits the picture of a surface at one place.

A type is one function and one entry in TYPES. It works on any picture, drawn or photographed: what it needs of the
surface is the picture itself, what lies beneath (or a guess), and where the light comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .fields import Rng, fractal, grid, noise, profile, step
from .materials import colour
from .shapes import Place, blob, curve, flake, jagged, spots, tree, tube
from .surface import Surface, shading


@dataclass(frozen=True, eq=False)
class Edit:
    """What a defect changes: the picture becomes `target` [H, W, 3] where `cover` [H, W] is 1, and `relief` (px, or
    None) then bends the light."""

    target: np.ndarray
    cover: np.ndarray
    relief: np.ndarray | None = None
    gloss: float = 0.0


def draw_defect(surface: Surface, type: str, place: Place, rng: Rng) -> np.ndarray:
    """The picture [H, W, 3] with one defect of the type at the place; equal to the surface's far from it."""
    edit = TYPES[type](surface, place, rng)
    cover = np.clip(edit.cover, 0, 1)
    cover = np.where(cover < 0.02, 0, cover)[..., None]
    picture = surface.picture + cover * (edit.target - surface.picture)
    if edit.relief is not None:
        relief = np.where(np.abs(edit.relief) < 0.02, 0, edit.relief)
        diffuse, mirrored = shading(relief, surface.lamp, max(edit.gloss, surface.gloss))
        picture = picture * diffuse[..., None] + mirrored[..., None]
    if surface.grey:
        picture = np.repeat((picture @ _LUMA)[..., None], 3, axis=2)
    return np.where(picture == surface.picture, surface.picture, picture).astype(np.float32)


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _toned(surface: Surface, rng: Rng, darker: float = 0.5, low: float = 0.25, high: float = 0.85) -> np.ndarray:
    """The picture made darker (with that chance) or lighter, its texture kept; low .. high: how much."""
    amount, dark = rng.uniform(low, high), rng.random() < darker
    mean = float(surface.picture.mean())
    dark = True if mean > 0.85 else False if mean < 0.12 else dark
    if dark:
        return surface.picture * (1 - amount)
    return surface.picture + amount * (rng.uniform(0.75, 1.0) - surface.picture)


def _texture(surface: Surface) -> float:
    """Relative spread of the surface's own brightness, over which a change of tone has to show."""
    light = surface.picture.mean(2)
    return float(light.std() / max(light.mean(), 0.05))


def _beneath(surface: Surface, rng: Rng) -> np.ndarray:
    """What shows where the surface is gone: the layer below, else an even tone of its own."""
    if surface.under is not None and rng.random() < 0.8:
        return surface.under
    tone = surface.picture.mean((0, 1)) * (rng.uniform(0.1, 0.6) if rng.random() < 0.7 else rng.uniform(1.3, 1.8))
    grain = 1 + 0.08 * noise(surface.picture.shape[:2], rng, 1.2)
    return np.clip(tone, 0, 1) * grain[..., None]


def _half_width(place: Place, rng: Rng, share: float = 0.08) -> float:
    """Half width in px of a line as long as the place: thin lines are as common as wide ones."""
    return float(np.exp(rng.uniform(np.log(0.45), np.log(max(0.6, share * place.reach)))))


def scratch(surface: Surface, place: Place, rng: Rng) -> Edit:
    """One groove or a few side by side, whole from end to end: bared bright or dark, with a lip that catches light."""
    size, half = surface.picture.shape[:2], _half_width(place, rng)
    line, bend = None, rng.uniform(0, 0.5)
    cover, relief = np.zeros(size, np.float32), np.zeros(size, np.float32)
    line = curve(rng, place, bend)
    side = np.array([np.cos(place.angle), -np.sin(place.angle)])
    for shift in rng.normal(0, 0.12 * place.reach, rng.integers(1, 4) if rng.random() < 0.3 else 1):
        inside, along = tube(size, rng, line + shift * side, half)
        firm = np.clip(0.75 + 0.25 * profile(along * 8 + 40, rng, 2), 0.3, 1)
        cover = np.maximum(cover, step(inside, rng.uniform(0.8, 1.6)) * firm)
        relief -= np.clip(inside + 0.5, 0, half) * rng.uniform(0.2, 1.5)
    return Edit(_toned(surface, rng, 0.4), cover * rng.uniform(0.6, 1), relief, 0.4)


def scuff(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Rubbed: many strokes of one direction within a patch, more than the surface's own texture hides."""
    size = surface.picture.shape[:2]
    strokes = noise(size, rng, rng.uniform(8, 24), rng.uniform(0.5, 1.2), place.angle)
    patch = step(blob(size, rng, place, 0.3, 3.0), max(2.0, 0.35 * place.reach))
    rubbed = np.clip(rng.uniform(0.2, 0.5) + rng.uniform(0.4, 0.7) * strokes, 0, 1)
    low = np.clip(2.0 * _texture(surface), 0.3, 0.6)
    worn = _toned(surface, rng, 0.35, low, low + 0.3)
    return Edit(worn, patch * rubbed, -0.4 * patch * np.maximum(strokes, 0), rng.uniform(0, 0.3))


def pit(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Hollows: dark inside, with a wall that is lit; one, or a group of small ones."""
    size = surface.picture.shape[:2]
    one = place.reach < 6 or rng.random() < 0.7
    inside = blob(size, rng, place, rng.uniform(0.05, 0.3)) if one else spots(size, rng, place, rng.integers(2, 7))
    deep = max(1.5, 0.5 * place.reach * (1 if one else 0.3))
    bowl = np.clip(inside / deep, 0, 1)
    hollow = step(inside, rng.uniform(1, 2.5))
    target = surface.picture * (1 - rng.uniform(0.3, 0.9) * (0.4 + 0.6 * bowl))[..., None]
    return Edit(target, hollow, -(1 - (1 - bowl) ** 2) * deep * rng.uniform(0.3, 1.2), 0.2)


def hole(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Through the surface: what lies beneath, or the dark, behind a sharp edge with a shadow."""
    size = surface.picture.shape[:2]
    inside = blob(size, rng, place, rng.uniform(0.02, 0.45), 1.8)
    below = _beneath(surface, rng) if rng.random() < 0.4 else surface.picture.mean((0, 1)) * rng.uniform(0.02, 0.25)
    x, y = grid(size, centre=place.centre)
    shade = np.clip(0.75 + (surface.lamp[0] * x + surface.lamp[1] * y) / max(place.reach, 1) * -0.35, 0.3, 1)
    rim = np.exp(-((inside / 1.5) ** 2)) * rng.uniform(0, 1.5)
    return Edit(below * shade[..., None], step(inside, rng.uniform(0.8, 1.6)), rim * (inside < 2.5))


def dent(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Pushed in or out: the texture stays, the light bends."""
    size = surface.picture.shape[:2]
    inside = blob(size, rng, place, rng.uniform(0.0, 0.2), 3.0)
    bowl = np.clip(inside / max(0.8 * place.reach, 1), 0, 1)
    smooth = bowl * bowl * (3 - 2 * bowl)
    height = rng.choice([-1, 1], p=[0.7, 0.3]) * place.reach * rng.uniform(0.25, 0.8)
    tone = surface.picture * (1 + rng.normal(0, 0.05))
    return Edit(tone, step(inside, 3), height * smooth, rng.uniform(0, 0.6))


def crack(surface: Surface, place: Place, rng: Rng) -> Edit:
    """A line that swerves and branches: dark, seldom light, one side raised a little."""
    size, half = surface.picture.shape[:2], _half_width(place, rng, 0.06)
    inside = tree(size, rng, place, half) if rng.random() < 0.7 else tube(size, rng, jagged(rng, place), half)[0]
    cover = step(inside, rng.uniform(0.8, 1.4)) * rng.uniform(0.6, 1)
    lip = np.exp(-((np.minimum(inside, 0) / 1.2) ** 2)) * rng.uniform(0, 0.5) * (inside > -3)
    return Edit(_toned(surface, rng, 0.88, 0.4, 0.92), cover, lip)


def cut(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Slit open: a spindle of what lies beneath, its edges raised."""
    size = surface.picture.shape[:2]
    inside, along = tube(size, rng, curve(rng, place, 0.25), max(0.8, 0.12 * place.reach * rng.uniform(0.3, 1)))
    inside = inside - 0.6 * np.abs(along) ** 2
    edge = np.exp(-(((inside + 0.8) / 1.2) ** 2)) * rng.uniform(0.3, 1.6) * (inside > -4)
    return Edit(_beneath(surface, rng), step(inside, 1.0), edge, 0.2)


def chip(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Broken off: straight edges, a facet in another light, often another tone beneath."""
    size = surface.picture.shape[:2]
    inside = flake(size, rng, place)
    facet = np.clip(inside, 0, max(2, 0.35 * place.reach))
    target = _beneath(surface, rng) if rng.random() < 0.5 else _toned(surface, rng, 0.5, 0.15, 0.6)
    rough = 0.4 * fractal(size, rng, max(4.0, place.reach), 0.8) * step(inside, 2)
    return Edit(target, step(inside, 1.1), -facet * rng.uniform(0.2, 0.7) + rough, 0.3)


def stain(surface: Surface, place: Place, rng: Rng) -> Edit:
    """A liquid that dried: another colour through which the texture shows, sometimes with a darker edge."""
    size = surface.picture.shape[:2]
    if rng.random() < 0.75:
        inside = blob(size, rng, place, rng.uniform(0.1, 0.5), 2.2)
    else:
        inside = spots(size, rng, place, rng.integers(3, 10))
    tint = colour(rng, 0.1, 0.85, 1.0) if rng.random() < 0.7 else np.full(3, rng.uniform(0.1, 0.5), np.float32)
    strength = rng.uniform(0.35, 0.95) * (1 + 0.15 * fractal(size, rng, max(6.0, place.reach), 1.5))
    ring = np.exp(-((inside / max(1.0, 0.08 * place.reach) - 1) ** 2)) * rng.uniform(0, 0.35)
    bright = 1.6 if surface.picture.mean() < 0.2 else 1.0
    target = surface.picture * tint * bright + (0.35 * tint if bright > 1 or rng.random() < 0.3 else 0)
    return Edit(target, step(inside, np.exp(rng.uniform(0, np.log(2 + 0.4 * place.reach)))) * (strength + ring))


def discoloration(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Faded, darkened or heat-tinted: a wide change without an edge, and stronger the rougher the surface is."""
    size = surface.picture.shape[:2]
    inside = blob(size, rng, place, rng.uniform(0.1, 0.4), 2.5)
    cover = step(inside, max(3.0, rng.uniform(0.4, 0.9) * place.reach)) * rng.uniform(0.7, 1)
    low = np.clip(2.0 * _texture(surface), 0.2, 0.5)
    if surface.grey or rng.random() < 0.5:
        return Edit(_toned(surface, rng, 0.5, low, low + 0.3), cover)
    tint = 1 + (colour(rng, 0.5, 1.0, 1.2) - 0.75) * rng.uniform(1.0, 1.6) * (1 + low)
    return Edit(surface.picture * np.clip(tint, 0.15, 1.8), cover)


def corrosion(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Rust, oxide or rot: a mottled crust, ragged at its edge, with a paler halo and crumbs around it."""
    size, reach = surface.picture.shape[:2], place.reach
    ragged = fractal(size, rng, max(4.0, 0.7 * reach), 1.2, 1.6)
    crust = blob(size, rng, place, rng.uniform(0.15, 0.4), 2.2) + (0.16 * reach + 0.5) * ragged - 0.12 * reach
    if reach > 6:
        crust = np.maximum(crust, spots(size, rng, place, rng.integers(2, 8), 0.8, 0.3) - 0.2)
    warm = rng.random() < 0.65
    rust = np.array([0.45, 0.24, 0.1] if warm else [0.62, 0.68, 0.6], np.float32) * rng.uniform(0.6, 1.3)
    deep = np.array([0.2, 0.1, 0.06] if warm else [0.9, 0.92, 0.9], np.float32) * rng.uniform(0.6, 1.1)
    grain = fractal(size, rng, max(3.0, 0.4 * reach), 0.7, 1.0)
    share = step(grain - rng.uniform(-0.3, 0.6), 1.2)[..., None]
    halo = surface.picture * (0.55 + 0.45 * rust / rust.max())
    body = (rust + share * (deep - rust)) * (1 + 0.1 * grain)[..., None]
    inner = step(crust, 1.4)
    around = step(crust + 0.15 * reach, 0.3 * reach + 1) * rng.uniform(0.2, 0.6)
    cover = np.maximum(inner * rng.uniform(0.85, 1), around)
    return Edit(halo + inner[..., None] * (body - halo), cover, inner * (0.5 + 0.4 * grain))


def contamination(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Foreign matter that lies on the surface: crumbs, chips, drops, a smear of glue; with its shadow."""
    size, kind = surface.picture.shape[:2], rng.random()
    if kind < 0.35:
        inside = flake(size, rng, place)
    elif kind < 0.6:
        inside = blob(size, rng, place, rng.uniform(0.05, 0.45), 3.0)
    elif kind < 0.85:
        inside = spots(size, rng, place, rng.integers(2, 12), 1.0)
    else:
        inside, _ = tube(size, rng, curve(rng, place, 0.8), max(1.0, 0.2 * place.reach * rng.random()))
    tone = colour(rng, 0.05, 0.95, 0.9)
    body = tone * (1 + 0.12 * noise(size, rng, max(1.0, 0.15 * place.reach)))[..., None]
    thick = max(1.0, 0.25 * place.reach) * rng.uniform(0.3, 1)
    cover = step(inside, 1.2)
    if rng.random() < 0.3:  # translucent: glue, a drop
        body = 0.5 * surface.picture + 0.5 * body
    drop = int(round(min(3, thick)))
    shadow = np.roll(cover, (round(-surface.lamp[1] * drop), round(-surface.lamp[0] * drop)), (0, 1))
    shade = np.clip(shadow - cover, 0, 1) * rng.uniform(0.2, 0.6)
    target = np.where(cover[..., None] > shade[..., None], body, surface.picture * 0.3)
    return Edit(target, np.maximum(cover, shade), thick * np.sqrt(np.clip(inside / thick, 0, 1)), rng.uniform(0, 0.7))


def fibre(surface: Surface, place: Place, rng: Rng) -> Edit:
    """A hair, thread or wire on the surface: thin, winding, even in width."""
    size = surface.picture.shape[:2]
    half = float(np.exp(rng.uniform(np.log(0.4), np.log(max(0.8, 0.05 * place.reach)))))
    line = curve(rng, place, rng.uniform(0.4, 2.2), 18)
    inside, along = tube(size, rng, line, half, 0.05)
    tone = colour(rng, 0.05, 0.95, 0.8) * (1 + 0.12 * profile(along * 20 + 60, rng, 1.5))[..., None]
    cover = step(inside, 1.0)
    drop = (round(-surface.lamp[1] * 1.5), round(-surface.lamp[0] * 1.5))
    shade = np.clip(np.roll(cover, drop, (0, 1)) - cover, 0, 1) * rng.uniform(0, 0.45)
    target = np.where(cover[..., None] > shade[..., None], tone, surface.picture * 0.3)
    return Edit(target, np.maximum(cover, shade), np.clip(inside, 0, half) * 0.8, 0.3)


def burr(surface: Surface, place: Place, rng: Rng) -> Edit:
    """A ragged ridge that stands out: bright where it faces the light, dark behind."""
    size = surface.picture.shape[:2]
    inside, along = tube(size, rng, curve(rng, place, 0.3), max(0.9, 0.12 * place.reach * rng.uniform(0.4, 1)), 0.35)
    inside = inside + 0.6 * profile(along * 30 + 90, rng, 0.8)
    ridge = np.clip(inside + 0.5, 0, None) * rng.uniform(0.8, 2)
    return Edit(_toned(surface, rng, 0.25, 0.1, 0.6), step(inside, 1.0), ridge, 0.8)


def bubble(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Blisters: round domes with a highlight and a dark rim."""
    size = surface.picture.shape[:2]
    one = place.reach < 8 or rng.random() < 0.55
    inside = blob(size, rng, place, 0.03, 1.3) if one else spots(size, rng, place, rng.integers(2, 9), 1.5, 0.03)
    high = max(1.5, 0.5 * place.reach * (1 if one else 0.35))
    part = np.clip(inside / high, 0, 1)
    rim = np.exp(-(((inside - 0.6) / 1.0) ** 2)) * rng.uniform(0.1, 0.6)
    target = surface.picture * (rng.uniform(0.85, 1.1) - rim)[..., None]
    return Edit(
        target, step(inside, 1.2), high * rng.uniform(0.3, 0.9) * np.sqrt(part * (2 - part)), rng.uniform(0.3, 0.9)
    )


def missing(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Print, coating, threads or a part of the object that is not there: what lies beneath shows."""
    size = surface.picture.shape[:2]
    inside = blob(size, rng, place, rng.uniform(0.05, 0.5), 2.5) if rng.random() < 0.7 else flake(size, rng, place, 4)
    below = surface.under
    if below is None:
        below = _beneath(surface, rng)
    return Edit(below, step(inside, rng.uniform(0.8, 3.0)))


def burn(surface: Surface, place: Place, rng: Rng) -> Edit:
    """Scorched: black or brown in the middle, fading outwards."""
    size = surface.picture.shape[:2]
    inside = blob(size, rng, place, rng.uniform(0.1, 0.4), 2.0)
    depth = np.clip(inside / max(0.7 * place.reach, 1) + 0.1 * fractal(size, rng, max(4.0, place.reach), 1.0), 0, 1)
    char = np.array([0.1, 0.08, 0.07], np.float32) * rng.uniform(0.4, 1.5)
    halo = np.array([0.55, 0.38, 0.22], np.float32) * rng.uniform(0.6, 1.2)
    share = np.clip(2 * depth, 0, 1)[..., None]
    target = surface.picture * halo * (1 - share) + char * share
    return Edit(target, step(inside, max(2.0, 0.35 * place.reach)) * rng.uniform(0.6, 1))


TYPES: dict[str, Callable[[Surface, Place, Rng], Edit]] = {
    "scratch": scratch,
    "scuff": scuff,
    "pit": pit,
    "hole": hole,
    "dent": dent,
    "crack": crack,
    "cut": cut,
    "chip": chip,
    "stain": stain,
    "discoloration": discoloration,
    "corrosion": corrosion,
    "contamination": contamination,
    "fibre": fibre,
    "burr": burr,
    "bubble": bubble,
    "missing": missing,
    "burn": burn,
}
