"""Drawn defects on photographs: in the mask alone, along it or all over it, at any depth, the same each time."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.baselines.drawn import LINES, draw_defects
from anomaly_synthesis.datasets.surfaces.defects import TYPES
from anomaly_synthesis.datasets.surfaces.region import Region
from anomaly_synthesis.images.pictures import Picture

from .refusals import refused


def photograph(size: int = 96, channels: int = 3, dtype=np.uint8) -> Picture:
    rows, columns = np.mgrid[:size, :size]
    grey = 0.5 + 0.15 * np.sin(rows / 9) * np.cos(columns / 13)
    return Picture((grey[..., None].repeat(channels, 2) * np.iinfo(dtype).max).astype(dtype))


def stroke(size: int = 96) -> torch.Tensor:
    """Thick, and bent once."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[20:70, 20:32] = mask[60:70, 20:80] = True
    return mask


@pytest.mark.parametrize("type", TYPES)
def test_only_the_mask_changes_and_the_label_says_where(type):
    normal, mask = photograph(), stroke()
    made, changed = draw_defects(normal, mask, type, 4)
    again, _ = draw_defects(normal, mask, type, 4)
    other, _ = draw_defects(normal, mask, type, 5)
    difference = np.abs(made.pixels.astype(int) - normal.pixels).max(2)
    assert not difference[~mask.numpy()].any()
    assert (changed <= mask.numpy()).all() and (difference[changed] >= 3).all()
    assert difference[changed].mean() > 6
    assert np.array_equal(made.pixels, again.pixels) and not np.array_equal(made.pixels, other.pixels)
    # From the one end to the other; most of the area where the type is one of an area.
    ends = changed[20:32, 20:32].any(), changed[60:70, 68:80].any()
    assert all(ends) if type in LINES else changed.sum() > 0.25 * mask.sum()


def test_depth_and_channels_stay():
    for channels, dtype in ((1, np.uint8), (1, np.uint16), (3, np.uint8)):
        made, _ = draw_defects(photograph(channels=channels, dtype=dtype), stroke(), "stain", 1)
        assert made.pixels.dtype == dtype and made.pixels.shape[2] == channels


def test_one_pixel_a_border_and_many_pieces():
    normal = photograph()
    mask = torch.zeros(96, 96, dtype=torch.bool)
    mask[0, 0] = mask[95, 95] = True
    mask[10:90:8, 10:90:8] = True
    made, changed = draw_defects(normal, mask, "pit", 0)
    assert (made.pixels != normal.pixels).any(2).sum() > 0.8 * mask.sum() and (changed <= mask.numpy()).all()
    whole, _ = draw_defects(normal, torch.ones(96, 96, dtype=torch.bool), "discoloration", 0)
    assert (whole.pixels != normal.pixels).mean() > 0.9
    tiny, _ = draw_defects(photograph(1), torch.ones(1, 1, dtype=torch.bool), "stain", 0)
    assert tiny.size == (1, 1)


def test_what_cannot_be_drawn_is_refused():
    normal, mask = photograph(), stroke()
    with refused(subject="type", got="spaghetti", accepted="crack"):
        draw_defects(normal, mask, "spaghetti", 0)
    with refused(subject="mask", got="96"):
        draw_defects(normal, mask[:50], "crack", 0)
    with refused(subject="mask", got="empty"):
        draw_defects(normal, torch.zeros_like(mask), "crack", 0)


def test_the_spine_runs_through_the_middle_from_end_to_end():
    shape = stroke().numpy()
    region = Region(shape)
    rows, columns = region.spine.round().astype(int).T
    assert shape[rows, columns].all()
    ends = {tuple(map(int, end)) for end in (region.spine[0], region.spine[-1])}
    assert any(row < 28 and column < 32 for row, column in ends) and any(column > 70 for _, column in ends)
    assert 80 < region.length < 120 and 5 <= region.depth <= 8
    large = Region(np.kron(shape, np.ones((12, 12), bool)))
    assert 0.9 < large.length / (12 * region.length) < 1.1
