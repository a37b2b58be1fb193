"""Copy-paste: where the defect lands, and what it is blended with."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.baselines.copy_paste import copy_paste
from anomaly_synthesis.datasets.procedural import defect, surface
from anomaly_synthesis.images.masks import mask_box, place_mask
from anomaly_synthesis.images.pictures import Picture

from .baseline_pictures import BLOB, KINDS, MASKS, SIZE, boxes, picture
from .refusals import refused


def dotted(size, box, dot=(0.25, 0.7), radius=0.12):
    """A grey surface with a dark dot at a relative place of the box; the mask is the box without its lower left."""
    top, left, height, width = box
    y, x = np.mgrid[: size[0], : size[1]]
    u, v = (y + 0.5 - top) / height, (x + 0.5 - left) / width
    inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    pixels = np.where(np.hypot(u - dot[0], v - dot[1]) < radius, 50, 150).astype(np.uint8)[..., None]
    return Picture(pixels), torch.from_numpy(inside & ~((u > 0.5) & (v < 0.5)))


@pytest.mark.parametrize("box", [(30, 40, 24, 32), (5, 60, 72, 96), (80, 80, 8, 11), (10, 10, 50, 20), (0, 0, 24, 200)])
def test_the_defect_lies_where_it_lay_in_its_own_box(box):
    source, source_mask = dotted((100, 90), (50, 20, 24, 32))
    expected, mask = dotted((120, 200), box)
    normal = Picture(np.full((120, 200, 1), 150, np.uint8))
    result = copy_paste(normal, mask, source, source_mask).pixels[..., 0]
    dark, wanted = ((150 - p.astype(float)) * mask.numpy() for p in (result, expected.pixels[..., 0]))
    centres = [[(d.sum(k) * np.arange(d.shape[1 - k])).sum() / d.sum() for k in (1, 0)] for d in (dark, wanted)]
    assert np.abs(np.subtract(*centres) / box[2:]).max() < 0.04 or np.abs(np.subtract(*centres)).max() < 0.5
    assert 0.7 < dark.sum() / wanted.sum() < 1.3


@pytest.mark.parametrize("dtype, channels", KINDS)
def test_a_defect_pasted_at_its_own_place_gives_the_same_picture(dtype, channels):
    source = picture(dtype, channels)
    for name in ("blob", "one pixel", "a frame along all borders", "the whole picture"):
        result = copy_paste(source, MASKS[name], source, MASKS[name])
        np.testing.assert_array_equal(result.pixels, source.pixels)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)])
def test_a_mirrored_mask_gets_a_mirrored_defect(axes):
    source, source_mask = dotted((100, 90), (50, 20, 24, 32))
    mask = source_mask.flip(axes)
    result = copy_paste(Picture(np.full((100, 90, 1), 150, np.uint8)), mask, source, source_mask)
    np.testing.assert_array_equal(result.pixels, np.flip(source.pixels, axes))


def test_a_placed_mask_gets_its_own_defect_back():
    """Cracks: dark in the source's mask, so that light pixels are surface under a defect's label."""
    shares = []
    for seed in range(12):
        pixels, truth = defect(surface("cast_grain", 128, seed), "cast_grain", "crack", seed)
        flat, truth = np.where(truth[..., None], 30, np.full_like(pixels, 160)), torch.from_numpy(truth)
        mask = place_mask(truth, (128, 160), torch.Generator().manual_seed(seed))
        normal = Picture(np.full((128, 160, 3), 160, np.uint8))
        shares.append((copy_paste(normal, mask, Picture(flat), truth).pixels[mask.numpy()] < 110).mean())
    assert np.mean(shares) > 0.82 and min(shares) > 0.6  # 0.71 and 0.26 without turning it back


def test_brightness_follows_the_place_and_relief_the_source():
    source, source_mask = dotted((100, 90), (50, 20, 24, 32))
    light = Picture(np.full((100, 90, 3), 220, np.uint8))
    result = copy_paste(light, source_mask, source, source_mask)
    np.testing.assert_array_equal(result.pixels, np.repeat(source.pixels + np.uint8(70), 3, axis=2))
    dark = copy_paste(Picture(np.full((100, 90, 3), 20, np.uint8)), source_mask, source, source_mask)
    assert dark.pixels.min() == 0 and dark.pixels.max() == 20  # cut, not wrapped


def test_a_fine_source_is_averaged_not_skipped():
    stripes = np.zeros((300, 300, 1), np.uint8)
    stripes[:, ::2] = 200
    small = boxes((10, 10, 6, 6), size=(30, 30))
    everything = torch.ones(300, 300, dtype=torch.bool)
    result = copy_paste(Picture(np.full((30, 30, 1), 100, np.uint8)), small, Picture(stripes), everything)
    assert np.ptp(result.pixels) < 20


@pytest.mark.parametrize("source_mask", [torch.zeros(SIZE, dtype=torch.bool), torch.ones(8, 8, dtype=torch.bool)])
def test_a_source_without_its_mask_is_refused(source_mask):
    with refused(subject="^source$", got="^72 x 101 .*, its mask .* pixels set", remedy="give the source's own mask"):
        copy_paste(picture(), BLOB, picture(), source_mask)


def test_the_box_of_a_mask_is_all_that_is_solved():
    """A small mask on a large picture: the rest is not touched, nor read."""
    normal, mask = picture(size=(500, 700)), boxes((490, 690, 10, 10), size=(500, 700))
    other = normal.with_pixels(normal.pixels.copy())
    other.pixels[:480] = 0
    source, source_mask = picture(seed=1), boxes((5, 5, 20, 20))
    first, second = (copy_paste(p, mask, source, source_mask).pixels[mask.numpy()] for p in (normal, other))
    np.testing.assert_array_equal(first, second)
    assert mask_box(mask) == (490, 690, 10, 10)
