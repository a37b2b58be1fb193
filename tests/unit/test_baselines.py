"""Guarantees of all baselines: exact background, depth and channels kept, the same seed gives the same result."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.baselines.blend import jittered, like
from anomaly_synthesis.baselines.copy_paste import copy_paste
from anomaly_synthesis.baselines.cutpaste import cutpaste
from anomaly_synthesis.baselines.draem import Textures, draem

from .baseline_pictures import BLOB, KINDS, MASKS, boxes, picture


def copied(normal, mask, seed):
    return copy_paste(normal, mask, picture(size=(60, 50), seed=seed + 1), boxes((20, 10, 15, 24), size=(60, 50)))


METHODS = {
    "cutpaste": cutpaste,
    "cutpaste-scar": lambda normal, mask, seed: cutpaste(normal, mask, seed, "scar"),
    "draem": lambda normal, mask, seed: draem(normal, mask, seed, Textures()),
    "copy-paste": copied,
}
each_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


@each_method
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_outside_the_mask_every_pixel_is_the_normal_images(make, mask):
    normal, given = picture(), mask.clone()
    before = normal.pixels.copy()
    made = [make(normal, mask, seed) for seed in range(4)]
    for result in made:
        np.testing.assert_array_equal(result.pixels[~mask.numpy()], before[~mask.numpy()])
    assert max((result.pixels != before)[mask.numpy()].mean() for result in made) > 0.6
    np.testing.assert_array_equal(normal.pixels, before)
    assert torch.equal(mask, given)


@each_method
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype, channels", KINDS)
def test_depth_channels_and_alpha_stay(make, dtype, channels, alpha):
    normal = picture(dtype, channels, alpha=alpha)
    result = make(normal, BLOB, 3)
    assert result.pixels.dtype == dtype and result.pixels.shape == normal.pixels.shape
    np.testing.assert_array_equal(result.pixels[~BLOB.numpy()], normal.pixels[~BLOB.numpy()])
    np.testing.assert_array_equal(result.alpha, normal.alpha)
    inside = result.pixels[BLOB.numpy()]
    assert (inside != normal.pixels[BLOB.numpy()]).mean() > 0.6
    assert dtype == np.uint8 or (inside % 257 != 0).any()  # not 8-bit values made wide


@each_method
@pytest.mark.parametrize("size", [(40, 200), (200, 40), (17, 5), (3, 3), (1, 9)])
def test_any_shape_of_picture(make, size):
    normal, mask = picture(size=size), torch.zeros(size, dtype=torch.bool)
    mask[0, 1:] = mask[size[0] // 2, 1:3] = True
    result = make(normal, mask, 1)
    np.testing.assert_array_equal(result.pixels[~mask.numpy()], normal.pixels[~mask.numpy()])


@each_method
def test_the_seed_decides(make):
    normal = picture()
    first, again, other = (make(normal, BLOB, seed).pixels for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other)[BLOB.numpy()].mean() > 0.6
    make(normal, BLOB, 2**63 - 1)  # the largest that `derived_seed` gives


def test_colour_is_averaged_for_grey_and_grey_repeated_for_colour():
    colour, grey = np.random.default_rng(0).random((4, 5, 3)), np.random.default_rng(1).random((4, 5, 1))
    np.testing.assert_allclose(like(colour, 1)[..., 0], colour.mean(2))
    np.testing.assert_array_equal(like(grey, 3), np.concatenate([grey] * 3, axis=2))
    assert like(colour, 3) is colour and like(grey, 1) is grey


def test_jitter_is_relative():
    """12-bit data in a 16-bit file stay near 0."""
    values = np.random.default_rng(0).random((20, 20, 1)) / 16
    for seed in range(50):
        changed = jittered(values, np.random.default_rng(seed))
        assert 0.8 * values.mean() < changed.mean() < 1.22 * values.mean()
        assert changed.std() > 0.7 * values.std()


@each_method
def test_an_empty_mask_is_refused(make):
    if make is METHODS["draem"]:
        np.testing.assert_array_equal(make(picture(), ~MASKS["the whole picture"], 0).pixels, picture().pixels)
        return
    with pytest.raises(ValueError, match="^mask: it is empty"):
        make(picture(), ~MASKS["the whole picture"], 0)
