"""CutPaste (Li et al., CVPR 2021): a patch of normal surface, cut elsewhere, in the mask."""

from __future__ import annotations

import numpy as np
import torch

from ..choices import VARIANTS
from ..errors import Refused
from ..images.masks import mask_box
from ..images.pictures import Picture
from .blend import jittered, replaced, to_float


def cutpaste(normal: Picture, mask: torch.Tensor, seed: int, variant: str = "patch") -> Picture:
    """Fill the mask with surface from another place of the same picture, its colours shifted.

    Where the original draws the shape (a rectangle, or a thin turned one), the mask is given here, so that all methods
    fill the same masks.

    Args:
        mask: bool [H, W], not empty.
        variant: `patch`, content of the mask's size; `scar`, a thin strip stretched over the mask's box.

    Raises:
        Refused: unknown variant.
    """
    if variant not in VARIANTS:
        raise Refused("variant", repr(variant), f"one of {', '.join(VARIANTS)}")
    generator = np.random.default_rng(seed)
    values = to_float(normal)
    top, left, height, width = mask_box(mask)
    size = (height, width) if variant == "patch" else _strip(height, width, generator)
    size = tuple(min(length, limit) for length, limit in zip(size, normal.size, strict=True))
    rows, columns = (
        int(generator.integers(0, limit - length + 1)) for length, limit in zip(size, normal.size, strict=True)
    )
    patch = values[rows : rows + size[0], columns : columns + size[1]]
    patch = jittered(_turned(patch, generator), generator)
    filled = values.copy()
    filled[top : top + height, left : left + width] = _stretched(patch, (height, width))
    return replaced(normal, filled, mask.numpy())


def _strip(height: int, width: int, generator: np.random.Generator) -> tuple[int, int]:
    """A strip as thin as the paper's scars, 2 to 16 px, along the longer side."""
    thin = int(generator.integers(2, 17))
    return (height, min(thin, width)) if height >= width else (min(thin, height), width)


def _turned(patch: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Mirrored at random, and turned upside down at random: another place alone may look the same."""
    patch = patch[::-1] if generator.random() < 0.5 else patch
    return patch[:, ::-1] if generator.random() < 0.5 else patch


def _stretched(patch: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    planes = torch.from_numpy(np.ascontiguousarray(patch)).permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(planes, size, mode="bilinear")[0].permute(1, 2, 0).numpy()
