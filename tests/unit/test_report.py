"""The report: its numbers by hand, undefined and failed cells, and pages that stand alone."""

import json
import re
import sys
from math import sqrt

import numpy as np
import pytest
from anomaly_synthesis.evaluation.report import compare, tables, write_report

NAMES = ("iou", "recall", "f1", "ap", "auroc", "aupro")
NETWORK = "small_unet"


def image(name, hits, false, anomalous, group=None, type="crack"):
    return {
        "name": name,
        "group": group or name,
        "object": "tile",
        "type": type,
        "hits": hits,
        "false": false,
        "anomalous": anomalous,
    }


def values(iou):
    return dict.fromkeys(NAMES, iou)


def cell(method, seed, images=None, iou=0.5, **changes):
    images = images or [image(f"g{index}", 50 + index, 0, 100) for index in range(4)]
    defects = sorted({f"tile/{one['type']}" for one in images if one["type"] != "good"})
    made = {} if method == "real-only" else {type: [-2.0, -1.0, 1.0] for type in defects}
    part = dict.fromkeys(("contrast_low", "contrast", "contrast_high", "visible", "seam", "diversity", "nearest"), 1.5)
    whole = {
        "method": method,
        "network": NETWORK,
        "seed": seed,
        "overall": values(iou),
        "mean": values(iou),
        "types": {type: values(iou) for type in defects},
        "images": images,
        "statistics": {type: {"train": part, "held_back": part | {"nearest": None}} for type in made},
        "contrasts": {"pairs": made, "train": {type: [-3.0, 2.0] for type in defects}, "held_back": {}},
        "seconds_per_pair": 0.25,
        "pairs": len(made) * 10,
        "validation": {"steps": 100, "best_step": 50, "curve": [[25, 0.2], [50, 0.4], [75, 0.3], [100, 0.3]]},
        "training": {
            "steps": 100,
            "best_step": 100,
            "curve": [],
            "seconds": 3.0,
            "real": 800,
            "synthetic": 0,
            "parameters": 1234567,
            "validation": ["v"],
        },
    }
    return json.loads(json.dumps(whole | changes))


def failed(error="no base", method="aias"):
    return {"method": method, "network": NETWORK, "seed": 0, "error": error}


def findings(cells, *against):
    return tables.findings(cells, compare.references(cells, against))


def headline(cells, *against):
    return tables.headline(cells, compare.references(cells, against))


def row(text, method):
    """The cells of the first table row that begins with this method."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {method} |"))
    return [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]


# Types pooled by hand: crack (30 + 10) / (100 + 100 + 20 + 0), pit 10 / 20.
TWO_TYPES = [
    image("a", 30, 20, 100),
    image("b", 10, 0, 100),
    image("c", 10, 0, 20, "b", "pit"),
    image("d", 0, 900, 0, "z", "good"),
]


def test_the_iou_is_the_mean_over_types_of_pooled_ious_and_good_images_do_not_count():
    found = compare.score([cell("a", 0, TWO_TYPES)], "a", draws=50)
    assert found.mean == pytest.approx((40 / 220 + 10 / 20) / 2) and (found.seeds, found.groups) == (1, 2)


def test_a_type_without_groups_in_a_draw_is_left_out_of_its_mean():
    found = compare.score([cell("a", 0, TWO_TYPES)], "a", draws=400)
    # Group a twice: crack alone, 30 / 120; group b twice: (10 / 100 + 10 / 20) / 2; both: the most.
    assert (found.low, found.high) == pytest.approx((30 / 120, (40 / 220 + 10 / 20) / 2))


def test_a_difference_is_of_shared_seeds_and_its_interval_holds_it():
    same = [image(f"g{index}", 40, 0, 100) for index in range(4)]
    cells = [cell("a", 0), cell("a", 1), cell("a", 2), cell("b", 0, same), cell("b", 1, same), cell("b", 7)]
    found = compare.difference(cells, "a", "b", draws=400)
    assert found.mean == pytest.approx(0.515 - 0.4) and (found.seeds, found.groups) == (2, 4)
    assert 0.10 < found.low < found.mean < found.high < 0.13
    assert compare.difference(cells, "b", "a", draws=400).mean == pytest.approx(-found.mean)


def test_seeds_are_drawn_together_with_the_groups():
    def of(hits):
        return [image("g0", hits, 0, 100), image("g1", hits, 0, 100)]

    cells = [cell("a", 0, of(50)), cell("a", 1, of(70)), cell("b", 0, of(40)), cell("b", 1, of(40))]
    found = compare.difference(cells, "a", "b", draws=2000)  # groups are equal: only seeds scatter, .1 and .3
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.1, 0.3))
    alone = compare.difference(cells[:1] + cells[2:3], "a", "b")
    assert (alone.mean, alone.low, alone.high) == pytest.approx((0.1, 0.1, 0.1))


def test_the_same_groups_are_drawn_on_both_sides():
    cells = [
        cell("a", 0, [image("g0", 90, 0, 100), image("g1", 20, 0, 100)]),
        cell("b", 0, [image("g0", 80, 0, 100), image("g1", 10, 0, 100)]),
    ]
    found = compare.difference(cells, "a", "b")
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_too_little_gives_no_difference():
    one = [image("a", 5, 0, 10, "g"), image("b", 5, 0, 10, "g")]
    empty = [image("a", 0, 3, 0), image("b", 0, 3, 0)]
    assert compare.difference([cell("a", 0), cell("b", 1)], "a", "b") is None
    assert compare.difference([cell("a", 0, one), cell("b", 0, one)], "a", "b") is None
    assert compare.difference([cell("a", 0, empty), cell("b", 0, empty)], "a", "b") is None
    assert compare.noise([cell("a", 0), cell("b", 1)], "a", "b") is None


def test_noise_separates_seeds_from_groups():
    def of(hits, more):
        return [image("g0", hits + more, 0, 100), image("g1", hits - more, 0, 100)]

    flat = of(40, 0)
    cells = [cell("a", 0, of(50, 10)), cell("a", 1, of(70, 10)), cell("b", 0, flat), cell("b", 1, flat)]
    found = compare.noise(cells, "a", "b")
    assert found.seed == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert found.group == pytest.approx(0.1 / sqrt(2), rel=0.05)  # of two drawn groups the mean is -.1, 0, 0 or +.1
    assert compare.noise([cells[0], cells[2]], "a", "b").seed is None


def test_needed_seeds_and_groups_by_hand():
    # (3 / 1.96)^2 = 2.343: seeds 4 / (2.343 - 1) = 2.98, groups 1 * 20 / (2.343 - 4 / 4) = 14.9.
    assert compare.needed(3, 2, 1, seeds=4, groups=20) == (3, 15)
    assert compare.needed(3, 2, 1.6, seeds=4, groups=20)[0] is None  # the groups alone are too wide
    assert compare.needed(3, 4, 1, seeds=4, groups=20) == (12, None)  # these seeds alone are too wide
    assert compare.needed(3, 0, 0, seeds=2, groups=20) == (1, 1)
    assert compare.needed(3, None, 1, seeds=1, groups=20) == (None, None)
    seeds, groups = compare.needed(0.03, 0.05, 0.01, seeds=5, groups=30)
    assert 1.96 * sqrt(0.05**2 / seeds + 0.01**2) <= 0.03 < 1.96 * sqrt(0.05**2 / (seeds - 1) + 0.01**2)


def test_methods_that_sample_with_a_base_are_no_baselines():
    ours = ("aias", "aias-unaware", "fast@steps=10,farm=0", "stage@graded=baseline", "fast-and-stage")
    assert not any(map(compare.is_baseline, ours))
    assert all(map(compare.is_baseline, ("real-only", "copy-paste", "cutpaste-scar", "draem")))


def test_halves_of_one_arm():
    cells = [cell("a", seed, iou=iou) for seed, iou in enumerate((0.5, 0.6, 0.99, 0.4, 0.5))]
    found = compare.halves(cells[::-1], "a", NETWORK)
    assert found.mean == pytest.approx(0.1) and found.seeds == 2  # the middle one of five is left out
    assert compare.halves(cells[:3], "a", NETWORK) is None and compare.halves(cells, "a", "other") is None
    assert "a +10.0 (2 and 2)" in findings(cells) and "10.0 points, is what so few" in findings(cells)


def test_by_area_pools_within_quarters_of_all_types():
    images = [image(f"i{area}", area // 2, 0, area, type="crack" if area % 20 else "pit") for area in range(10, 90, 10)]
    found = compare.by_area([cell("a", 0, images), cell("a", 1, [one | {"hits": one["anomalous"]} for one in images])])
    assert found.bounds == [(10, 20), (30, 40), (50, 60), (70, 80)] and found.images == [2, 2, 2, 2]
    assert found.iou["a"] == pytest.approx(np.array([[0.5] * 4, [1.0] * 4]))
    wide = compare.by_area([cell("a", 0, [*images, image("i0", 0, 500, 0, type="good"), image("j", 0, 70, 80)])])
    assert wide.images == [3, 2, 2, 2] and wide.iou["a"][0, -1] == pytest.approx(40 / (80 + 80 + 70))


def test_by_area_keeps_equal_areas_together():
    found = compare.by_area([cell("a", 0, [image(f"i{index}", 1, 0, 5) for index in range(3)] + [image("j", 1, 0, 9)])])
    assert found.bounds == [(5, 5), (9, 9)] and found.images == [3, 1]
    assert compare.by_area([cell("a", 0, [image("a", 0, 3, 0)])]) is None


def test_masks_under_100_pixels_are_reported_separately():
    images = [image("a", 20, 0, 99), image("b", 10, 1, 40), image("c", 50, 0, 100), image("d", 7, 0, 0, type="good")]
    cells = [cell("a", 0, images)]
    assert compare.tiny(cells).images == [2] and compare.tiny(cells).iou["a"] == pytest.approx(30 / 140)
    assert "| under 100 | 2 | 21.4 |" in tables.by_size(cells)
    large = [cell("a", 0, images[2:])]
    assert compare.tiny(large) is None and "under" not in tables.by_size(large)


@pytest.mark.parametrize(
    ("curve", "state"),
    [
        ([0.1, 0.2, 0.30, 0.32, 0.33, 0.35], "rising"),  # the last two are .03 over the two before
        ([0.1, 0.2, 0.30, 0.32, 0.31, 0.34], "level"),  # .015
        ([0.1, 0.2, 0.36, 0.34, 0.30, 0.31], "falling"),
        ([0.9, 0.2, 0.2, 0.2], "level"),
        ([0.1, 0.4], None),
    ],
)
def test_what_a_validation_curve_says_of_the_steps(curve, state):
    assert compare.progress(list(enumerate(curve))) == state


def test_whether_the_steps_suffice_is_reported_for_every_validated_method():
    def of(method, *values):
        return cell(method, 0, validation={"curve": [[index, value] for index, value in enumerate(values)]})

    cells = [of("a", 0.1, 0.2, 0.3), of("b", 0.3, 0.3, 0.3), of("c", 0.3, 0.3, 0.3), cell("d", 1, validation=None)]
    text = findings(cells)
    assert compare.mean_curve(compare.validation([*cells, of("a", 0.3, 0.2)], "a")) == [(0, 0.2), (1, 0.2)]
    assert "level, so the steps suffice: b, c; still rising, so more steps may help: a.\n" in text
    assert "had reached a plateau is not known" in findings(cells[3:])


def test_the_best_baseline_is_none_of_ours():
    cells = [cell("aias", 0, iou=0.9), cell("cutpaste", 0, iou=0.6), cell("real-only", 0, iou=0.5)]
    assert compare.best_baseline([*cells, cell("draem", 0, iou=None)]) == "cutpaste"
    assert compare.best_baseline(cells[:1]) == "real-only"


def test_a_difference_is_worded_by_its_interval():
    better = [image(f"g{index}", 70 + index, 0, 100) for index in range(4)]
    arms = [(cell("real-only", seed), cell("cutpaste", seed, iou=0.4), cell("aias", seed, better)) for seed in (0, 1)]
    text = findings([*arms[0], *arms[1]])
    assert "aias is above real-only: +20.0 [+20.0 +20.0] points over 2 seeds and 4 groups." in text
    assert "cutpaste and real-only cannot be distinguished: +0.0 [+0.0 +0.0]" in text
    text = findings(arms[0])
    assert "aias - real-only: +20.0 [+20.0 +20.0] points over 1 seed and 4 groups; one training each says" in text
    assert row(text, "aias") == ["aias", "-", "0.0", "-", "-"]  # one seed does not show what it takes


def test_undefined_is_a_dash_and_a_type_without_defects_is_reported():
    empty = [image("a", 0, 3, 0, type="crack"), image("b", 0, 0, 0, type="crack")]
    undefined = cell("draem", 0, empty, iou=None)
    head = row(headline([undefined]), "draem")
    assert head[2:9] == ["-"] * 7 and "0.0" not in head
    text = tables.per_type([cell("real-only", 0, iou=None) | {"types": {"tile/crack": values(None)}}])
    assert "tile/crack: no anomalous pixel in the test part" in text and "|" not in text
    trained = cell("real-only", 0, contrasts={"pairs": {}, "train": {"tile/scratch": [1.0]}, "held_back": {}})
    assert "tile/scratch: no anomalous pixel" in tables.per_type([trained])


def test_the_headline_has_intervals():
    cells = [cell("real-only", seed, iou=0.5 + seed / 50) for seed in (0, 1)] + [cell("aias", 0)]
    text = headline(cells)
    assert re.fullmatch(r"51\.5 \[5\d\.\d 5\d\.\d\]", row(text, "real-only")[2])
    assert row(text, "real-only")[3] == "51.0 ± 12.7" and row(text, "real-only")[-2:] == ["-", "3"]
    assert row(text, "aias")[-3:] == ["+0.0 [+0.0 +0.0]", "0.25", "3"]


def test_methods_may_be_compared_with_more_than_the_best_baseline():
    better, worse = ([image(f"g{index}", hits, 0, 100) for index in range(4)] for hits in (70, 40))
    cells = [
        cell(name, seed, images)
        for seed in (0, 1)
        for name, images in (("real-only", None), ("aias", worse), ("fast", better))
    ]
    text = findings(cells, "aias", "stage")  # the last one has no cells
    assert "fast is above real-only" in text and "fast is above aias: +30.0" in text and "stage" not in text
    first, second = row(headline(cells, "aias"), "fast")[9:11]
    assert first.startswith("+18.5 [+1") and second == "+30.0 [+30.0 +30.0]"
    assert row(headline(cells, "aias"), "aias")[10] == "" and findings(cells, "real-only") == findings(cells)


def test_other_metrics_are_compared_seed_by_seed():
    cells = [cell("a", 0, iou=0.5), cell("a", 1, iou=0.7), cell("b", 0, iou=0.4), cell("b", 1, iou=0.5), cell("a", 2)]
    assert compare.gains(cells, "a", "b", "f1") == pytest.approx([0.1, 0.2])
    assert compare.gains([*cells, cell("b", 2, iou=None)], "a", "b", "f1") == pytest.approx([0.1, 0.2])
    text = tables.findings(cells, ["b"])
    assert "| a | +15.0 ± 63.5 |" in text  # 12.706 * .0707 / sqrt 2
    assert "| a | +10.0 |" in tables.findings(cells[::2], ["b"])


def test_escaping_leaves_neither_markup_nor_bars():
    markdown = pytest.importorskip("markdown").markdown
    wild = "a|b <i>c</i> *d* _e_ `f` [g](h) x_y & ~~k~~\n# l \\"
    rendered = markdown(tables.table(["name", "n"], [[tables.escape(wild), "1"]]), extensions=["tables"])
    assert "<td>a|b &lt;i&gt;c&lt;/i&gt; *d* _e_ `f` [g](h) x_y &amp; &#126;&#126;k&#126;&#126; # l \\</td>" in rendered


def study(out):
    """Three methods, two seeds, a wild type name and a failed cell, as write_report takes them; its text."""
    images = [image(f"g{index}", 20 + index, 5, 30 + 10 * index, type="p|t <b>") for index in range(8)]
    cells = [cell(method, seed, images) for method in ("real-only", "cut & paste", "aias") for seed in (0, 1)]
    picture = out / "cells" / "cut & paste" / NETWORK / "0.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"\x89PNG case")
    return write_report([*cells, failed("<script>alert('|')</script>")], out)


def test_the_report_is_written_with_its_figures(tmp_path):
    text = study(tmp_path)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == text
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert figures == ["area-small_unet.png", "contrasts.png", "validation-small_unet.png"]
    assert all((tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG") for name in figures)
    assert all(f"](figures/{name})" in text for name in figures)
    assert "](cells/cut%20%26%20paste/small_unet/0.png)" in text and "cells/aias" not in text
    assert r"tile/p\|t &lt;b&gt;" in text and "<script" not in text and "<b>" not in text


def test_the_page_is_self_contained(tmp_path):
    study(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 4 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "<script" not in page and "<b>" not in page and "tile/p|t &lt;b&gt;" in page
    assert "url(" not in page and "<link" not in page and page.count("<table>") == 7


def test_a_failed_cell_is_reported_beside_the_others(tmp_path):
    text = write_report([cell("real-only", 0), failed("no base")], tmp_path)
    assert "- aias, small_unet, seed 0: no base" in text and row(text, "real-only")[1] == "1"
    assert "aias" in write_report([failed()], tmp_path) and "No cell is finished." in write_report([failed()], tmp_path)


def test_one_cell_and_no_cell(tmp_path):
    text = write_report([cell("real-only", 0)], tmp_path / "one")
    assert "nothing to compare" in text and "four seeds" in text
    assert "No cell is finished." in write_report([], tmp_path / "none")
    assert (tmp_path / "none" / "report.html").exists() and not (tmp_path / "none" / "figures").exists()


def test_nothing_is_plotted_of_nothing(tmp_path):
    empty = cell("real-only", 0, [image("a", 0, 3, 0), image("b", 0, 0, 0)], iou=None)
    empty["validation"], empty["contrasts"]["train"] = None, {}
    text = write_report([empty], tmp_path)
    assert not (tmp_path / "figures").exists() and "tile/crack: no anomalous pixel" in text


def test_two_networks_have_a_section_each(tmp_path):
    text = write_report([cell("real-only", 0), cell("real-only", 0, network="a/b (large)")], tmp_path)
    assert "## small_unet" in text and "## a/b (large)" in text
    assert (tmp_path / "figures" / "area-a-b--large-.png").exists() and text.count("](figures/contrasts.png)") == 1


def test_without_matplotlib_the_report_is_still_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = study(tmp_path)
    assert "There are no figures: `pip install 'anomaly-synthesis[eval]'`" in text and "](figures" not in text
    assert not (tmp_path / "figures").exists() and (tmp_path / "report.html").exists() and row(text, "aias")


def test_without_markdown_there_is_no_page(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "markdown", None)
    (tmp_path / "report.html").write_text("of an earlier run")
    text = study(tmp_path)
    assert not (tmp_path / "report.html").exists() and "There is no report.html: `pip install" in text
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == text


def test_names_with_halves_of_characters_are_shown_as_escapes(tmp_path):
    cells = [cell("draem", 0, types={"tile/\ud800": values(0.5)}), failed("no file \udc80.png", "a\udfff")]
    text = write_report(cells, tmp_path)
    assert "tile/\\ud800" in text and "\\udc80.png" in text and (tmp_path / "report.md").read_text("utf-8") == text
