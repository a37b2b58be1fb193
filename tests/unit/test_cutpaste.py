"""CutPaste."""

import numpy as np
from anomaly_synthesis.baselines.cutpaste import VARIANTS, cutpaste
from anomaly_synthesis.images.pictures import Picture

from .baseline_pictures import BLOB, SIZE, boxes, picture
from .refusals import refused


def test_a_patch_holds_surface_of_the_same_picture():
    pixels = np.full((*SIZE, 3), 100, np.uint8)
    pixels[:, 50:] = 200
    values = cutpaste(Picture(pixels), boxes((10, 20, 10, 12)), 0).pixels[10:20, 20:32, 0].astype(float)
    assert all(min(abs(v / 100 - 1), abs(v / 200 - 1)) < 0.35 for v in np.unique(values)) and len(np.unique(values)) < 3


def test_a_scar_is_a_thin_strip_along_the_longer_side():
    """Stretched over a box much wider than it, it varies less across than along."""
    tall, wide = boxes((1, 10, 70, 60)), boxes((10, 1, 55, 99))
    for seed in range(5):
        values = cutpaste(picture(), tall, seed, "scar").pixels[1:71, 10:70].astype(float)
        assert np.abs(np.diff(values, axis=1)).mean() < 0.6 * np.abs(np.diff(values, axis=0)).mean()
        values = cutpaste(picture(), wide, seed, "scar").pixels[10:65, 1:100].astype(float)
        assert np.abs(np.diff(values, axis=0)).mean() < 0.6 * np.abs(np.diff(values, axis=1)).mean()


def test_an_unknown_variant_is_refused():
    with refused(subject="^variant$", got="'swap'", accepted="one of patch, scar"):
        cutpaste(picture(), BLOB, 0, "swap")
    assert VARIANTS == ("patch", "scar")
