"""Shapes and looks of the procedural defects: each turns a patch of a normal surface into (alpha, target).

alpha [h, w] in 0..1 says where and how much, target [h, w, 3] in 0..255 what the surface turns into there.
All lengths are pixels. A shape stays within `Patch.reach` of the patch's origin, so nothing is cut at a patch border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REACH = 35.0  # px from the centre of a defect to its farthest point, on images that are large enough
_FAINT = 0.15  # alpha below this is dropped: a ring of change too faint to label would be left otherwise


@dataclass(frozen=True)
class Patch:
    """The part of a normal image that one defect may change.

    pixels: float64 [h, w, 3] in 0..255; x, y: [h, w], px from the defect's origin; reach: px, the farthest change.
    """

    pixels: np.ndarray
    x: np.ndarray
    y: np.ndarray
    reach: float

    @property
    def mean(self) -> np.ndarray:
        """Mean colour [3] around the defect."""
        return self.pixels.mean((0, 1))

    def turned(self, angle: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (along, across) [h, w] of a frame turned by angle (radians)."""
        c, s = np.cos(angle), np.sin(angle)
        return c * self.x + s * self.y, c * self.y - s * self.x

    def length(self, rng: np.random.Generator, low: float, high: float) -> float:
        """A random length in px, low..high on large images and less where the reach is less."""
        return rng.uniform(low, high) * self.reach / REACH


def draw(normal: np.ndarray, shape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one defect at a random place: (image [H, W, 3] uint8, mask [H, W] bool, exactly the changed pixels).

    shape: a function (patch, rng) -> (alpha, target) of this module.
    """
    height, width = normal.shape[:2]
    reach = min(REACH, 0.42 * min(height, width))
    cy, cx = rng.uniform(reach, height - reach), rng.uniform(reach, width - reach)
    half = 1.5 * reach + 8  # wider than the reach: shapes that need context (ink, threads) look around themselves
    rows = slice(max(0, int(cy - half)), min(height, int(cy + half)))
    columns = slice(max(0, int(cx - half)), min(width, int(cx + half)))
    y, x = np.mgrid[rows, columns]
    patch = Patch(normal[rows, columns].astype(np.float64), x - cx, y - cy, reach)
    image, mask = normal.copy(), np.zeros((height, width), bool)
    image[rows, columns], mask[rows, columns] = _compose(normal[rows, columns], *shape(patch, rng))
    return image, mask


def _compose(normal: np.ndarray, alpha: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mask = alpha > _FAINT
    mixed = normal + alpha[..., None] * (target - normal)
    image = np.where(mask[..., None], np.clip(np.rint(mixed), 0, 255).astype(np.uint8), normal)
    # Where the target crosses the surface's own value the mask would get pinholes; one level of green closes them.
    same = mask & (image == normal).all(-1)
    image[same, 1] = np.where(normal[same, 1] < 128, normal[same, 1] + 1, normal[same, 1] - 1)
    return image, mask


def scratch(patch: Patch, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A slightly bent groove that tapers at both ends: mostly bright with a darker lip along one side, or reversed."""
    along, across = patch.turned(rng.uniform(0, np.pi))
    half = patch.length(rng, 18, 34)
    across = across - rng.uniform(-0.14, 0.14) * half * (1 - (along / half) ** 2) - _waves(rng, along / 11, 0.45)
    taper = np.clip(1 - np.abs(along / half) ** 3, 0, 1)
    width, lip = rng.uniform(1.1, 2.0) * taper * (1 + _waves(rng, along / 5, 0.08)), rng.uniform(1.6, 2.6) * taper
    groove = np.clip(width - np.abs(across) + 0.5, 0, 1) * (taper > 0)
    ridge = np.clip(lip / 2 - np.abs(across - rng.choice([-1, 1]) * (width + lip / 2)) + 0.5, 0, 1) * (taper > 0)
    shine = rng.uniform(75, 105) * (1 + _waves(rng, along / 6, 0.13))
    bright, dark = np.minimum(patch.mean + shine[..., None], 250), patch.pixels * rng.uniform(0.42, 0.58)
    if rng.random() < 0.25:
        bright, dark = dark, np.minimum(patch.pixels + 55, 250)
    share = (groove / np.maximum(groove + ridge, 1e-6))[..., None]
    return np.clip(groove + 0.9 * ridge, 0, 1), share * bright + (1 - share) * dark


def pit(patch: Patch, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A dark round hollow: the far wall and the rim there catch the light."""
    radius, stretch = patch.length(rng, 5, 15), rng.uniform(1, 1.3)
    along, across = patch.turned(rng.uniform(0, np.pi))
    r = np.hypot(along / stretch, across * stretch) / (radius * _outline(rng, patch.x, patch.y, 0.08))
    light = _unit(rng.uniform(0, 2 * np.pi))
    facing = (light[0] * patch.x + light[1] * patch.y) / (np.hypot(patch.x, patch.y) + 0.3 * radius)
    hollow = _edge((1 - r) * radius, 2)
    rim = _edge((1 - r) * radius + max(2.2, 0.2 * radius), 2) * np.clip(1.6 * facing, 0, 1)
    depth = rng.uniform(0.2, 0.3) + 0.45 * np.clip(facing, 0, 1) * np.clip(r, 0, 1) ** 2 + 0.1 * np.clip(r, 0, 1) ** 4
    wall = (0.8 * patch.mean + 0.2 * patch.pixels) * depth[..., None]
    lit = np.minimum(patch.pixels + rng.uniform(45, 75), 250)
    return np.maximum(hollow, rim), hollow[..., None] * wall + (1 - hollow[..., None]) * lit


def crack(patch: Patch, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A dark jagged line that branches, wide in the middle and narrow at its ends."""
    angle, half = rng.uniform(0, 2 * np.pi), patch.length(rng, 22, 33)
    trunk = _jagged(rng, np.zeros(2), angle, 2 * half, 12)
    trunk -= trunk.mean(0)
    width = rng.uniform(1.4, 2.4)
    lines = [(trunk, width * np.r_[0.4, 0.7, rng.uniform(0.75, 1.35, 8), 0.7, 0.4])]
    for joint in rng.choice(np.arange(3, 10), rng.integers(1, 4), replace=False):
        turn = angle + rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
        branch = _jagged(rng, trunk[joint], turn, half * rng.uniform(0.4, 0.7), 6)
        lines.append((branch, width * np.linspace(0.75, 0.4, 6)))
    inside = np.max([_tube(patch, line, np.maximum(widths, 0.9)) for line, widths in lines], axis=0)
    shade = rng.uniform(0.12, 0.25) + 0.25 * np.exp(-np.clip(inside, 0, None))  # the edges fall off, they are not cut
    return np.clip(0.7 * inside + 0.5, 0, 1), patch.pixels * shade[..., None]


def stain(patch: Patch, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An irregular blob of another colour with a soft edge; dark liquid on light surfaces, bleach on dark ones."""
    radius, stretch = patch.length(rng, 12, 23), rng.uniform(1, 1.25)
    along, across = patch.turned(rng.uniform(0, np.pi))
    outline = radius * _outline(rng, patch.x, patch.y, 0.17)
    inward = outline - np.hypot(along / stretch, across * stretch)
    strength = rng.uniform(0.75, 0.9) * (0.85 + _waves(rng, patch.x / 9, 0.07) + _waves(rng, patch.y / 9, 0.07))
    strength += rng.uniform(0, 0.3) * np.exp(-((inward / 3 - 1) ** 2))  # a dried edge, as round a coffee spill
    alpha = np.clip(_edge(inward, rng.uniform(3, 5)) * strength, 0, 1)
    if patch.mean.mean() < 85:
        return alpha, 0.45 * patch.pixels + 0.55 * np.array([225, 215, 195])
    return alpha, patch.pixels * _LIQUIDS[rng.integers(len(_LIQUIDS))]


_LIQUIDS = np.array(  # what a liquid leaves of red, green and blue
    [
        [0.72, 0.48, 0.30],  # rust
        [0.60, 0.47, 0.36],  # coffee
        [0.45, 0.43, 0.40],  # oil
        [0.45, 0.55, 0.70],  # ink
    ]
)


def missing_threads(patch: Patch, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Threads gone from a weave along its own directions: a run, or a torn hole; the dark ground shows.

    In a run the crossing threads are still there, deep in the gap.
    """
    frames = [_thread_frame(patch, steep) for steep in (False, True)]
    (u, pitch), (v, _) = frames if rng.random() < 0.5 else frames[::-1]
    room = 2 * patch.reach / pitch  # threads that fit
    run = rng.random() < 0.5
    wide = int(rng.integers(1, 3) if run else min(rng.integers(3, 5), max(1, room * 0.6)))
    long = min(rng.uniform(3.5, 6) if run else rng.uniform(3, 4.5), room * 0.8)
    u = u - 0.5 * ((wide + 1) % 2)  # an even number of threads is centred between two of them
    thread = np.clip(np.floor(u + wide / 2).astype(int), 0, wide - 1)
    middle = (np.arange(wide) + 0.5) * 2 / wide - 1
    ends = long / 2 * np.sqrt(1 - 0.6 * middle**2) + rng.uniform(-0.6, 0.3, (2, wide))  # no two break in the same way
    end = np.where(v < 0, ends[0][thread], ends[1][thread])
    inward = np.minimum(wide / 2 - np.abs(u), end - np.abs(v)) * pitch
    crossing = np.clip(1.5 * np.cos(2 * np.pi * v) - 0.3, 0, 1) * (0.42 if run else 0.07)
    shadow = np.clip(inward / pitch, 0, 0.5) * 0.2  # the cloth's edge shades the ground beside it
    return _edge(inward, 1.8), patch.mean * (rng.uniform(0.12, 0.2) + shadow + crossing)[..., None]


def missing_ink(patch: Patch, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A print with a part of its ink absent: the bare ground shows inside an irregular region."""
    ink, ground = _two_tones(patch.pixels[::2, ::2].reshape(-1, 3))
    cover = np.clip((patch.pixels - ground) @ (ink - ground) / max(((ink - ground) ** 2).sum(), 1e-6), 0, 1)
    away = np.where(cover > 0.85, np.hypot(patch.x, patch.y), np.inf)
    at = np.unravel_index(np.argmin(away), away.shape)
    x, y = patch.x - patch.x[at], patch.y - patch.y[at]
    inward = patch.length(rng, 11, 24) * _outline(rng, x, y, 0.16) - np.hypot(x, y)
    # Scaling keeps the light that falls on the ink; half of its grain is taken away, as it grows with the scale.
    tone = ground + cover[..., None] * (ink - ground)
    bare = 0.5 * (ground + patch.pixels * ground / np.maximum(tone, 1))
    return _edge(inward, 2) * (_grown(cover > 0.3) & (cover > 0.1)), bare


def _grown(region: np.ndarray) -> np.ndarray:
    """The region and its neighbours, so that the half covered edge of the ink goes too."""
    padded = np.pad(region, 1)
    return region | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]


def _two_tones(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours [3] of ink and ground by two-means over [N, 3]; the ink covers the smaller part."""
    light = pixels.sum(1)
    first = light > (light.min() + light.max()) / 2
    for _ in range(5):
        if first.all() or not first.any():
            break
        a, b = pixels[first].mean(0), pixels[~first].mean(0)
        first = ((pixels - a) ** 2).sum(1) < ((pixels - b) ** 2).sum(1)
    if first.all() or not first.any():
        return pixels.mean(0), pixels.mean(0)
    tones = pixels[first].mean(0), pixels[~first].mean(0)
    return tones if first.mean() < 0.5 else tones[::-1]


def _thread_frame(patch: Patch, steep: bool) -> tuple[np.ndarray, float]:
    """Count threads across a weave: ([h, w], whole numbers on thread centres, 0 near the origin; pitch in px).

    The pitch, direction and phase are those of the strongest wave near the x axis (steep: the y axis).
    """
    grey = patch.pixels.mean(2)
    height, width = grey.shape
    side = 256
    faded = (grey - grey.mean()) * np.outer(np.hanning(height), np.hanning(width))
    spectrum = np.fft.fft2(faded, (side, side))
    frequency = np.fft.fftfreq(side)
    fy, fx = np.meshgrid(frequency, frequency, indexing="ij")
    main, cross = (fy, fx) if steep else (fx, fy)
    likely = (main > 1 / 18) & (main < 1 / 7.5) & (np.abs(cross) < 0.22 * main)
    row, column = np.unravel_index(np.argmax(np.abs(spectrum) * likely), (side, side))
    fy, fx = frequency[row], frequency[column]
    x, y = patch.x - patch.x[0, 0], patch.y - patch.y[0, 0]
    count = fx * x + fy * y + np.angle(spectrum[row, column]) / (2 * np.pi)
    origin = np.argmin(np.hypot(patch.x, patch.y))
    return count - np.rint(count.flat[origin]), 1 / np.hypot(fx, fy)


def _edge(inward: np.ndarray, soft: float) -> np.ndarray:
    """0..1 over `soft` px around the line where inward is 0."""
    t = np.clip(inward / soft + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _outline(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, rough: float) -> np.ndarray:
    """Relative radius, about 1, by direction: a closed line with a few lobes."""
    theta = np.arctan2(y, x)
    order = np.arange(2, 7)
    size = rough * rng.uniform(0.3, 1, 5) * 2 / order
    phase = rng.uniform(0, 2 * np.pi, 5)
    return 1 + sum(a * np.cos(k * theta + p) for k, a, p in zip(order, size, phase, strict=True))


def _waves(rng: np.random.Generator, x: np.ndarray, size: float) -> np.ndarray:
    """A smooth, irregular wave of about +-2 size along x."""
    return size * (np.sin(x + rng.uniform(0, 6.3)) + np.sin(2.3 * x + rng.uniform(0, 6.3)))


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _jagged(rng: np.random.Generator, start: np.ndarray, angle: float, length: float, points: int) -> np.ndarray:
    """Points [n, 2] of a line that sets out at an angle and swerves at every point."""
    steps = np.array([_unit(angle + turn) for turn in rng.uniform(-0.75, 0.75, points - 1)])
    return start + np.vstack([np.zeros(2), np.cumsum(steps * length / (points - 1), axis=0)])


def _tube(patch: Patch, line: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Px inside (positive) a line of points [n, 2] with half widths [n] px."""
    inside = np.full(patch.x.shape, -np.inf)
    for a, b, wa, wb in zip(line[:-1], line[1:], widths[:-1], widths[1:], strict=True):
        dx, dy = b - a
        t = np.clip(((patch.x - a[0]) * dx + (patch.y - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
        away = np.hypot(patch.x - a[0] - t * dx, patch.y - a[1] - t * dy)
        inside = np.maximum(inside, wa + t * (wb - wa) - away)
    return inside
