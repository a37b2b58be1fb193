import math

import pytest
import torch
from anomaly_synthesis.synthesis.scores import excess, ring, signed_contrast, strength, visibility, visible_above


def box_mask(top, left, height, width, size=(80, 90)):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def chequered(low, high, size=(80, 90)):
    """Mean (low + high) / 2 and standard deviation (high - low) / 2 in every even-sided patch."""
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    return torch.where((rows + columns) % 2 == 0, low, high).expand(3, *size).clone()


@pytest.mark.parametrize("height, width, expected", [(1, 1, 8), (10, 16, 8), (10, 18, 9), (30, 4, 15), (21, 4, 10)])
def test_ring_is_8_px_or_half_the_extent_wide(height, width, expected):
    around = ring(box_mask(25, 30, height, width))
    assert torch.equal(
        around,
        box_mask(25 - expected, 30 - expected, height + 2 * expected, width + 2 * expected)
        & ~box_mask(25, 30, height, width),
    )


def test_ring_follows_the_mask_and_stops_at_the_image():
    mask = box_mask(0, 0, 2, 2) | box_mask(0, 15, 2, 2)  # extent 17: width 8
    around = ring(mask)
    assert not (around & mask).any() and around[:10, 2:15].all() and around[9, 0] and not around[10].any()
    assert around[5, 24] and not around[5, 25]


def test_ring_of_a_mask_that_leaves_nothing_is_everything():
    assert ring(torch.ones(20, 30, dtype=torch.bool)).all()


def test_an_unchanged_image_is_not_visible():
    image = torch.rand(3, 80, 90, generator=torch.Generator().manual_seed(0))
    assert visibility(image, image, chequered(0.4, 0.6), box_mask(30, 30, 10, 10)) == 0


def test_visibility_by_hand():
    normal, mask = chequered(0.4, 0.6), box_mask(30, 30, 10, 10)
    roundtrip = torch.full_like(normal, 0.5)
    result = roundtrip.clone()
    result[:, 30:40, 30:35] += 0.2  # half of the mask lighter
    result[0, 30:40, 35:40] -= 0.15  # the other half of another colour, its mean unchanged
    result[1, 30:40, 35:40] += 0.15
    result[:, :10] = 1  # outside, never read
    expected = (0.5 * 0.2 + 0.5 * 0.1) / (0.1 + 2 / 255)
    assert visibility(result, roundtrip, normal, mask) == pytest.approx(expected, rel=1e-4)


def test_strength_by_hand():
    normal, mask = chequered(0.4, 0.6), box_mask(30, 30, 10, 10)
    result = normal.clone()
    result[:, 30:32, 30:40] += 0.2  # a fifth of the mask: four fifths of the quarter that counts
    texture = 0.1 * (1 - (1 / 81) ** 2) ** 0.5  # 9 x 9 px hold one pixel more of one kind
    expected = 0.8 * 0.2 / ((0.1 + 2 / 255) * (texture + 1 / 255)) ** 0.5
    assert strength(result, normal, normal, mask) == pytest.approx(expected, rel=1e-2)


def test_a_thin_defect_is_as_strong_as_a_full_one_and_shading_weakens_it_less_than_visibility():
    mask, flat = box_mask(30, 30, 12, 12), torch.full((3, 80, 90), 0.5)
    line = flat.clone()
    line[:, 30:42, 33:36] -= 0.1
    assert strength(line, flat, flat, mask) == pytest.approx(strength(flat - 0.1, flat, flat, mask), rel=1e-4)
    shaded = flat + torch.linspace(-0.3, 0.3, 90)
    weaker = [
        score(shaded - 0.1, shaded, shaded, mask) / score(flat - 0.1, flat, flat, mask)
        for score in (strength, visibility)
    ]
    assert weaker[1] < weaker[0] / 2


def test_no_change_has_no_strength_at_any_mask():
    flat = torch.full((3, 20, 30), 0.5)
    for mask in (torch.ones(20, 30, dtype=torch.bool), box_mask(0, 0, 1, 1, (20, 30))):
        assert strength(flat, flat, flat, mask) == 0 and math.isfinite(strength(flat + 0.1, flat, flat, mask))


def test_excess_by_hand():
    normal, mask = chequered(0.4, 0.6), box_mask(30, 30, 10, 10)
    controls = torch.stack([normal] * 3)
    for number, control in enumerate(controls):
        control[:, 30:40, 30:40] += 0.03 * number  # .03, .06 and .03 from each other
    result = normal.clone()
    result[:, 30:32, 30:40] += 0.3  # a fifth of the mask: four fifths of the quarter that counts
    away = (0.8 * 0.3 + (0.8 * 0.27 + 0.2 * 0.03) + (0.8 * 0.24 + 0.2 * 0.06)) / 3
    assert excess(result[:, mask], controls[..., mask]) == pytest.approx(away / (0.04 + 1 / 255), rel=1e-3)
    assert excess(normal[:, mask], controls[:1].expand(2, -1, -1, -1)[..., mask]) == 0


def test_the_same_change_is_less_visible_on_a_rougher_surface():
    mask, roundtrip = box_mask(30, 30, 10, 10), torch.full((3, 80, 90), 0.5)
    smooth, rough = (visibility(roundtrip + 0.1, roundtrip, chequered(0.5 - d, 0.5 + d), mask) for d in (0.02, 0.2))
    assert smooth / rough == pytest.approx((0.2 + 2 / 255) / (0.02 + 2 / 255), rel=1e-3)


def test_only_the_ring_of_the_normal_image_counts():
    normal, mask = chequered(0.4, 0.6), box_mask(30, 30, 10, 10)
    result, other = torch.full_like(normal, 0.7), normal.clone()
    other[:, ~(ring(mask))] = 9.0
    same = [visibility(result, torch.zeros_like(result), image, mask) for image in (normal, other)]
    assert same[0] == same[1]


def test_a_mask_of_ones_and_a_flat_surface_give_finite_numbers():
    everything, flat = torch.ones(20, 30, dtype=torch.bool), torch.full((3, 20, 30), 0.5)
    for mask in (everything, box_mask(5, 5, 4, 4, (20, 30)), box_mask(0, 0, 1, 1, (20, 30))):
        assert visibility(flat + 0.1, flat, flat, mask) == pytest.approx(0.1 * 255 / 2, rel=1e-4)
        assert math.isfinite(signed_contrast(flat + 0.1, mask, flat)) and math.isfinite(signed_contrast(flat, mask))
    assert signed_contrast(flat, everything) == 0


@pytest.mark.parametrize("change", [-0.3, 0.3])
def test_contrast_has_the_sign_of_the_change_in_units_of_the_ring(change):
    normal, mask = chequered(0.4, 0.6), box_mask(30, 30, 10, 10)
    result = normal.clone()
    result[:, mask] += change
    assert signed_contrast(result, mask) == pytest.approx(change / 0.1, rel=1e-3)


def test_contrast_may_read_the_ring_from_another_image():
    mask = box_mask(30, 30, 10, 10)
    image = torch.full((3, 80, 90), 0.3)
    assert signed_contrast(image, mask, chequered(0.4, 0.6)) == pytest.approx(-2, rel=1e-3)


def test_the_threshold_lets_one_negative_in_a_hundred_pass():
    negatives = [i / 1000 for i in range(1000)]
    threshold = visible_above(list(reversed(negatives)))
    assert sum(value > threshold for value in negatives) == 10
