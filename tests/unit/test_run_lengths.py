"""COCO's run lengths, compared with pycocotools."""

import numpy as np
import pytest
from anomaly_synthesis.images.outlines import draw
from anomaly_synthesis.images.run_lengths import compressed, decompressed, run_lengths


def _regions(count):
    rng = np.random.default_rng(5)
    for _ in range(count):
        height, width = rng.integers(1, 40, 2)
        region = rng.random((height, width)) < rng.choice([0.02, 0.5, 0.98])
        region[rng.integers(height), rng.integers(width)] = True
        yield region


def test_runs_are_the_text_that_pycocotools_writes():
    masks = pytest.importorskip("pycocotools.mask")
    for region in _regions(200):
        theirs = masks.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()
        assert compressed(run_lengths(region, (0, 0), region.shape)) == theirs


def test_a_region_is_placed_in_its_image_and_drawn_again():
    rng = np.random.default_rng(6)
    for region in _regions(200):
        (top, left), (below, right) = rng.integers(0, 9, 2), rng.integers(0, 9, 2)
        image = np.pad(region, ((top, below), (left, right)))
        runs = run_lengths(region, (top, left), image.shape)
        assert sum(runs) == image.size and min(runs[1:], default=1) > 0
        for counts in (runs, compressed(runs)):
            assert np.array_equal(draw([["rle", list(image.shape), counts]], image.shape), image)


def test_long_runs_survive_the_text():
    runs = [0, 1, 31, 32, 15, 16, 1 << 20, 1, 1 << 26, 5]
    assert decompressed(compressed(runs)) == runs
