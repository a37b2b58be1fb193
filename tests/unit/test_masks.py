import pytest
import torch
from anomaly_synthesis.images.masks import latent_mask, mask_box, place_mask

from .refusals import refused

SIZES = [  # of the mask, of the latent
    ((8, 8), (1, 1)),
    ((16, 24), (2, 3)),
    ((17, 23), (2, 3)),
    ((13, 31), (5, 4)),
    ((9, 7), (9, 7)),
    ((10, 11), (9, 6)),
]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def touched(row, rows, cells):
    """Cells of an axis that the pixel `row` shares some length with, in whole numbers."""
    return [cell for cell in range(cells) if cell * rows < (row + 1) * cells and row * cells < (cell + 1) * rows]


@pytest.mark.parametrize("size, latent", SIZES)
def test_a_latent_cell_is_set_iff_a_pixel_that_it_touches_is(size, latent):
    for row in range(size[0]):
        for column in range(size[1]):
            mask = torch.zeros(size, dtype=torch.bool)
            mask[row, column] = True
            expected = torch.zeros(latent)
            for r in touched(row, size[0], latent[0]):
                for c in touched(column, size[1], latent[1]):
                    expected[r, c] = 1
            assert expected.any() and torch.equal(latent_mask(mask, latent)[0, 0], expected)


@pytest.mark.parametrize("size, latent", SIZES)
def test_a_random_mask_is_the_union_of_its_pixels(size, latent):
    mask = torch.rand(size, generator=seeded(0)) < 0.05
    mask[0, 0] = True
    one_by_one = torch.zeros(1, 1, *latent)
    for row, column in mask.nonzero().tolist():
        single = torch.zeros(size)
        single[row, column] = 1
        one_by_one = torch.maximum(one_by_one, latent_mask(single, latent))
    assert torch.equal(latent_mask(mask, latent), one_by_one)


def test_soft_values_are_kept():
    mask = torch.zeros(16, 16, dtype=torch.float64)
    mask[3, 3], mask[4, 4], mask[12, 2] = 0.25, 0.75, 1.0
    pooled = latent_mask(mask, (2, 2))
    assert pooled.dtype == torch.float64 and pooled.tolist() == [[[[0.75, 0.0], [1.0, 0.0]]]]


@pytest.mark.parametrize("shape", [(17, 23), (4, 17, 23), (4, 1, 17, 23)])
def test_every_layout_gives_items_of_one_channel(shape):
    mask = torch.rand(shape, generator=seeded(0)) < 0.1
    pooled = latent_mask(mask, (3, 4))
    assert pooled.shape == (shape[0] if len(shape) > 2 else 1, 1, 3, 4) and pooled.dtype == torch.float32
    for i, item in enumerate(mask.reshape(-1, 17, 23)):
        assert torch.equal(pooled[i : i + 1], latent_mask(item, (3, 4)))


@pytest.mark.parametrize(
    "mask, size, got, accepted",
    [
        (torch.ones(8), (1, 1), r"shape is \[8\]", r"\[H, W\], \[B, H, W\]"),
        (torch.ones(2, 3, 8, 8), (1, 1), r"shape is \[2, 3, 8, 8\]", r"\[B, 1, H, W\]"),
        (torch.ones(1, 1, 1, 8, 8), (1, 1), r"shape is \[1, 1, 1, 8, 8\]", r"\[B, 1, H, W\]"),
        (torch.ones(8, 8), (9, 4), "8 x 8 pixels cannot be pooled to a larger latent, 9 x 4", ""),
        (torch.ones(8, 8), (4, 9), "8 x 8 pixels cannot be pooled to a larger latent, 4 x 9", ""),
        (torch.full((8, 8), float("nan")), (1, 1), "it holds NaN", ""),
    ],
)
def test_what_cannot_be_pooled_is_refused(mask, size, got, accepted):
    with refused(subject="^mask$", got=got, accepted=accepted):
        latent_mask(mask, size)


def test_box_is_the_smallest_that_holds_the_mask():
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[4, 7] = mask[9, 25] = True
    assert mask_box(mask) == (4, 7, 6, 19)
    with refused(subject="^mask$", got="it is empty", accepted="at least one pixel"):
        mask_box(torch.zeros(5, 5, dtype=torch.bool))


def frame(size, width=1):
    mask = torch.ones(size, dtype=torch.bool)
    mask[width:-width, width:-width] = False
    return mask


def disc(size, centre, radius):
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def test_the_generator_decides_everything():
    mask = disc((40, 60), (10, 50), 6)
    first, again = (place_mask(mask, (50, 50), seeded(3)) for _ in range(2))
    assert torch.equal(first, again) and first.dtype == torch.bool and first.shape == (50, 50)
    assert any(not torch.equal(place_mask(mask, (50, 50), seeded(seed)), first) for seed in range(4, 8))


def line():
    mask = torch.zeros(200, 100, dtype=torch.bool)
    mask[:, 99] = True
    return mask


SHAPES = {
    "frame": frame((100, 120)),
    "disc": disc((64, 64), (0, 63), 20),
    "line": line(),
    "all": frame((9, 9), 5),
    "pixel": disc((500, 3), (499, 0), 0),
}


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (7, 300), (150, 3), (64, 64)])
@pytest.mark.parametrize("name", SHAPES)
def test_a_placed_mask_is_never_empty(name, size):
    for seed in range(40):
        placed = place_mask(SHAPES[name], size, seeded(seed))
        assert placed.shape == size and placed.any(), seed


@pytest.mark.parametrize("centre", [(0, 0), (0, 79), (59, 40), (30, 30)])
def test_at_least_half_of_a_shape_that_fits_stays_inside(centre):
    mask = disc((60, 80), centre, 12)
    for seed in range(40):
        placed = place_mask(mask, (40, 90), seeded(seed), turn=0, zoom=1, shift=0.5)
        assert mask.sum() / 2 <= placed.sum() <= mask.sum()


def test_a_mask_keeps_near_its_relative_place_or_its_mirror_image():
    mask = disc((100, 200), (30, 50), 5)  # relative centre .3, .25 (of pixel centres: .305, .2525)
    size, seen = (150, 120), set()
    for seed in range(60):
        top, left, height, width = mask_box(place_mask(mask, size, seeded(seed), shift=0.05))
        for centre, own, length in ((top + height / 2, 0.305, 150), (left + width / 2, 0.2525, 120)):
            off = [abs(centre / length - place) for place in (own, 1 - own)]
            assert min(off) <= 0.05 + 1 / length
            seen.add((own, off[0] < off[1]))
    assert len(seen) == 4  # both sides of both axes


def test_turn_and_zoom_stay_within_their_limits():
    mask = torch.zeros(100, 100, dtype=torch.bool)
    mask[30:70, 48:53] = True  # 40 x 5
    lengths = []
    for seed in range(40):
        box = mask_box(place_mask(mask, (100, 100), seeded(seed), turn=10, zoom=1.2))
        lengths.append(box[2])
        assert 40 / 1.2 * 0.98 - 2 <= box[2] <= 40 * 1.2 + 5 and box[3] <= 1.2 * (5 + 40 * 0.174) + 2
    assert min(lengths) < 38 and max(lengths) > 42


def test_an_empty_mask_is_refused():
    with refused(subject="^mask$", got="it is empty", accepted="at least one pixel"):
        place_mask(torch.zeros(5, 5, dtype=torch.bool), (5, 5), seeded(0))
