"""Parts of a mask: disjoint, complete, and joined only where that costs no resolution."""

from time import perf_counter

import torch
from anomaly_synthesis.images.components import boxed_parts, windowed_parts


def _mask(*boxes, size=(400, 600)):
    mask = torch.zeros(size, dtype=torch.bool)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = True
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


def scattered(count, size, seed=0):
    mask = torch.zeros(size * size, dtype=torch.bool)
    mask[torch.randperm(size * size, generator=torch.Generator().manual_seed(seed))[:count]] = True
    return mask.view(size, size)


def test_thousands_of_specks_share_windows_at_native_scale_with_context_around_each():
    mask = scattered(4000, 1024)
    before = perf_counter()
    parts = windowed_parts(mask, 128)
    assert perf_counter() - before < 10  # 21 s with a comparison of every piece with every part
    # 1024 px hold 11 strips of 96 px, and every strip 11 windows; at the border a window needs no context beyond it.
    assert 100 <= len(parts) <= 121 and {side for _, _, side in parts} == {128}
    assert all(bottom - top <= 112 and right - left <= 112 for (top, left, bottom, right), _, _ in parts)
    assert torch.equal(torch.stack(mask_parts(mask, 128)).sum(0), mask.long())


def test_few_pieces_are_grouped_as_before_and_large_ones_among_many_keep_their_windows():
    few, many = _mask((0, 0, 1, 1), (60, 60, 1, 1)), scattered(3000, 512)
    assert len(windowed_parts(few, 128)) == 2  # alone, though one window would hold both
    many[100:300, 100:300] = True
    (box, inside, side), *others = windowed_parts(many, 128)
    assert side == 512 and inside.sum() > 40_000 and not others  # its window holds every speck
    wide = torch.zeros(128, 128, dtype=torch.bool)
    wide[::4, ::4] = True
    wide[40:100, 40:100] = True  # its context would reach beyond the image
    assert len(windowed_parts(wide, 128)) <= 4


def test_a_wall_of_specks_near_the_border_ends():
    mask = torch.zeros(96, 400, dtype=torch.bool)
    mask[::2, ::2] = True
    for context in (0.0, 1.0, 8.0):
        parts = mask_parts(mask, 128) if context == 1 else [one for _, one, _ in windowed_parts(mask, 128, context)]
        assert sum(int(part.sum()) for part in parts) == int(mask.sum()) and len(parts) < 10
