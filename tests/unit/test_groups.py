from pathlib import Path

import numpy as np
import pytest
from anomaly_synthesis.datasets.groups import (
    find_groups,
    groups_from_manifest,
    groups_from_near_duplicates,
    groups_from_pattern,
)
from anomaly_synthesis.datasets.mvtec import Sample, read_mvtec
from anomaly_synthesis.images.pictures import Picture, write_picture

from .refusals import refused

DATA = Path(__file__).parents[3] / "shared" / "data"


def folder(tmp_path, images):
    root = tmp_path / "tile"
    (root / "train" / "good").mkdir(parents=True)
    for name, pixels in images.items():
        write_picture(root / "train" / "good" / name, Picture(pixels[..., None]))
    return root


def surface(seed, size=(64, 64)):
    return np.random.default_rng(seed).integers(60, 140, size).astype(np.uint8)


def lookalikes(tmp_path):
    first, other = surface(0).repeat(2, 0).repeat(2, 1), surface(1)
    brighter = np.clip(first * 1.5 + 20, 0, 255).astype(np.uint8)
    return folder(tmp_path, {"a.png": first, "b.png": brighter, "c.png": other, "d.png": first[::2, ::2]})


def test_near_duplicates_stand_exposure_and_size(tmp_path):
    samples = read_mvtec(lookalikes(tmp_path))
    groups = groups_from_near_duplicates(samples)
    a, b, c, d = (f"train/good/{letter}.png" for letter in "abcd")
    assert groups == {a: a, b: a, c: c, d: a}
    assert groups_from_near_duplicates(samples[::-1]) == groups
    with refused(accepted="0 .identical. to 1"):
        groups_from_near_duplicates(samples, distance=2)


def test_one_large_lookalike_group_is_warned_of(tmp_path, caplog):
    samples = read_mvtec(folder(tmp_path, {f"{i:02}.png": surface(0) for i in range(12)}))
    assert len(set(groups_from_near_duplicates(samples).values())) == 1
    assert "12 of 12 images look alike" in caplog.text


def test_manifest_is_matched_by_the_paths_tail(tmp_path):
    root = lookalikes(tmp_path)
    samples = read_mvtec(root)
    rows = "".join(f"data/tile/train/good/{letter}.png,{letter > 'b'}\n" for letter in "abcd")
    table = tmp_path / "t.csv"
    table.write_text("file,side\n" + rows)
    groups = groups_from_manifest(samples, table, "side")
    assert groups["train/good/a.png"] == groups["train/good/b.png"] != groups["train/good/c.png"]
    assert groups_from_manifest(read_mvtec(tmp_path), table, "side")["tile/train/good/a.png"] == "False"
    with refused(got="no column 'group'; it has file, side"):
        groups_from_manifest(samples, table)
    table.write_text("file,side\n" + rows[: rows.index("\n") + 1])
    with refused(got="3 of 4 images have no row.*train/good/b.png"):
        groups_from_manifest(samples, table, "side")
    table.write_text("file,side\n" + rows + "tile/train/good/a.png,other\n")
    with refused(got="two rows"):
        groups_from_manifest(samples, table, "side")


def test_pattern():
    samples = [Sample("tile", "good", "train", f"train/good/{name}.png", Path("r"), None) for name in ("p1_a", "p1_b")]
    assert set(groups_from_pattern(samples, r"p(\d)").values()) == {"1"}
    assert set(groups_from_pattern(samples, r"p\d").values()) == {"p1"}
    with refused(got="1 of 2 files do not match: train/good/p1_a.png"):
        groups_from_pattern(samples, r"(\w)_b")
    with refused(got="not a regular expression"):
        groups_from_pattern(samples, "(")


def test_find_groups_takes_a_manifest_of_this_data_else_near_duplicates(tmp_path):
    root = lookalikes(tmp_path)
    samples = read_mvtec(root)
    assert "near-duplicates" in find_groups(samples, root)[1]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("file,group\nother/train/good/a.png,1\n")
    assert "near-duplicates" in find_groups(samples, root)[1]
    manifest.write_text("file,group\n" + "".join(f"tile/train/good/{letter}.png,x\n" for letter in "abcd"))
    groups, source = find_groups(samples, root)
    assert set(groups.values()) == {"x"} and str(manifest) in source
    manifest.write_text("file,group\ntile/train/good/a.png,x\n")
    with refused(got="3 of 4 images have no row"):
        find_groups(samples, root)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"REAL DATA NOT CHECKED: no {DATA}")
def test_real_manifest():
    groups, source = find_groups(read_mvtec(DATA / "magnetic_tile"), DATA / "magnetic_tile")
    assert len(groups) == 832 and len(set(groups.values())) == 187 and "manifest.csv" in source


def test_a_manifest_of_any_layout_is_matched_by_the_whole_path(tmp_path):
    names = ["candle/Data/Images/Normal/0.JPG", "pcb/Data/Images/Normal/0.JPG"]
    samples = [Sample(name.split("/")[0], "good", "", name, Path("r"), None) for name in names]
    samples.append(Sample("part", "good", "", "images/0.png", Path("r"), None))
    table = tmp_path / "manifest.csv"
    table.write_text(
        "file,group\nvisa/candle/Data/Images/Normal/0.JPG,a\npcb/Data/Images/Normal/0.JPG,b\n"
        "other/images/0.png,wrong\nshop\\part\\images\\0.png,c\n"
    )
    assert list(groups_from_manifest(samples, table).values()) == ["a", "b", "c"]
    table.write_text("file,group\nimages/0.png,d\n")
    assert groups_from_manifest(samples[2:], table) == {"images/0.png": "d"}


def rows_of(letters="abcd", before="tile/"):
    return [(f"{before}train/good/{letter}.png", f"Gr\u00fcn {letter > 'b'}") for letter in letters]


def written(path, rows, separator=",", encoding="utf-8", head="file,group", first="", end="\n"):
    lines = [*([first] if first else []), head.replace(",", separator), *(separator.join(row) for row in rows)]
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


@pytest.mark.parametrize(
    "how",
    [
        {"separator": ";"},
        {"separator": "\t"},
        {"separator": ";", "first": "sep=;"},
        {"first": '"sep=,"'},
        {"encoding": "utf-8-sig", "separator": ";", "end": "\r\n"},
        {"encoding": "utf-16", "separator": "\t"},
        {"encoding": "utf-32"},
        {"head": " File ,GROUP"},
        {"head": '"file","group"'},
        {"head": "\n\nfile,group\n"},
        {"end": "\r"},
        {"end": "\n\n,,\n"},
        {"head": "id;note,file,group", "before": "0;1,tile/"},
    ],
)
def test_a_manifest_as_spreadsheets_write_it_gives_the_groups(tmp_path, how):
    root = lookalikes(tmp_path)
    rows = rows_of(before=how.pop("before", "tile/"))
    written(tmp_path / "manifest.csv", rows, **how)
    groups, source = find_groups(read_mvtec(root), root)
    assert source.startswith("column 'group' of ")
    assert sorted(groups.values()) == ["Gr\u00fcn False"] * 2 + ["Gr\u00fcn True"] * 2


def test_a_manifest_finds_images_in_other_case_separators_and_unicode_forms(tmp_path):
    names = ["part/gr\u00f6\u00dfe.png", "part/B.PNG", "part/c.png", "part/C.png"]
    samples = [Sample("part", "good", "", name, Path("r"), None) for name in names]
    files = ["C:\\my data\\part\\gro\u0308\u00dfe.PNG", "./part/b.png", "part/c.png", "part/C.png"]
    rows = list(zip(files, "1234", strict=True))
    table = written(tmp_path / "t.csv", rows)
    assert groups_from_manifest(samples, table) == dict(zip(names, "1234", strict=True))


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("how", "got", "remedy"),
    [
        ({"encoding": "cp1252"}, "line 2 is no UTF-8 text ", "save it as UTF-8"),
        ({"encoding": "utf-16-le"}, "line 2 is no UTF-8 text ", "save it as UTF-8"),
        ({"head": "name,part"}, "no column 'file' or 'group'; it has name, part", "name the columns so"),
        ({"head": "file,part"}, "no column 'group'; it has file, part", "name the columns so"),
        ({"head": "file,file"}, "two columns are named 'file'", "rename one"),
        ({"more": ("tile/train/good/a.png", "x")}, "stands in two rows", "keep one"),
        ({"more": ("tile/train/good/a.png", "x", "y")}, "line 6 has 3 cells, the header 2", "in quotes"),
    ],
)
def test_a_manifest_of_these_images_that_cannot_be_used_is_refused_by_name(tmp_path, how, got, remedy, beside):
    root = lookalikes(tmp_path)
    samples, how = read_mvtec(root), dict(how)
    path = (root if not beside else tmp_path) / "manifest.csv"
    written(path, [*rows_of(), *([how.pop("more")] if "more" in how else [])], **how)
    with refused(
        subject=f"^{path}$", got=got, remedy=f"{remedy}.*, or rename the file if it holds no groups of these images$"
    ):
        find_groups(samples, root)


def test_a_manifest_of_bare_file_names_in_the_folder_is_refused(tmp_path):
    root = lookalikes(tmp_path)
    for names in ("a.png", "images/a.png"):
        written(root / "manifest.csv", [("known.png", "x"), (names, "y")])
        with refused(got="no row's 'file' is the path of an image here", remedy="write <object>/"):
            find_groups(read_mvtec(root), root)


@pytest.mark.parametrize("how", [{"encoding": "cp1252"}, {"head": "machine,price"}, {}])
def test_a_manifest_of_something_else_is_passed_over_loudly(tmp_path, caplog, how):
    root = lookalikes(tmp_path)
    path = written(root / "manifest.csv", [("pr\u00e4sse", "12"), ("other/train/good/zz.png", "b")], **how)
    groups, source = find_groups(read_mvtec(root), root)
    assert source == f"near-duplicates ({path} names none of these images)" and len(set(groups.values())) == 2
    assert f"{path} is not used: it names no image here" in caplog.text


def test_a_table_of_utf_16_without_its_mark_is_refused(tmp_path):
    path = written(tmp_path / "t.csv", [("a.png", "1")], encoding="utf-16-be")
    with refused(subject="t.csv", got="it holds zero bytes, as UTF-16 without its mark does", remedy="save it as"):
        groups_from_manifest([], path)


@pytest.mark.parametrize("separator", [":", " ", "  "])
def test_a_manifest_with_a_separator_that_is_not_read_is_refused(tmp_path, separator):
    root = lookalikes(tmp_path)
    (root / "manifest.csv").write_text(f"file{separator}group\nimages/a.png{separator}x\n")
    with refused(subject="manifest.csv$", got="^no column ", remedy="name the columns so, or rename the file if"):
        find_groups(read_mvtec(root), root)
