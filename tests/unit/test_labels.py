"""The refined mask: the pixels of the requested one that differ from all controls."""

import numpy as np
import torch
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.synthesis.labels import refined_mask, refined_picture
from anomaly_synthesis.synthesis.windows import crop_parts

SIZE = 96


def scene(dtype=np.uint8, grain: float = 4.0) -> tuple[np.ndarray, torch.Tensor, list, list]:
    """Surface [H, W, 1] with grain, a wide stroke, its part, and three controls that differ by their grain."""
    rng = np.random.default_rng(0)
    scale = np.iinfo(dtype).max / 255
    surface = 120 + np.zeros((SIZE, SIZE, 1))
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[30:50, 20:80] = True
    parts = crop_parts(0, mask, 64)
    noise = rng.normal(0, grain, (3, int(mask.sum()), 1))
    controls = [((120 + noise) * scale).round().astype(dtype)]
    image = surface.copy()
    image[mask.numpy()] += rng.normal(0, grain, (int(mask.sum()), 1))
    return (image * scale).round().astype(dtype), mask, parts, controls


def crack(image: np.ndarray, by: float) -> np.ndarray:
    """Where a thin line was drawn into the image."""
    true = np.zeros((SIZE, SIZE), bool)
    true[39:42, 24:76] = True
    image[true] = (image[true].astype(int) + by).astype(image.dtype)
    return true


def test_a_thin_crack_in_a_wide_stroke_is_found_and_little_else():
    for dtype, by in ((np.uint8, -60), (np.uint16, -60 * 257)):
        image, mask, parts, controls = scene(dtype)
        true = crack(image, by)
        found = refined_mask(Picture(image), parts, controls)
        assert (found <= mask.numpy()).all() and found[true].all()
        assert found.sum() < 3 * true.sum()  # with its soft edge, not the whole stroke
        assert found.sum() < 0.4 * mask.sum()


def test_normal_surface_leaves_nothing():
    image, _, parts, controls = scene()
    assert not refined_mask(Picture(image), parts, controls).any()


def test_a_refined_mask_stays_whole():
    image, mask, parts, controls = scene()
    image[mask.numpy()] = image[mask.numpy()] - 50
    assert np.array_equal(refined_mask(Picture(image), parts, controls), mask.numpy())


def test_with_equal_controls_a_change_of_four_levels_counts_and_of_two_does_not():
    image, mask, parts, controls = scene(grain=0.0)
    for by, wanted in ((-8, True), (-2, False)):
        changed = image.copy()
        changed[mask.numpy()] = (changed[mask.numpy()].astype(int) + by).astype(np.uint8)
        assert refined_mask(Picture(changed), parts, controls).any() == wanted


def test_the_picture_keeps_the_normal_pixels_outside_the_refined_mask():
    image, mask, parts, controls = scene()
    normal = Picture(np.full_like(image, 120))
    crack(image, -60)
    found = refined_mask(Picture(image), parts, controls)
    kept = refined_picture(Picture(image), normal, found)
    assert np.array_equal(kept.pixels[~found], normal.pixels[~found])
    assert np.array_equal(kept.pixels[found], image[found])
