import pytest
import torch
from anomaly_synthesis.images.masks import mask_box
from anomaly_synthesis.images.windows import (
    Window,
    context_side,
    context_window,
    cut_image,
    cut_mask,
    enlarge,
    image_part,
    place_window,
)

SIZES = [(377, 251), (256, 256), (100, 700), (40, 30), (1, 90), (1024, 640)]


def box_mask(size, top, left, height, width):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def random_masks(size, count=25):
    generator = torch.Generator().manual_seed(size[0] * size[1])
    for _ in range(count):
        ends = [sorted(torch.randint(0, n, (2,), generator=generator).tolist()) for n in size]
        yield box_mask(size, ends[0][0], ends[1][0], ends[0][1] - ends[0][0] + 1, ends[1][1] - ends[1][0] + 1)


def ramp(size):
    """[1, H, W] with row * 1000 + column."""
    return (torch.arange(size[0])[:, None] * 1000.0 + torch.arange(size[1]))[None]


@pytest.mark.parametrize(
    "size, box, context, side",
    [
        ((2000, 3000), (100, 100, 10, 10), 1.0, 128),  # 10 + 2 * 16 px is less than the model's size
        ((2000, 3000), (100, 100, 100, 20), 1.0, 300),  # box and once its length on each side
        ((2000, 3000), (100, 100, 20, 100), 0.5, 200),
        ((2000, 3000), (100, 100, 200, 20), 0.0, 232),  # never less than 16 px around
        ((400, 300), (0, 0, 390, 20), 1.0, 400),  # not past the longer side of the image
        ((60, 90), (0, 0, 50, 50), 1.0, 128),  # a small image: the model's size
    ],
)
def test_side_is_the_box_with_its_context(size, box, context, side):
    assert context_side(box_mask(size, *box), 128, context) == side


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_enlarged_and_the_window_holds_the_mask(size):
    for mask in random_masks(size):
        window = context_window(mask, 128)
        assert window.side >= window.resolution == 128 and window.factor >= 1
        top, left, height, width = mask_box(mask)
        assert window.top <= top and top + height <= window.top + window.side
        assert window.left <= left and left + width <= window.left + window.side


def test_the_factor_is_the_smallest_that_holds_the_box_and_its_context():
    window = context_window(box_mask((900, 900), 400, 300, 60, 100), 128)
    assert (window.top, window.left, window.side) == (430 - 150, 350 - 150, 300) and window.factor == 300 / 128


@pytest.mark.parametrize("size", SIZES)
def test_a_window_that_fits_lies_inside_and_one_that_does_not_is_centred(size):
    for centre in [(0, 0), (size[0], size[1]), (size[0] / 2, size[1] / 2), (size[0] - 1, 3)]:
        window = place_window(centre, 64, size, 64)
        for start, length in zip((window.top, window.left), size, strict=True):
            if length >= 64:
                assert 0 <= start <= length - 64
            else:
                before, after = -start, start + 64 - length
                assert before >= 0 and after >= 0 and abs(before - after) <= 1


def test_a_window_is_centred_where_there_is_room():
    assert place_window((200.5, 300), 64, (400, 600), 64) == Window(168, 268, 64, 64)


def test_a_window_inside_is_the_image_itself():
    image = ramp((90, 80))
    assert torch.equal(cut_image(image, Window(10, 7, 64, 64)), image[:, 10:74, 7:71])


@pytest.mark.parametrize("size", [(40, 30), (7, 90), (3, 2)])
def test_small_images_are_continued_by_reflection(size):
    image = ramp(size)
    window = place_window((size[0] / 2, size[1] / 2), 64, size, 64)
    cut = cut_image(image, window)
    assert cut.shape == (1, 64, 64)
    for row in range(64):
        for column in (0, 1, 31, 62, 63):
            y, x = window.top + row, window.left + column
            while not 0 <= y < size[0]:
                y = -y if y < 0 else 2 * (size[0] - 1) - y
            while not 0 <= x < size[1]:
                x = -x if x < 0 else 2 * (size[1] - 1) - x
            assert cut[0, row, column] == image[0, y, x]


def test_a_single_row_is_repeated():
    assert torch.equal(cut_image(ramp((1, 64)), Window(-32, 0, 64, 64)), ramp((1, 64)).expand(1, 64, 64))


@pytest.mark.parametrize("size", [(377, 251), (40, 30)])
@pytest.mark.parametrize("resolution", [64, 61, 32, 7, 1])
def test_a_mask_inside_the_window_never_becomes_empty(size, resolution):
    window = place_window((100, 100), 64, size, resolution)
    (rows, _), (columns, _) = image_part(window, size)
    for row in range(rows.start, rows.stop, 3):
        for column in range(columns.start, columns.stop, 5):
            cut = cut_mask(box_mask(size, row, column, 1, 1), window)
            assert cut.shape == (resolution, resolution) and cut.dtype == torch.bool and cut.any()


def test_a_cut_mask_lies_where_the_cut_image_does():
    mask = torch.rand((90, 80), generator=torch.Generator().manual_seed(0)) < 0.2
    for window in (Window(10, 7, 64, 64), Window(-20, -30, 150, 150)):
        cut = cut_mask(mask, window)
        rows, columns = image_part(window, mask.shape)
        assert torch.equal(cut[rows[1], columns[1]], mask[rows[0], columns[0]])
        assert cut.sum() == mask[rows[0], columns[0]].sum()  # nothing is set outside the image


@pytest.mark.parametrize("window", [Window(10, 7, 64, 64), Window(-20, -30, 150, 75), Window(30, -5, 70, 70)])
def test_image_part_puts_a_window_back_where_it_was_cut(window):
    image = ramp((90, 80))
    rows, columns = image_part(window, (90, 80))
    whole = cut_image(image, Window(window.top, window.left, window.side, window.side))
    assert torch.equal(whole[:, rows[1], columns[1]], image[:, rows[0], columns[0]])
    assert rows[0].stop - rows[0].start == min(window.top + window.side, 90) - max(window.top, 0)
    assert columns[0].stop - columns[0].start == min(window.left + window.side, 80) - max(window.left, 0)


@pytest.mark.parametrize("side, resolution", [(192, 64), (150, 64), (65, 64), (64, 64)])
def test_enlarging_inverts_cutting_on_smooth_images(side, resolution):
    rows, columns = torch.arange(200.0)[:, None] / 60, torch.arange(200.0)[None] / 60
    image = (0.5 + 0.4 * torch.sin(rows + 2 * columns))[None].expand(3, -1, -1)
    window = Window(5, 8, side, resolution)
    cut = cut_image(image, window)
    assert cut.shape == (3, resolution, resolution)
    back = enlarge(cut, window)
    off = (back - image[:, 5 : 5 + side, 8 : 8 + side]).abs()
    assert back.shape == (3, side, side) and off.max() < 0.03 and off.mean() < 0.002


def test_reducing_averages_instead_of_picking_pixels():
    stripes = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(32).expand(1, 128, 128)  # the middle of every 4 pixels is 1
    assert (cut_image(stripes, Window(0, 0, 128, 32))[..., 2:-2] - 0.5).abs().max() < 0.15
