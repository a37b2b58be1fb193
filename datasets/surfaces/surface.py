"""A drawn photograph of a normal surface: a family's material, perhaps shaped as an object, lit and exposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import Rng, Size, fractal, grid, noise, step
from .materials import FAMILIES, Material, colour

OBJECTS = 0.22  # share of surfaces that are an object on plain ground
GREY = 0.35  # share of pictures without colour, as many cameras give


@dataclass(frozen=True, eq=False)
class Surface:
    """A lit surface before the camera.

    picture: float32 [H, W, 3], about 0 .. 1; under: what shows where the surface is gone, lit the same, [H, W, 3], or
    None; lamp: unit vector (x, y, z) towards the light; gloss: share of mirrored light; inside: coverage of the object
    on its ground in 0 .. 1, [H, W], or None where the surface fills the picture; grey: the camera has no colour.
    """

    picture: np.ndarray
    under: np.ndarray | None
    lamp: np.ndarray
    gloss: float
    inside: np.ndarray | None = None
    grey: bool = False


def draw_surface(size: Size, rng: Rng, families: Sequence[str] = tuple(FAMILIES)) -> Surface:
    """A random surface of one of the families, [H, W] = size."""
    material = FAMILIES[families[rng.integers(len(families))]](size, rng)
    lamp = random_lamp(rng)
    inside, ground = None, None
    if rng.random() < OBJECTS:
        inside, dome, ground = _object(size, rng)
        material = Material(
            material.albedo * inside[..., None] + ground * (1 - inside[..., None]),
            material.relief * inside + dome,
            material.gloss,
            material.under if material.under is not None and rng.random() < 0.5 else ground,
        )
    light = shading(material.relief, lamp, material.gloss)
    lit = _lamps(size, rng)
    picture = np.maximum(material.albedo, 0.0) * (lit * light[0])[..., None] + (light[1] * lit)[..., None]
    under = None if material.under is None else np.maximum(material.under, 0.0) * lit[..., None]
    grey = bool(rng.random() < GREY)
    if grey:
        picture, under = _without_colour(picture), None if under is None else _without_colour(under)
    return Surface(picture, under, lamp, material.gloss, inside, grey)


def random_lamp(rng: Rng) -> np.ndarray:
    """Where the light comes from: a unit vector (x, y, z)."""
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.3)
    return np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)], np.float32)


def shading(relief: np.ndarray, lamp: np.ndarray, gloss: float) -> tuple[np.ndarray, np.ndarray]:
    """Factor of the diffuse light, 1 on level ground, and the mirrored light added, 0 there; [H, W] each."""
    dy, dx = np.gradient(relief)
    length = np.sqrt(1 + dx * dx + dy * dy)
    facing = (lamp[2] - lamp[0] * dx - lamp[1] * dy) / length
    diffuse = 0.35 + 0.65 * np.maximum(facing, 0) / lamp[2]
    half = lamp + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    mirrored = np.maximum((half[2] - half[0] * dx - half[1] * dy) / length, 0)
    return diffuse.astype(np.float32), (gloss * 0.6 * (mirrored**16 - half[2] ** 16)).astype(np.float32)


def expose(pictures: Sequence[np.ndarray], rng: Rng) -> list[np.ndarray]:
    """The same camera on pictures of one scene, [H, W, 3] each: blur, exposure, grain and rounding; uint8.

    All get the same grain, so that pixels that were equal stay equal.
    """
    size = pictures[0].shape[:2]
    blur = rng.uniform(0.25, 0.9)
    gain, offset, gamma = rng.uniform(0.8, 1.2), rng.normal(0, 0.03), rng.uniform(0.75, 1.25)
    amount = rng.choice([0.0, 0.004, 0.01, 0.02], p=[0.2, 0.35, 0.3, 0.15])
    colourless = all(np.array_equal(picture[..., 0], picture[..., 1]) for picture in pictures)
    grain = amount * rng.standard_normal((*size, 1 if colourless else 3), dtype=np.float32)
    coarse = 0.5 * amount * noise(size, rng, 0.7)[..., None]
    exposed = []
    for picture in pictures:
        smooth = ndimage.gaussian_filter(picture, (blur, blur, 0), mode="reflect", truncate=3)
        values = np.clip(gain * smooth + offset, 0, 1) ** gamma + grain + coarse
        exposed.append(np.clip(np.rint(255 * values), 0, 255).astype(np.uint8))
    return exposed


def _lamps(size: Size, rng: Rng) -> np.ndarray:
    """How much light falls where: a gradient, a vignette, and sometimes highlights or shadows."""
    x, y = grid(size, rng.uniform(0, 2 * np.pi))
    x, y = x / max(size), y / max(size)
    light = 1 + rng.uniform(0, 0.45) * x - rng.uniform(0, 0.5) * (x * x + y * y)
    for _ in range(rng.integers(0, 3) if rng.random() < 0.4 else 0):
        cy, cx, wide, long = (
            rng.uniform(-0.5, 0.5),
            rng.uniform(-0.5, 0.5),
            rng.uniform(0.08, 0.3),
            rng.uniform(0.2, 0.9),
        )
        spot = np.exp(-(((x - cx) / wide) ** 2 + ((y - cy) / long) ** 2))
        light = light + rng.uniform(-0.35, 0.5) * spot
    return np.maximum(light, 0.05).astype(np.float32)


def _object(size: Size, rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An object's coverage [H, W], the dome of its body as relief, and the plain ground [H, W, 3] behind it."""
    side = min(size)
    angle = rng.uniform(0, np.pi)
    x, y = grid(size, angle, tuple(rng.uniform(0.3, 0.7, 2) * size))
    a, b = rng.uniform(0.22, 0.75, 2) * side
    power = rng.choice([2.0, 2.0, 4.0, 12.0])
    radius = (np.abs(x / a) ** power + np.abs(y / b) ** power + 1e-9) ** (1 / power)
    if rng.random() < 0.4:
        radius = radius * (1 + rng.uniform(0.02, 0.12) * np.cos(rng.integers(2, 9) * np.arctan2(y, x) + angle))
    inward = (1 - radius) * min(a, b)
    if rng.random() < 0.25:  # a bore
        inward = np.minimum(inward, (radius - rng.uniform(0.2, 0.5)) * min(a, b))
    rim = rng.uniform(3, 0.6 * min(a, b) + 4)
    dome = np.sqrt(np.clip(inward / rim, 0, 1) * (2 - np.clip(inward / rim, 0, 1))) * rim * rng.uniform(0.1, 0.7)
    plain = colour(rng, 0.02, 0.98, 0.2)
    shadow = step(-np.maximum(-inward - 1, 0) + 4, 8) * rng.uniform(0, 0.4)
    ground = plain * (1 + 0.02 * fractal(size, rng, 60, 2) - shadow)[..., None]
    return step(inward, 1.3), dome.astype(np.float32), ground.astype(np.float32)


def _without_colour(picture: np.ndarray) -> np.ndarray:
    value = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(value[..., None], 3, axis=2)
