"""Pictures and masks that the baselines' tests share."""

import numpy as np
import torch
from anomaly_synthesis.images.pictures import Picture

SIZE = (72, 101)
KINDS = [(np.uint8, 1), (np.uint8, 3), (np.uint16, 1), (np.uint16, 3)]


def picture(dtype=np.uint8, channels=3, size=SIZE, alpha=False, seed=0):
    generator, top = np.random.default_rng(seed), np.iinfo(dtype).max
    pixels = generator.integers(0, top + 1, (*size, channels)).astype(dtype)
    return Picture(pixels, generator.integers(0, top + 1, size).astype(dtype) if alpha else None)


def boxes(*areas, size=SIZE):
    """A mask of rectangles (top, left, height, width)."""
    mask = torch.zeros(size, dtype=torch.bool)
    for top, left, height, width in areas:
        mask[top : top + height, left : left + width] = True
    return mask


BLOB = boxes((10, 30, 30, 20), (20, 40, 9, 45), (60, 2, 3, 3))
MASKS = {
    "blob": BLOB,
    "one pixel": boxes((40, 50, 1, 1)),
    "one pixel in a corner": boxes((71, 100, 1, 1)),
    "a line": boxes((30, 0, 1, 101)),
    "a frame along all borders": boxes((0, 0, *SIZE)) & ~boxes((3, 3, 66, 95)),
    "all but one pixel": boxes((0, 0, *SIZE)) & ~boxes((5, 5, 1, 1)),
    "the whole picture": boxes((0, 0, *SIZE)),
    "smaller than the source's defect": boxes((50, 60, 5, 7)),
    "larger than the source's defect": boxes((5, 5, 55, 80)),
}
