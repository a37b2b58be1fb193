"""Poisson blending."""

import numpy as np
import pytest
from anomaly_synthesis.baselines.copy_paste import poisson

from .baseline_pictures import boxes


def arrays(size=(9, 13), channels=2):
    generator = np.random.default_rng(0)
    return generator.random((*size, channels)), generator.random((*size, channels))


SMALL = {
    "inside": boxes((2, 3, 4, 5), size=(9, 13)).numpy(),
    "on a border": boxes((0, 3, 4, 5), size=(9, 13)).numpy(),
    "in a corner": boxes((5, 8, 4, 5), size=(9, 13)).numpy(),
    "apart": boxes((0, 0, 2, 2), (4, 4, 3, 3), (8, 12, 1, 1), size=(9, 13)).numpy(),
    "touching at a corner": boxes((1, 1, 3, 3), (4, 4, 3, 3), size=(9, 13)).numpy(),
    "with a hole": boxes((1, 1, 6, 7), size=(9, 13)).numpy() & ~boxes((3, 3, 2, 2), size=(9, 13)).numpy(),
    "all but a corner": ~boxes((0, 0, 1, 1), size=(9, 13)).numpy(),
    "all": np.ones((9, 13), bool),
}
each_small = pytest.mark.parametrize("mask", SMALL.values(), ids=SMALL)


def neighbours(y, x, size):
    near = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
    return [(r, c) for r, c in near if 0 <= r < size[0] and 0 <= c < size[1]]


@each_small
def test_the_backgrounds_own_gradients_give_the_background(mask):
    background, _ = arrays()
    np.testing.assert_allclose(poisson(background, background, mask), background, atol=1e-9)


@each_small
def test_an_offset_of_the_guide_changes_nothing(mask):
    background, guide = arrays()
    before = guide.copy(), background.copy()
    result = poisson(background, guide, mask)
    np.testing.assert_allclose(poisson(background, guide + [0.3, -4], mask), result, atol=1e-9)
    np.testing.assert_array_equal(result[~mask], background[~mask])
    np.testing.assert_array_equal((guide, background), before)


@each_small
def test_the_solution_is_that_of_a_dense_solve(mask):
    """Least squares over all pairs of neighbours with a side in the mask."""
    background, guide = arrays()
    mask = mask.copy()
    mask[0, 0] = False  # something around it has to hold the solution
    pixels = [tuple(p) for p in np.argwhere(mask)]
    rows, right = [], []
    for p in pixels:
        for q in neighbours(*p, mask.shape):
            row = np.zeros(len(pixels))
            row[pixels.index(p)] = 1
            step = guide[p] - guide[q]
            if mask[q]:
                row[pixels.index(q)] = -1
            rows.append(row)
            right.append(step if mask[q] else step + background[q])
    weight = np.sqrt([0.5 if (row == -1).any() else 1 for row in rows])[:, None]  # pairs inside stand there twice
    dense = np.linalg.lstsq(np.array(rows) * weight, np.array(right) * weight, rcond=None)[0]
    np.testing.assert_allclose(poisson(background, guide, mask)[mask], dense, atol=1e-9)


@each_small
def test_a_constant_guide_gives_a_harmonic_inside(mask):
    background, _ = arrays()
    result = poisson(background, np.full_like(background, 0.7), mask)
    for y, x in np.argwhere(mask):
        around = np.mean([result[q] for q in neighbours(y, x, mask.shape)], axis=0)
        np.testing.assert_allclose(result[y, x], around, atol=1e-9)


def test_pieces_of_a_mask_are_solved_independently():
    background, guide = arrays()
    both, one = SMALL["apart"], boxes((4, 4, 3, 3), size=(9, 13)).numpy()
    np.testing.assert_allclose(poisson(background, guide, both)[one], poisson(background, guide, one)[one], atol=1e-12)
