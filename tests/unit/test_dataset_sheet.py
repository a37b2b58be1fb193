"""The picture of a dataset: its rows, examples and problems, and that it is reproducible."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.datasets.inspection_sheet import DatasetSheet
from anomaly_synthesis.datasets.reading import read_dataset
from anomaly_synthesis.datasets.sample import read_sample
from anomaly_synthesis.images import overview as drawn
from anomaly_synthesis.images.drawing import OUTLINE
from anomaly_synthesis.images.pictures import read_picture


@pytest.fixture
def tile(put, spot, tmp_path):
    """4 normal images, 2 with a crack of 15 px, 8 with a hole of 100 px."""
    for number in range(4):
        put(f"tile/train/good/{number}.png")
    for type, count, box in (("crack", 2, ((3, 6), (4, 9))), ("hole", 8, ((1, 11), (3, 13)))):
        for number in range(count):
            put(f"tile/test/{type}/{number}.png")
            put(f"tile/ground_truth/{type}/{number}_mask.png", spot(*box))
    return tmp_path / "tile"


def _sheet(folder):
    sheet = DatasetSheet()
    return sheet.picture(inspect_dataset(folder, look=sheet.look))


def _rows(sheet):
    """Top of every row of examples, by where tiles of 60 px and more begin."""
    full = (sheet[:, drawn.PICTURES : drawn.PICTURES + 8] != 255).any(-1).any(-1)
    return [y for y in range(1, len(full)) if full[y : y + 60].all() and not full[y - 1]]


def _is(sheet, colour):
    return (sheet == torch.tensor(colour, dtype=torch.uint8)).all(-1)


def test_a_row_for_normal_images_and_for_every_type_with_at_most_five_examples(tile):
    sheet = _sheet(tile)
    rows = _rows(sheet)
    assert len(rows) == 3
    shown = []
    for top in rows:
        lefts = [drawn.PICTURES + place * (drawn.TILE + drawn.GAP) for place in range(drawn.EXAMPLES)]
        shown.append(sum((sheet[top : top + 20, left : left + 20] != 255).any().item() for left in lefts))
    assert shown == [4, 2, 5]
    outlined = [_is(sheet[top : top + drawn.TILE, drawn.PICTURES :], OUTLINE).any().item() for top in rows]
    assert outlined == [False, True, True]


def test_bars_follow_the_counts_and_areas_lie_on_one_axis(tile):
    sheet = _sheet(tile)
    lengths, lefts, quarter = [], [], drawn.AREA_WIDTH / 4
    for top in _rows(sheet):
        blue = _is(sheet[top : top + drawn.TILE], drawn.BLUE)
        lengths.append(blue[:, drawn.COUNT : drawn.AREA].any(0).sum().item() - 1)
        lefts.append(blue[:, drawn.AREA : drawn.AREA + drawn.AREA_WIDTH].any(0).nonzero().flatten().tolist())
    assert lengths == [round(drawn.BAR_WIDTH * count / 8) for count in (4, 2, 8)]
    assert not lefts[0] and max(lefts[1]) < quarter and min(lefts[2]) > 3 * quarter


def test_the_figures_of_the_bars_are_the_masks(tile):
    types = inspect_dataset(tile).objects["tile"].types
    assert types["crack"].doublings == (0, 0, 0, 2) and types["hole"].doublings == (0, 0, 0, 0, 0, 0, 8)


def test_the_same_folder_gives_the_same_picture_in_whatever_order_it_is_read(tile):
    samples, first, last = read_dataset(tile), DatasetSheet(), DatasetSheet()
    for sheet, order in ((first, samples), (last, samples[::-1])):
        for sample in order:
            sheet.look(sample, *read_sample(sample))
    inspection = inspect_dataset(tile)
    assert torch.equal(first.picture(inspection), last.picture(inspection))
    assert torch.equal(first.picture(inspection), _sheet(tile))


def test_few_examples_are_kept_of_many_images(tile):
    sheet, (sample, *_) = DatasetSheet(), read_dataset(tile)
    picture, mask = read_sample(sample)
    for number in range(500):
        sheet.look(replace(sample, name=f"{number}.png"), picture, mask)
    ((kept,),) = [sheet._kept.values()]
    assert len(kept) == drawn.EXAMPLES and len({rank for rank, _ in kept}) == drawn.EXAMPLES


def test_problems_are_red_and_unreadable_images_are_no_examples(tile, put, spot):
    assert not _is(_sheet(tile), drawn.RED).any()
    for number in range(2):
        put(f"tile/ground_truth/crack/{number}_mask.png", spot(value=0))
    sheet = _sheet(tile)
    assert _is(sheet, drawn.RED).any() and len(_rows(sheet)) == 2


def test_a_dataset_of_many_types_has_an_end(put, spot, tmp_path):
    for number in range(90):
        put(f"many/test/type{number:03d}/0.png")
        put(f"many/ground_truth/type{number:03d}/0_mask.png", spot())
    put("many/train/good/0.png")
    assert len(_rows(_sheet(tmp_path / "many"))) == 80


def test_the_command_writes_it_even_where_it_fails(tile, put, spot, tmp_path, capsys):
    put("tile/ground_truth/crack/0_mask.png", spot(value=0))
    assert cli.main(["inspect", str(tile), "--sheet", str(tmp_path / "sheet.png")]) == 1
    assert np.array_equal(read_picture(tmp_path / "sheet.png").pixels, _sheet(tile).numpy())


def test_a_type_whose_name_is_no_text_is_shown_by_its_bytes(put, spot, tmp_path):
    put("tile/train/good/0.png")
    put("tile/test/crack/0.png")
    put("tile/ground_truth/crack/0_mask.png", spot())
    for folder in ("test", "ground_truth"):
        (tmp_path / "tile" / folder / "crack").rename(tmp_path / "tile" / folder / "cr\udcffck")
    assert drawn._fitted("cr\udcffck", 400) == "cr\\udcffck"
    assert _sheet(tmp_path / "tile").shape[1] == drawn.WIDTH
