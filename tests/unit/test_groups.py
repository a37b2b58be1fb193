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
from anomaly_synthesis.datasets.pictures import Picture, write_picture

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
    with pytest.raises(ValueError, match="0 .identical. to 1"):
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
    with pytest.raises(ValueError, match="no column 'group'; it has file, side"):
        groups_from_manifest(samples, table)
    table.write_text("file,side\n" + rows[: rows.index("\n") + 1])
    with pytest.raises(ValueError, match="3 of 4 images have no row.*train/good/b.png"):
        groups_from_manifest(samples, table, "side")
    table.write_text("file,side\n" + rows + "tile/train/good/a.png,other\n")
    with pytest.raises(ValueError, match="two rows"):
        groups_from_manifest(samples, table, "side")


def test_pattern():
    samples = [Sample("tile", "good", "train", f"train/good/{name}.png", Path("r"), None) for name in ("p1_a", "p1_b")]
    assert set(groups_from_pattern(samples, r"p(\d)").values()) == {"1"}
    assert set(groups_from_pattern(samples, r"p\d").values()) == {"p1"}
    with pytest.raises(ValueError, match="1 of 2 files do not match: train/good/p1_a.png"):
        groups_from_pattern(samples, r"(\w)_b")
    with pytest.raises(ValueError, match="not a regular expression"):
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
    with pytest.raises(ValueError, match="3 of 4 images have no row"):
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
