"""DRAEM's synthetic anomalies (Zavrtanik et al., ICCV 2021): a foreign texture, blended into the mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from ..datasets.procedural import MATERIALS, surface
from ..errors import Refused
from ..images.pictures import SUFFIXES, Picture, read_picture
from .blend import like, replaced, to_float
from .texture_augment import augmented

_REDRAWS = 20


class Textures:
    """Where DRAEM's foreign textures come from: a folder of pictures, or the procedural surfaces."""

    def __init__(self, folder: str | Path | None = None):
        """Raises Refused for a folder that does not exist or holds no picture."""
        self.files: Sequence[Path] = ()
        if folder is not None:
            paths = sorted(Path(folder).rglob("*"))
            self.files = [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
            if not self.files:
                what = "no pictures in the folder" if Path(folder).is_dir() else "no such folder"
                raise Refused(folder, what, remedy="give a folder of textures, or none for procedural surfaces")

    def draw(self, size: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
        """A texture of `size`, [H, W, C] in 0 .. 1; a picture of another size is stretched, as the original does."""
        if not self.files:
            material = list(MATERIALS)[int(generator.integers(len(MATERIALS)))]
            shape = tuple(max(length, 32) for length in size)
            picture = Picture(surface(material, shape, int(generator.integers(2**31))))
            return to_float(picture)[: size[0], : size[1]]
        values = to_float(read_picture(self.files[int(generator.integers(len(self.files)))]))
        planes = torch.from_numpy(values).permute(2, 0, 1)[None]
        stretched = interpolate(planes, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
        return stretched.clamp(0, 1).numpy()  # rounding may lead beyond by a hair


def draem(normal: Picture, mask: torch.Tensor, seed: int, textures: Textures) -> Picture:
    """I_a = (1 - M) I + M ((1 - beta) I + beta A), beta uniform in 0.1 .. 1 (Eq. 1), A an augmented texture.

    A keeps its own colours while it is augmented; where the normal picture is grey, they are averaged after that.

    The mask is given instead of drawn from Perlin noise, so that all methods fill the same masks.
    """
    generator = np.random.default_rng(seed)
    values = to_float(normal)
    texture = like(augmented(textures.draw(normal.size, generator), generator), values.shape[2])
    beta = generator.uniform(0.1, 1.0)
    return replaced(normal, (1 - beta) * values + beta * texture, mask.numpy())


def perlin_mask(size: tuple[int, int], seed: int, threshold: float = 0.5) -> torch.Tensor:
    """DRAEM's own masks: Perlin noise of random frequency, turned by a random angle, above `threshold`; bool [H, W].

    Drawn again where nothing reaches the threshold, as broad noise may not; never empty: in the end the highest point
    of the noise is kept.
    """
    generator = np.random.default_rng(seed)
    for _ in range(_REDRAWS):
        noise = _noise(size, generator)
        if (noise > threshold).any():
            break
    return torch.from_numpy((noise > threshold) | (noise == noise.max()))


def _noise(size: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    frequencies = 2.0 ** generator.integers(0, 6, 2)
    angle = generator.uniform(0, 2 * np.pi)
    y, x = np.meshgrid(*(np.linspace(-0.5, 0.5, length) for length in size), indexing="ij")
    rows = (np.cos(angle) * y - np.sin(angle) * x + 1) * frequencies[0]
    columns = (np.sin(angle) * y + np.cos(angle) * x + 1) * frequencies[1]
    return _perlin(rows, columns, generator)


def _perlin(y: np.ndarray, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Gradient noise at the points (y, x), within about -1 .. 1."""
    cells = [int(np.ceil(axis.max())) + 2 for axis in (y, x)]
    angles = generator.uniform(0, 2 * np.pi, cells)
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    fy, fx = y - row, x - column

    def corner(i: int, j: int) -> np.ndarray:
        gradient = angles[row + i, column + j]
        return np.sin(gradient) * (fy - i) + np.cos(gradient) * (fx - j)

    def smooth(t: np.ndarray) -> np.ndarray:
        return t**3 * (t * (6 * t - 15) + 10)

    upper = corner(0, 0) + smooth(fx) * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + smooth(fx) * (corner(1, 1) - corner(1, 0))
    return np.sqrt(2) * (upper + smooth(fy) * (lower - upper))
