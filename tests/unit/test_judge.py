"""The judge's parts: labels that follow the picture, few real defects, the threshold, measures with intervals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from anomaly_synthesis.choices import DEFECTS
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.pairs import PairWriter
from anomaly_synthesis.datasets.sample import Sample
from anomaly_synthesis.datasets.surfaces.kin import GENERIC, drawn_type
from anomaly_synthesis.evaluation.metrics import metrics
from anomaly_synthesis.evaluation.pixel_filter import source_groups, unlikely_pixels
from anomaly_synthesis.evaluation.report import answer, compare
from anomaly_synthesis.evaluation.report.measures import MEASURES, mean_over_types
from anomaly_synthesis.evaluation.segmenter.labels import Labels, edge_band
from anomaly_synthesis.evaluation.settings import Training
from anomaly_synthesis.evaluation.shots import check_shots, some_defects
from anomaly_synthesis.evaluation.tally import COARSE, Tally, tally, unpacked
from anomaly_synthesis.evaluation.threshold import best_threshold, folds
from anomaly_synthesis.images.pictures import Picture

from .refusals import refused


def sample(type, name):
    return Sample("o", type, "test", name, "root", None if type == "good" else "mask")


def test_the_edge_of_a_label_does_not_count_but_a_thin_line_keeps_its_pixels():
    mask = np.zeros((20, 20), bool)
    mask[3:10, 3:10] = True
    mask[15, 2:18] = True
    band = edge_band(mask, 1)
    assert not band[6, 6] and band[3, 3] and band[2, 2] and not band[0, 0]
    assert not band[15, 5] and band[14, 5] and band[16, 5]  # the line counts, the pixels beside it do not
    assert not edge_band(mask, 0).any()


def test_few_defects_are_nested_seeded_and_counted_by_type():
    samples = [sample("good", "g"), *(sample(t, f"{t}{i}") for t in ("crack", "pit") for i in range(6))]
    few, more = ({one.name for one in some_defects(samples, n, 3)} for n in (2, 4))
    assert few < more and "g" in few and len(few) == 5 and len(more) == 9
    assert {one.name for one in some_defects(samples, 2, 4)} != few
    assert [one.name for one in some_defects(samples, 0, 3)] == ["g"]
    assert len(some_defects(samples, 99, 0)) == len(samples)


def test_an_image_of_two_types_comes_with_both():
    samples = [sample("crack", "a"), sample("pit", "a"), sample("pit", "b")]
    assert {(one.type, one.name) for one in some_defects(samples, 1, 0)} >= {("crack", "a"), ("pit", "a")}


def test_more_shots_than_any_type_has_are_refused_and_short_types_are_named(caplog):
    samples = [*(sample("crack", f"c{i}") for i in range(5)), sample("pit", "p")]
    check_shots(samples, [None, 0, 1])
    assert not caplog.records
    check_shots(samples, [4])
    assert "o/pit (1)" in caplog.text
    with refused(subject="shots", got="6", accepted="0 to 5"):
        check_shots(samples, [6])


def test_folds_share_no_group_and_hold_defects_that_others_have_too():
    samples = [sample("good", f"g{i}") for i in range(4)] + [sample("crack", f"c{i}") for i in range(5)]
    groups = {one.name: one.name for one in samples}
    parts = folds(samples, groups, 2, 0)
    one, two = (part.groups for part in parts)
    assert not one & two and one | two == set(groups.values())
    assert {sum(name[0] == "c" for name in part) for part in (one, two)} == {2, 3}
    assert all({s.name for s in part.rest} | part.groups == set(groups) for part in parts)
    assert folds(samples, groups, 2, 0) == parts != folds(samples, groups, 2, 1)


def test_a_type_that_only_the_fold_shows_is_not_in_its_test():
    samples = [sample("crack", f"c{i}") for i in range(4)] + [sample("pit", "p")]
    for fold in folds(samples, {one.name: one.name for one in samples}, 2, 0):
        assert {one.type for one in fold.unseen} == {"crack"}


def test_without_a_second_group_of_a_type_there_is_no_fold():
    samples = [sample("good", "g0"), sample("good", "g1"), sample("crack", "c")]
    assert folds(samples, {one.name: one.name for one in samples}, 2, 0) == []


def test_the_threshold_is_the_one_with_the_highest_mean_iou():
    truth = np.zeros((10, 10), bool)
    truth[:2] = True
    scores = np.where(truth, 0.3, 0.1)
    found = best_threshold({("o", "crack"): tally(scores, truth), ("o", "good"): Tally()})
    assert 0.1 < found <= 0.3
    assert metrics(tally(scores, truth), found)["iou_chosen"] == 1 and metrics(tally(scores, truth))["iou"] == 0
    assert best_threshold({("o", "good"): tally(scores, np.zeros_like(truth))}) is None


class Bright(torch.nn.Module):
    """Finds bright pixels."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, image):
        return self.scale * (image[:, :1] - 0.5)


def test_the_pixels_of_pairs_that_look_least_like_a_defect_do_not_count(tmp_path):
    pixels, mask = np.full((20, 20, 1), 40, np.uint8), np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    pixels[mask] = 250
    pixels[5:7, 5:15] = 30  # a fifth of the label
    with PairWriter(tmp_path, {}) as writer:
        writer.write(
            index=0,
            object="o",
            type="crack",
            stem="0",
            picture=Picture(pixels),
            mask=mask,
            normal_source=Picture(np.full_like(pixels, 40)),
            record={"normal_source": "n", "mask_source": "m"},
        )
    (pair,) = [one for one in read_mvtec(tmp_path) if one.type != "good"]
    assert source_groups([pair], {"n": "group n", "m": "group m"}) == {pair.name: {"group n", "group m"}}
    training = Training(labels="requested", ignore=0, filtered=0.2)
    found = unlikely_pixels([pair], [(frozenset(), Bright())], {}, training)[pair]
    assert found.sum() == 20 and found[5:7, 5:15].all()
    _, counts = Labels("requested", 0, {pair: found}).of(pair, torch.from_numpy(mask))
    assert not counts[6, 10] and counts[10, 10] and counts[0, 0]
    assert not unlikely_pixels([pair], [(frozenset(), Bright())], {}, replace(training, filtered=0.0))[pair].any()


def random_tallies(seed):
    generator = np.random.default_rng(seed)
    found = {}
    for kind in ("o/crack", "o/pit"):
        for group in "abc":
            truth = generator.random((40, 40)) > 0.9
            scores = 1 / (1 + np.exp(-(generator.normal(0, 2, truth.shape) + 3 * truth - 1)))
            found.setdefault(kind, {})[group] = tally(scores, truth)
    return found


def test_packed_tallies_give_the_metrics_of_whole_ones():
    whole = tally(np.random.default_rng(0).random((50, 50)), np.random.default_rng(1).random((50, 50)) > 0.8)
    vector = unpacked(whole.packed())
    assert len(vector) == 3 * COARSE.count + 1 and vector[: COARSE.count].sum() == whole.anomalous.sum()
    expected = metrics(whole)
    for name in ("f1", "ap", "aupro"):
        assert MEASURES[name].value(vector) == pytest.approx(expected[name], abs=5e-3)


def test_intervals_of_average_precision_hold_its_mean_over_types():
    def cell(method, seed):
        found = random_tallies(seed + 10 * (method == "b"))
        packed = {kind: {group: one.packed() for group, one in groups.items()} for kind, groups in found.items()}
        totals = [sum(groups.values(), Tally()) for groups in found.values()]
        mean = float(np.mean([metrics(total)["ap"] for total in totals]))
        return {"method": method, "seed": seed, "tallies": json.loads(json.dumps(packed)), "images": []}, mean

    (one, first), (two, second), (three, third) = cell("a", 0), cell("a", 1), cell("b", 0)
    found = compare.score([one, two, three], "a", draws=50, measure="ap")
    assert found.mean == pytest.approx((first + second) / 2, abs=5e-3) and found.low <= found.mean <= found.high
    gap = compare.difference([one, two, three], "a", "b", draws=50, measure="ap")
    assert gap.mean == pytest.approx(first - third, abs=5e-3) and gap.seeds == 1


def test_a_type_without_anomalous_pixels_is_in_no_mean():
    sums = np.zeros((2, 3))
    sums[0] = 10, 10, 20
    assert mean_over_types(MEASURES["iou"], sums) == pytest.approx(10 / 30)
    assert np.isnan(mean_over_types(MEASURES["iou"], np.zeros((2, 3))))


def point(shots, images, mean, gain=None):
    def interval(value):
        return compare.Interval(value, value - 0.02, value + 0.02, 3, 9)

    return answer.Point(shots, images, interval(mean), None if gain is None else interval(gain))


CURVES = {
    "real-only": [point(1, 3, 0.2), point(4, 12, 0.3), point(None, 48, 0.5)],
    "drawn": [point(0, 0, 0.3), point(1, 3, 0.3, 0.1), point(4, 12, 0.4, 0.1), point(None, 48, 0.45, -0.05)],
}


def test_the_report_says_how_many_real_defects_the_pairs_replace():
    text = answer.answer(CURVES)
    assert "**Without any real defect** pairs by drawn reach AP 30.0 [28.0 32.0], as about 12 real" in text
    assert "**Pairs by drawn raise AP** by +10.0 [+8.0 +12.0] points with 4 real defects per type (12)" in text
    assert "Beside 12 real defects they do what about 24 real defects do alone." in text
    assert "**Pairs by drawn lower AP** by -5.0" in text and "all 48 real defects" in text
    assert answer.answer({"real-only": CURVES["real-only"]}) == ""


def test_what_no_number_of_real_defects_reaches_is_more_than_the_largest():
    assert answer.equal_images(CURVES["real-only"], 0.9) == (48, False)
    assert answer.equal_images(CURVES["real-only"], 0.1) == (3, True)
    assert answer.equal_images([point(0, 0, 0.5)], 0.4) is None
    table = answer.curve_table(CURVES)
    assert (
        table.splitlines()[0] == "| AP with real defects per type | 0 | 1 | 4 | all |" and "| real-only | - |" in table
    )


def test_names_of_datasets_find_the_drawn_type_that_is_nearest():
    assert {name: drawn_type(name, 0) for name in ("crack", "blowhole", "scratch_head", "Rust", "fray")} == {
        "crack": "crack",
        "blowhole": "pit",
        "scratch_head": "scratch",
        "Rust": "corrosion",
        "fray": "fibre",
    }
    assert [drawn_type("anomaly 7", number) for number in range(len(GENERIC))] == list(GENERIC)
    assert set(GENERIC) <= set(DEFECTS)
