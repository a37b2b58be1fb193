"""Normal, result, outlined result: the shown pixels are the images', and even one pixel's defect can be seen."""

import pytest
import torch
import torch.nn.functional as F
from anomaly_synthesis.images.drawing import GAP, LONGEST, OUTLINE, overlay

RED = torch.tensor(OUTLINE) / 255
LABEL = "visibility 0.31  contrast -0.02  NOT VISIBLE"


def sheet_of(size, mask=None, label=LABEL):
    """The overlay of grey 0.2 and grey 0.6."""
    mask = torch.zeros(size, dtype=torch.bool) if mask is None else mask
    return overlay(torch.full((*size, 3), 0.2), torch.full((*size, 3), 0.6), mask, label)


def tiles(sheet, height, width):
    return [sheet[:height, place * (width + GAP) :][:, :width] for place in range(3)]


def red(tile):
    return (tile - RED).abs().amax(-1) < 1e-6


@pytest.mark.parametrize(
    "size, shown",
    [
        ((256, 256), (512, 512)),  # enlarged by whole numbers: a pixel stays a square
        ((200, 100), (400, 200)),
        ((300, 301), (300, 301)),
        ((1024, 512), (512, 256)),
        ((377, 4000), (48, 512)),
        ((2, 5000), (1, 512)),
    ],
)
def test_images_keep_their_proportion_and_no_side_is_longer_than_shown(size, shown):
    assert max(shown) <= LONGEST
    sheet = sheet_of(size, label="")
    assert sheet.shape[0] > shown[0] and sheet.shape[1:] == (3 * shown[1] + 2 * GAP, 3)
    for tile, value in zip(tiles(sheet, *shown), (0.2, 0.6, 0.6), strict=True):
        assert (tile - value).abs().max() < 1 / 255
    assert sheet[:, shown[1] : shown[1] + GAP].min() == sheet[shown[0] :].min() == 1  # white between and below


@pytest.mark.parametrize("size, shown", [((64, 64), (512, 512)), ((500, 500), (500, 500)), ((2000, 3000), (341, 512))])
def test_the_outline_of_one_pixel_is_seen_in_the_third_tile_only(size, shown):
    mask = torch.zeros(size, dtype=torch.bool)
    row, column = size[0] // 3, size[1] // 2
    mask[row, column] = True
    normal, result, outlined = map(red, tiles(sheet_of(size, mask), *shown))
    assert not normal.any() and not result.any()
    rows, columns = outlined.nonzero().T.float()
    scale = shown[0] / size[0]
    assert abs(rows.mean() - (row + 0.5) * scale) < 2 and abs(columns.mean() - (column + 0.5) * scale) < 2


def test_the_outline_lies_around_the_defect_and_not_on_it():
    mask = torch.zeros(500, 500, dtype=torch.bool)
    mask[100:200, 300:320] = True
    ring = red(tiles(sheet_of((500, 500), mask), 500, 500)[2])
    near = F.max_pool2d(mask[None].float(), 5, 1, 2)[0] > 0
    assert ring.any() and not (ring & mask).any() and not (ring & ~near).any()


@pytest.mark.parametrize("size, shown", [((600, 20), (512, 17)), ((256, 256), (512, 512))])
def test_the_whole_label_stands_below(size, shown):
    sheet = sheet_of(size)
    dark = (sheet < 0.5).any(-1)
    dark[: shown[0]] = False
    assert dark.any() and not dark[:, -1].any()  # a label that is cut reaches the edge
    assert torch.equal(sheet[: shown[0], : shown[1]], sheet_of(size, label="")[: shown[0], : shown[1]])


def test_values_out_of_range_are_shown_as_black_and_white():
    dark = torch.full((8, 8, 3), -3.0)
    black, white, _ = tiles(overlay(dark, dark + 9, torch.zeros(8, 8, dtype=torch.bool), ""), 512, 512)
    assert black.max() == 0 and white.min() == 1
