"""Seeded pictures of industrial surfaces, and of defects on them with exact masks: data to try and test with.

A seed, together with the names and the size, decides every pixel. Arrays are [H, W, 3] uint8 RGB and [H, W] bool.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import Refused
from ..files.durable import make_folder
from ..files.folder_lock import NAME, Lock, check_free
from ..images.pictures import Picture, write_mask, write_picture
from ..seeds import checksum_seed
from ..settings import check_values
from . import procedural_defects as shapes
from .settings import SurfaceSettings

MATERIALS: dict[str, tuple[str, ...]] = {
    "brushed_metal": ("scratch", "pit", "stain"),
    "woven_cloth": ("missing", "stain"),
    "cast_grain": ("pit", "crack", "stain"),
    "printed_pattern": ("missing", "scratch", "stain"),
}

_SMALLEST = 32  # px; a defect has no room on less
_VISIBLE = 20.0  # mean absolute change in 8-bit levels below which a defect is drawn again
_ATTEMPTS = 12


def surface(material: str, size: int | tuple[int, int], seed: int) -> np.ndarray:
    """Picture of a normal surface: [H, W, 3] uint8, RGB.

    material: a name in MATERIALS; size: px, one number for a square, or (height, width), at least 32; seed: 0 or more.
    Raises Refused for an unknown material, a smaller size or a negative seed.
    """
    _check(material)
    shape = _shape(size)
    rng = _rng(seed, "surface", material)
    return _photograph(_RELIEFS[material](shape, rng), rng)


def defect(normal: np.ndarray, material: str, type: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one defect on a normal picture: (image [H, W, 3] uint8, mask [H, W] bool).

    The mask is exactly the set of changed pixels and is never empty; the mean change in it is over 20 of 255 levels.
    normal: [H, W, 3] uint8 of that material, a crop too; missing threads and ink are found by looking at the picture.
    type: one of MATERIALS[material]; seed: 0 or more.
    Raises Refused for unknown names, another shape or dtype, a side under 32 px, a negative seed, or a picture on
    which this defect cannot be seen (missing ink on a blank one).
    """
    _check(material, type)
    if normal.dtype != np.uint8 or normal.ndim != 3 or normal.shape[2] != 3:
        raise Refused("normal", f"{normal.dtype} {list(normal.shape)}", "uint8 [H, W, 3]")
    _shape(normal.shape[:2])
    for attempt in range(_ATTEMPTS):
        image, mask = shapes.draw(normal, _SHAPES[material, type], _rng(seed, "defect", material, type, attempt))
        if mask.sum() >= 20 and np.abs(image[mask].astype(float) - normal[mask]).mean() > _VISIBLE:
            return image, mask
    remedy = f"give a picture of {material}, not blank or saturated"
    raise Refused("normal", f"{type} cannot be seen on this picture", remedy=remedy)


def defect_mask(material: str, type: str, size: int | tuple[int, int], seed: int) -> np.ndarray:
    """Mask [H, W] bool that `defect` draws, for the same seed, on the surface of this seed: never empty.

    material, type, size, seed and errors are those of `surface` and `defect`.
    """
    _check(material, type)
    return defect(surface(material, size, seed), material, type, seed)[1]


def write_surfaces(
    root: str | Path,
    *,
    materials: Iterable[str] = tuple(MATERIALS),
    normals: int = SurfaceSettings.normals,
    defects: int = SurfaceSettings.defects,
    size: int | tuple[int, int] = SurfaceSettings.size,
    seed: int = SurfaceSettings.seed,
) -> Path:
    """Write a data set in MVTec layout, one object per material, as PNG files; returns the folder.

    normals: pictures in train/good of each material; defects: pictures in test/good and in test/<type> of each type,
    these with ground_truth/<type>/<stem>_mask.png of 0 and 255. No two pictures share a surface.
    Raises Refused for unknown names, counts under 1, a size under 32 px, a negative seed, or a root that exists and
    is not an empty folder, or where another process writes it; OSError if a file cannot be written.
    """
    root, materials = Path(root), list(dict.fromkeys(materials))
    for material in materials:
        _check(material)
    if not materials:
        raise Refused("materials", "none", ", ".join(MATERIALS))
    check_values(SurfaceSettings, normals=normals, defects=defects)
    _shape(size)
    check_free(root)
    if root.exists() and (not root.is_dir() or any(path.name != NAME for path in root.iterdir())):
        raise Refused(root, "it exists and is not an empty folder", remedy="name another folder or empty it")
    make_folder(root)
    with Lock(root):
        for material in materials:
            for index in range(normals):
                _write_good(root, material, "train", index, size, seed)
            for index in range(defects):
                _write_good(root, material, "test", index, size, seed)
                for type in MATERIALS[material]:
                    _write_defect(root, material, type, index, size, seed)
    return root


def _write_good(root: Path, material: str, part: str, index: int, size: int | tuple[int, int], seed: int) -> None:
    picture = surface(material, size, checksum_seed(seed, part, "good", index))
    _write(root / material / part / "good" / f"{index:03d}.png", picture)


def _write_defect(root: Path, material: str, type: str, index: int, size: int | tuple[int, int], seed: int) -> None:
    own = checksum_seed(seed, "test", type, index)
    image, mask = defect(surface(material, size, own), material, type, own)
    _write(root / material / "test" / type / f"{index:03d}.png", image)
    truth = root / material / "ground_truth" / type / f"{index:03d}_mask.png"
    truth.parent.mkdir(parents=True, exist_ok=True)
    write_mask(truth, mask)


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, Picture(pixels))


def _check(material: str, type: str | None = None) -> None:
    if material not in MATERIALS:
        raise Refused("material", repr(material), ", ".join(MATERIALS))
    if type is not None and type not in MATERIALS[material]:
        raise Refused("type", f"{type!r} on {material}", ", ".join(MATERIALS[material]))


def _shape(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < _SMALLEST:
        raise Refused("size", f"{height} x {width} px", f"{_SMALLEST} or more on each side")
    return height, width


def _rng(seed: int, *names: str | int) -> np.random.Generator:
    if seed < 0:
        raise Refused("seed", seed, "0 or more")
    return np.random.default_rng([seed, checksum_seed(seed, *names)])


# Materials: each gives float64 [H, W, 3], the light reflected under an even lamp in 0..255. All is float64: the last
# bits of sin, exp and the transforms differ between machines, and in float32 they would reach the 8-bit result.


def _brushed_metal(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(-0.45, 0.45)
    fine = _texture(shape, rng, along=rng.uniform(12, 24), across=rng.uniform(0.8, 1.3), angle=angle)
    broad = _texture(shape, rng, along=40, across=rng.uniform(3, 6), angle=angle)
    x, y = _frame(shape, angle)
    x = x / max(shape)
    # Grooves spread a lamp's reflection across themselves: a bright band at right angles to the brushing.
    band = rng.uniform(0.08, 0.24) * np.exp(-(((x - rng.uniform(-0.4, 0.4)) / rng.uniform(0.2, 0.4)) ** 2))
    light = rng.uniform(0.85, 1.05) + band + rng.uniform(0.04, 0.065) * fine + rng.uniform(0.02, 0.04) * broad
    return light[..., None] * rng.uniform(115, 160) * _tint(rng, 0.035)


def _cast_grain(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    grain = rng.uniform(1.7, 2.8)
    height = _texture(shape, rng, grain, grain) * grain + _texture(shape, rng, 2.5 * grain, 2.5 * grain) * grain
    lamp = rng.uniform(0, 2 * np.pi)
    dy, dx = np.gradient(height)
    relief = np.cos(lamp) * dx + np.sin(lamp) * dy
    fine, patches = _texture(shape, rng, 1.2, 1.2), _texture(shape, rng, 14, 14)
    light = 1 + rng.uniform(0.08, 0.13) * np.tanh(relief) + 0.02 * height / grain + 0.03 * fine + 0.025 * patches
    return light[..., None] * rng.uniform(105, 155) * _tint(rng, 0.05)


def _woven_cloth(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    pitch, x_y = rng.uniform(9, 13), _frame(shape, rng.uniform(-0.1, 0.1))
    sway = 0.12 * _texture(shape, rng, 24, 24)
    u, v = x_y[0] / pitch + sway, x_y[1] / pitch + np.roll(sway, 31, axis=1)
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    warp_round, weft_round = 1 - (2 * (u - i) - 1) ** 2, 1 - (2 * (v - j) - 1) ** 2  # height across a thread
    over = 0.7 * np.sin(np.pi * u) * np.sin(np.pi * v)  # the warp passes over the weft where this is positive
    warp_up = warp_round + over > weft_round - over
    height = np.maximum(warp_round + over, weft_round - over)
    slubs = 1 + 0.05 * rng.standard_normal((2, 512))  # no two threads are equally bright
    thread = np.where(warp_up, slubs[0][i % 512], slubs[1][j % 512])
    fibre = 1 + 0.05 * _texture(shape, rng, 1.3, 1.3)
    warp, weft = _CLOTHS[rng.integers(len(_CLOTHS))] * _tint(rng, 0.04)
    colour = np.where(warp_up[..., None], warp, weft)
    return colour * ((0.42 + 0.38 * height) * thread * fibre)[..., None]


def _printed_pattern(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    period = rng.uniform(30, 42)
    x, y = _frame(shape, rng.uniform(-0.2, 0.2))
    v = y / period + rng.uniform()
    u = x / period + rng.uniform() + 0.5 * (np.floor(v) % 2)  # every second row is shifted, as on wallpaper
    motif = _MOTIFS[rng.integers(len(_MOTIFS))]
    cover = np.clip(motif(u % 1 - 0.5, v % 1 - 0.5) * period / 1.6 + 0.5, 0, 1)[..., None]
    grain, blotches = _texture(shape, rng, 1.4, 1.4)[..., None], _texture(shape, rng, 9, 9)[..., None]
    ground, ink = _PRINTS[rng.integers(len(_PRINTS))] * _tint(rng, 0.04)
    paper, print_ = ground * (1 + 0.03 * grain + 0.012 * blotches), ink * (1 + 0.02 * grain + 0.04 * blotches)
    return paper + cover * (print_ - paper)


# Signed distances in periods, positive inside the motif; the ink covers a quarter to a third of the ground.
_MOTIFS = (
    lambda x, y: 0.31 - np.hypot(x, y),
    lambda x, y: (0.4 - np.abs(x) - np.abs(y)) * 0.71,
    lambda x, y: 0.09 - np.abs(np.hypot(x, y) - 0.28),
    lambda x, y: 0.27 + 0.09 * np.cos(4 * np.arctan2(y, x)) - np.hypot(x, y),
)

_CLOTHS = np.array(  # warp, weft
    [
        [[168, 150, 122], [184, 168, 140]],
        [[104, 128, 158], [128, 150, 176]],
        [[118, 142, 118], [140, 160, 136]],
        [[170, 112, 98], [184, 132, 116]],
        [[158, 158, 154], [132, 134, 136]],
    ],
    float,
)

_PRINTS = np.array(  # ground, ink
    [
        [[188, 178, 156], [62, 84, 120]],
        [[168, 182, 186], [136, 58, 54]],
        [[186, 172, 150], [60, 98, 78]],
        [[182, 160, 160], [88, 66, 102]],
        [[172, 176, 168], [70, 72, 76]],
    ],
    float,
)

_RELIEFS = {
    "brushed_metal": _brushed_metal,
    "woven_cloth": _woven_cloth,
    "cast_grain": _cast_grain,
    "printed_pattern": _printed_pattern,
}

_SHAPES = {
    ("brushed_metal", "scratch"): shapes.scratch,
    ("brushed_metal", "pit"): shapes.pit,
    ("brushed_metal", "stain"): shapes.stain,
    ("woven_cloth", "missing"): shapes.missing_threads,
    ("woven_cloth", "stain"): shapes.stain,
    ("cast_grain", "pit"): shapes.pit,
    ("cast_grain", "crack"): shapes.crack,
    ("cast_grain", "stain"): shapes.stain,
    ("printed_pattern", "missing"): shapes.missing_ink,
    ("printed_pattern", "scratch"): shapes.scratch,
    ("printed_pattern", "stain"): shapes.stain,
}


def _photograph(reflected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Expose the surface under a lamp off to one side, darker towards the corners: uint8."""
    x, y = _frame(reflected.shape[:2], rng.uniform(0, 2 * np.pi))
    x, y = x / max(reflected.shape), y / max(reflected.shape)
    light = 1 + rng.uniform(0.05, 0.28) * x - rng.uniform(0.05, 0.25) * (x * x + y * y)
    return np.clip(np.rint(reflected * (rng.uniform(0.86, 1.14) * light)[..., None]), 0, 255).astype(np.uint8)


def _tint(rng: np.random.Generator, size: float) -> np.ndarray:
    """Factors [3] of a slight colour cast, warm or cold."""
    warm = rng.uniform(-size, size)
    return np.array([1 + warm, 1 + rng.uniform(-size, size) / 4, 1 - warm])


def _frame(shape: tuple[int, int], angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) in px from the centre, [H, W] each, turned by angle (radians)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    y, x = y - shape[0] / 2, x - shape[1] / 2
    c, s = np.cos(angle), np.sin(angle)
    return c * x + s * y, c * y - s * x


def _texture(
    shape: tuple[int, int], rng: np.random.Generator, along: float, across: float, angle: float = 0.0
) -> np.ndarray:
    """Blurred noise [H, W] of unit spread; along, across: sigma of the blur in px, in a frame turned by angle."""
    # Sides of 256 and more keep long blurs from wrapping round, multiples of 64 keep the transform fast.
    height, width = (max(256, -(-side // 64) * 64) for side in shape)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    c, s = np.cos(angle), np.sin(angle)
    blur = np.exp(-2 * np.pi**2 * ((along * (c * fx + s * fy)) ** 2 + (across * (c * fy - s * fx)) ** 2))
    blur[0, 0] = 0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * blur, (height, width))
    return (noise / noise.std())[: shape[0], : shape[1]]
