"""The contact sheet: a block per pair, readable by size, and written whole."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.pairs import PairWriter, read_manifest
from anomaly_synthesis.images.drawing import GAP, LABEL, TILE
from anomaly_synthesis.images.pictures import Picture, read_picture
from anomaly_synthesis.synthesis.sheets import save_sheet


@pytest.fixture
def pairs(tmp_path):
    """A folder with three pairs: grey 50 normals, a 10-pixel square of 90 in the result."""
    writer = PairWriter(tmp_path / "pairs", {})
    normal = Picture(np.full((300, 200, 1), 50, np.uint8))
    pixels = normal.pixels.copy()
    pixels[100:110, 100:110] = 90
    mask = torch.from_numpy(pixels[..., 0] == 90)
    window = {"top": 73, "left": 73, "side": 64, "resolution": 64}
    record = {"windows": [window], "visible": True, "visibility": 3.0}
    for index in range(3):
        writer.write(
            index=index,
            object="plate",
            type="dot",
            stem=f"{index}",
            picture=Picture(pixels),
            mask=mask,
            normal_source=normal,
            record=record,
        )
    return tmp_path / "pairs"


def test_tiles_show_normal_mask_result_and_difference(pairs):
    save_sheet(pairs / "sheet.png", pairs, read_manifest(pairs))
    sheet = read_picture(pairs / "sheet.png").pixels
    assert sheet.shape == (2 * (TILE + LABEL + GAP) + LABEL, 2 * (4 * (TILE + GAP) + 3 * GAP), 3)
    # The defect's middle lies at (32, 32) of the 64-pixel window, so in the middle of each tile.
    middle = [sheet[LABEL + TILE // 2, GAP + place * (TILE + GAP) + TILE // 2, 0] for place in range(4)]
    corner = [sheet[LABEL + 3, GAP + place * (TILE + GAP) + 3, 0] for place in range(4)]
    assert middle[0] == 50 and middle[1] > 250 and abs(int(middle[2]) - 90) < 3 and middle[3] > 250
    assert corner[0] == 50 and corner[1] == 0 and corner[2] == 50 and corner[3] in (127, 128)
