"""The worst pairs of a folder: their order, their sheet, and what a folder must have."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.datasets.pairs import PairWriter
from anomaly_synthesis.images.drawing import OUTLINE, close_up, close_up_window
from anomaly_synthesis.images.pictures import Picture, read_picture, write_picture
from anomaly_synthesis.synthesis.sheets import worst_sheet
from anomaly_synthesis.synthesis.worst import SCORES, summary, worst_pairs

from .refusals import refused

GREY, DEFECT = 50, 90
VISIBILITY = (2.0, 0.4, 3.0, None, 0.4, 1.5)


@pytest.fixture
def pairs(tmp_path):
    """pairs(scores): a folder with a pair for each dictionary of scores, a 10-pixel square of 90 on grey 50."""

    def write(scores, name="pairs"):
        root = tmp_path / name
        writer = PairWriter(root, {})
        normal = Picture(np.full((300, 200, 1), GREY, np.uint8))
        pixels = normal.pixels.copy()
        pixels[100:110, 120:130] = DEFECT
        mask = torch.from_numpy(pixels[..., 0] == DEFECT)
        for index, record in enumerate(scores):
            writer.write(
                index=index,
                object="plate",
                type=("dot", "pit")[index % 2],
                stem=f"{index}",
                mask=mask,
                picture=Picture(pixels),
                normal_source=normal,
                record={"seed": index} | record,
            )
        return root

    return write


def _scored(values, key="visibility"):
    return [{key: value, "visible": None if value is None else value > 1} for value in values]


def _indices(worst):
    return [line["index"] for line in worst.pairs]


def test_the_lowest_visibility_comes_first_and_equal_ones_in_order(pairs):
    worst = worst_pairs(pairs(_scored(VISIBILITY)), count=3)
    assert _indices(worst) == [1, 4, 5] and (worst.scored, worst.unscored, worst.gone) == (5, 1, 0)
    assert summary(worst) == [
        "The 3 of 5 pairs with the lowest visibility.",
        "1 more have no visibility and were passed over.",
        "By type: plate / pit 2, plate / dot 1.",
    ]


@pytest.mark.parametrize("score", SCORES)
def test_every_score_has_its_bad_side(pairs, score):
    worst = worst_pairs(pairs(_scored((1.0, 0.2, 3.0), score)), score, 2)
    assert _indices(worst) == ([2, 0] if score in ("seam", "nearest_real") else [1, 0])
    assert worst.scores == (score,)


def test_a_manifest_from_before_refined_masks_is_read(pairs):
    root = pairs(_scored(VISIBILITY))
    lines = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    assert all(line.pop("refined_mask") is None for line in lines)
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert _indices(worst_pairs(root, "visibility", 3)) == [1, 4, 5]


def test_a_count_above_the_number_of_pairs_gives_all(pairs):
    assert _indices(worst_pairs(pairs(_scored(VISIBILITY)), count=100)) == [1, 4, 5, 0, 2]


def test_pairs_that_were_deleted_are_passed_over(pairs):
    root = pairs(_scored(VISIBILITY))
    (root / "plate/test/pit/1.png").unlink()
    (root / "plate/ground_truth/dot/4_mask.png").unlink()
    worst = worst_pairs(root, count=1)
    assert _indices(worst) == [5] and worst.gone == 2 and "2 lines of the manifest" in summary(worst)[2]
    for path in root.glob("plate/test/*/*.png"):
        path.unlink()
    with pytest.raises(ValueError, match="the files of all 6 pairs of its manifest were deleted"):
        worst_pairs(root)


def test_a_missing_score_is_refused_with_those_that_exist(pairs):
    old = pairs([{"visibility": 1.0, "seam": 2.0}, {"visibility": 2.0, "seam": None}])
    with pytest.raises(ValueError, match="none of its 2 pairs has the score 'boundary'; they have visibility, seam; "):
        worst_pairs(old, "boundary")
    bare = pairs([{"visibility": None}], "bare")
    with pytest.raises(ValueError, match="they have no score at all; connect scores to Save Pairs"):
        worst_pairs(bare)


def test_what_is_no_folder_of_pairs_is_refused(tmp_path, pairs):
    with refused(got="no manifest.jsonl"):
        worst_pairs(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("")
    with pytest.raises(ValueError, match="it holds no pairs"):
        worst_pairs(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"image": "a.png"}\n')
    with pytest.raises(ValueError, match="line 1 of its manifest has no index, mask, normal"):
        worst_pairs(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("half a line\n")
    with refused(subject="line 1", got="not JSON"):
        worst_pairs(tmp_path)
    root = pairs([{"visibility": "high"}])
    with pytest.raises(ValueError, match="visibility 'high', which is no number"):
        worst_pairs(root)
    line = {"index": 0, "image": "a", "mask": "a", "normal": "a", "object": "a", "type": "a"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps({**line, "image": 5}) + "\n")
    with refused(subject="manifest.jsonl, line 1: image", got="5 is no text", accepted="a relative path"):
        worst_pairs(tmp_path)
    for wrong, words in (
        ({"index": "0"}, r"\['index'\] is a text"),
        ({"visibility": 10**400}, r"\['visibility'\] .* fits a float"),
        ({"visibility": float("nan")}, r"\['visibility'\] is a number \(nan\)"),
        ({"type": "\ud800"}, r"\['type'\] .*lone surrogates"),
    ):
        (tmp_path / "manifest.jsonl").write_text(json.dumps({**line, **wrong}) + "\n")
        with pytest.raises(ValueError, match=f"line 1 of its manifest: {words}"):
            worst_pairs(tmp_path)
    for given, words in (({"by": "beauty"}, "accepted is one of visibility, "), ({"count": 0}, "count: 0")):
        with pytest.raises(ValueError, match=words):
            worst_pairs(root, **given)


def test_a_row_shows_normal_result_and_outline_close_up(pairs):
    sheet = worst_sheet(worst_pairs(pairs(_scored((0.5,)))))
    tile, gap = 224, 4
    middles = [sheet[tile // 2, place * (tile + gap) + tile // 2].tolist() for place in range(3)]
    assert middles == [[GREY] * 3, [DEFECT] * 3, [DEFECT] * 3]
    outlined = (sheet == torch.tensor(OUTLINE, dtype=torch.uint8)).all(-1)
    rows, columns = outlined.nonzero().T
    assert columns.min() > 2 * (tile + gap), "only the third picture has an outline"
    # The square is 10 px wide and shown twice as large; the ring is one pixel further out on either side.
    assert columns.max() - columns.min() + 1 == rows.max() - rows.min() + 1 == 24


def test_many_pairs_stand_in_two_columns(pairs):
    one, two = (worst_sheet(worst_pairs(pairs(_scored((0.5,) * count), str(count)))) for count in (3, 4))
    assert two.shape[1] == 2 * one.shape[1] and two.shape[0] * 3 == one.shape[0] * 2


def test_pictures_of_other_sizes_are_named(pairs):
    root = pairs(_scored((0.5,)))
    (normal,) = root.glob("plate/train/good/*.png")
    normal.unlink()
    write_picture(normal, Picture(np.zeros((10, 10, 1), np.uint8)))
    with pytest.raises(ValueError, match=rf"{normal.name}: 10 x 10, the mask 300 x 200"):
        worst_sheet(worst_pairs(root))


_PEAK = """
import sys, tracemalloc
from anomaly_synthesis.synthesis.worst import worst_pairs
worst_pairs(sys.argv[1])  # what is loaded once
tracemalloc.start()
print(worst_pairs(sys.argv[1]).scored, tracemalloc.get_traced_memory()[1])
"""


def test_memory_does_not_grow_with_the_manifest(pairs):
    """In processes of their own: what other tests left may end at any time, and allocate."""
    root = pairs(_scored((0.5, 0.7)))
    first, second = (root / "manifest.jsonl").read_text().splitlines(keepends=True)
    peaks = []
    for repeats in (100, 3000):
        (root / "manifest.jsonl").write_text((first + second) * repeats)
        done = subprocess.run([sys.executable, "-P", "-c", _PEAK, root], capture_output=True, text=True, check=True)
        scored, peak = map(int, done.stdout.split())
        assert scored == 2 * repeats
        peaks.append(peak)
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    ("size", "box", "side", "resolution"),
    [
        ((300, 400), (100, 110, 50, 60), 112, 112),  # small: half a tile, shown twice as large
        ((300, 400), (100, 150, 50, 100), 224, 224),
        ((900, 900), (100, 300, 100, 300), 600, 224),  # large: reduced, one length of context per side
        ((64, 48), (10, 20, 10, 20), 64, 64),  # no more than there is
        ((160, 160), (10, 100, 10, 100), 160, 160),
    ],
)
def test_how_much_is_shown_follows_the_defect(size, box, side, resolution):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    window = close_up_window(mask, 224)
    assert (window.side, window.resolution) == (side, resolution)
    image, cut = close_up(Picture((mask.numpy()[..., None] * 255).astype(np.uint8)), mask, 224)
    assert image.shape == (224, 224, 3) and cut.shape == (224, 224)
    assert ((image[..., 0] > 0.5) != cut).float().mean() < 0.02, "both show the same place"
    share = cut.float().mean() / (mask.sum() / side**2)
    assert 0.95 < share < 1.1, "a reduced mask only grows"


def test_the_command_writes_the_sheet_and_lists_the_pairs(pairs, tmp_path, capsys):
    root, out = pairs(_scored(VISIBILITY)), tmp_path / "worst.png"
    assert cli.main(["worst", "--pairs", str(root), "--count", "2", "--out", str(out)]) == 0
    output = capsys.readouterr().out
    assert [line.split()[0] for line in output.splitlines() if "plate/test" in line] == ["1", "4"]
    assert "The 2 of 5 pairs with the lowest visibility." in output
    assert np.array_equal(read_picture(out).pixels, worst_sheet(worst_pairs(root, count=2)).numpy())
    assert cli.main(["worst", "--pairs", str(root), "--by", "seam", "--out", str(out)]) == 1
    assert "they have visibility" in capsys.readouterr().err
