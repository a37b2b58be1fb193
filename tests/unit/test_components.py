"""Parts of a mask: disjoint, whole, together only where that costs no scale."""

import torch
from anomaly_synthesis.datasets.components import boxed_parts


def _mask(*boxes, size=(400, 600)):
    mask = torch.zeros(size, dtype=torch.bool)
    for top, left, height, width in boxes:
        mask[top:top + height, left:left + width] = True
    return mask


def mask_parts(mask, resolution):
    """The parts as masks of the whole image."""
    parts = []
    for (top, left, bottom, right), inside in boxed_parts(mask, resolution):
        parts.append(torch.zeros_like(mask))
        parts[-1][top:bottom, left:right] = inside
    return parts


def test_parts_are_disjoint_and_make_up_the_mask():
    mask = torch.rand(200, 300, generator=torch.Generator().manual_seed(0)) > 0.995
    parts = mask_parts(mask, 64)
    assert len(parts) > 1 and torch.equal(torch.stack(parts).sum(0), mask.long())


def test_near_pieces_stay_together_and_far_ones_do_not():
    mask = _mask((10, 10, 5, 5), (20, 22, 4, 4), (300, 500, 6, 6))
    sizes = sorted(int(part.sum()) for part in mask_parts(mask, 128))
    assert sizes == [36, 25 + 16]


def test_a_speck_inside_a_large_pieces_window_joins_it():
    mask = _mask((50, 50, 200, 200), (100, 300, 4, 4))
    assert len(mask_parts(mask, 128)) == 1


def test_diagonal_neighbours_are_one_piece():
    mask = torch.eye(300, dtype=torch.bool)
    assert len(mask_parts(mask, 64)) == 1


def test_one_pixel_is_one_part():
    (part,) = mask_parts(_mask((399, 599, 1, 1)), 128)
    assert part.sum() == 1
