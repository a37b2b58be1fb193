"""Regions as one polygon that fills to exactly the region, with holes and touching corners."""

import numpy as np
import pytest
from anomaly_synthesis.images.components import EIGHT_NEIGHBOURS
from anomaly_synthesis.images.outlines import draw
from anomaly_synthesis.images.rings import outline
from scipy.ndimage import label

from .refusals import refused

RING = np.pad(np.zeros((2, 3), bool), 1, constant_values=True)
TOUCHING = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)


def _regions(count=400):
    rng = np.random.default_rng(3)
    for _ in range(count):
        pieces, found = label(rng.random(rng.integers(1, 14, 2)) < rng.choice([0.3, 0.5, 0.7, 0.9]), EIGHT_NEIGHBOURS)
        yield from (pieces == number for number in range(1, found + 1))


def _flat(points):
    return [float(value) for point in points for value in point]


def test_a_square_is_its_four_corners_clockwise():
    assert outline(np.ones((2, 3), bool)) == [(0, 0), (3, 0), (3, 2), (0, 2)]
    assert outline(np.ones((1, 1), bool), 0.25) == [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]


def test_pixels_that_touch_at_corners_are_one_ring_and_a_hole_takes_one_cut():
    assert len(outline(TOUCHING)) == 4 * 4 + 4
    assert len(outline(RING)) == 4 + 4 + 4


@pytest.mark.parametrize("inset", [0, 0.01, 0.25])
def test_the_polygon_by_the_even_odd_rule_is_the_region(inset):
    for region in (RING, TOUCHING, *_regions()):
        assert np.array_equal(draw([["polygon", _flat(outline(region, inset))]], region.shape), region)


def test_the_polygon_is_the_region_for_pycocotools():
    masks = pytest.importorskip("pycocotools.mask")
    for region in (RING, TOUCHING, *_regions()):
        runs = masks.frPyObjects([_flat(outline(region))], *region.shape)
        assert np.array_equal(masks.decode(runs)[..., 0].astype(bool), region)


def test_with_an_inset_the_polygon_is_the_region_for_opencv():
    cv2 = pytest.importorskip("cv2")
    for region in (RING, TOUCHING, *_regions()):
        canvas = np.zeros(region.shape, np.uint8)
        cv2.fillPoly(canvas, [np.array(outline(region, 0.01), np.float32).astype(np.int32)], 1)
        assert np.array_equal(canvas.astype(bool), region)


@pytest.mark.parametrize("region", [np.zeros((3, 3), bool), np.array([[1, 0, 1]], bool)])
def test_nothing_and_several_pieces_are_refused(region):
    with refused(got="pieces", accepted="one"):
        outline(region)
