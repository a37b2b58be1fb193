import re

import numpy as np
import pytest
from anomaly_synthesis.datasets.mvtec import check_samples, read_mvtec, read_sample
from anomaly_synthesis.errors import Refused
from anomaly_synthesis.images.pictures import write_mask

from .refusals import refused


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_mask(root / name, np.ones((2, 2), bool))


def tile(root):
    touch(
        root,
        "train/good/b.png",
        "train/good/a.JPG",
        "test/good/c.bmp",
        "test/crack/d.png",
        "test/hole/e.tiff",
        "ground_truth/crack/d_mask.png",
        "ground_truth/hole/e.BMP",
    )
    return root


def test_one_object(tmp_path):
    root = tile(tmp_path / "tile")
    (root / "test" / "crack" / "notes.txt").write_text("no image")
    (root / "train" / "good" / "._a.png").write_text("a Finder file")
    samples = read_mvtec(root)
    assert [sample.name for sample in samples] == [
        "test/crack/d.png",
        "test/good/c.bmp",
        "test/hole/e.tiff",
        "train/good/a.JPG",
        "train/good/b.png",
    ]
    assert {sample.object for sample in samples} == {"tile"}
    assert [(sample.type, sample.part) for sample in samples] == [
        ("crack", "test"),
        ("good", "test"),
        ("hole", "test"),
        ("good", "train"),
        ("good", "train"),
    ]
    assert all(sample.image.is_file() for sample in samples)
    assert samples[0].mask == root / "ground_truth" / "crack" / "d_mask.png"
    assert samples[2].mask == root / "ground_truth" / "hole" / "e.BMP"
    assert samples[1].mask is None


def test_several_objects_beside_other_things(tmp_path):
    tile(tmp_path / "tile")
    tile(tmp_path / "screw")
    (tmp_path / "README.md").write_text("")
    (tmp_path / "docs").mkdir()
    samples = read_mvtec(tmp_path)
    assert {sample.object for sample in samples} == {"tile", "screw"}
    assert samples[0].name == "screw/test/crack/d.png" and len(samples) == 10


def test_linked_children_stay_objects_and_root_has_its_real_name(tmp_path):
    real = tile(tmp_path / "real" / "cast_grain")
    (tmp_path / "data").mkdir()
    for name in "bc":
        (tmp_path / "data" / name).symlink_to(real)
    assert {(one.object, one.name[:2]) for one in read_mvtec(tmp_path / "data")} == {("b", "b/"), ("c", "c/")}
    assert {one.object for one in read_mvtec(tmp_path / "data" / "b")} == {"cast_grain"}


def test_root_may_be_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tile(tmp_path / "tile"))
    assert {one.object for one in read_mvtec(".")} == {"tile"}


def test_a_sample_is_read_with_its_mask(tmp_path):
    root = tile(tmp_path / "tile")
    write_mask(root / "ground_truth/crack/d_mask.png", np.eye(2))
    crack, normal = read_mvtec(root)[:2]
    picture, mask = read_sample(crack)
    assert picture.pixels.shape == (2, 2, 1) and mask.tolist() == [[True, False], [False, True]]
    assert read_sample(normal)[0].size == (2, 2) and read_sample(normal)[1] is None


def test_a_sample_whose_mask_does_not_fit_is_refused(tmp_path):
    root = tile(tmp_path / "tile")
    crack = read_mvtec(root)[0]
    write_mask(crack.mask, np.ones((3, 2)))
    with refused(subject="d_mask.png", got=r"the mask is 3 x 2 .*, but \S+/test/crack/d.png is 2 x 2"):
        read_sample(crack)
    write_mask(crack.mask, np.zeros((2, 2)))
    with refused(subject=f"^{re.escape(str(crack.mask))}$", got="^the mask is empty", remedy="draw the defect"):
        read_sample(crack)
    crack.image.unlink()
    with pytest.raises(FileNotFoundError, match="d.png"):
        read_sample(crack)


def test_all_problems_are_found_before_work_starts(tmp_path):
    root = tile(tmp_path / "tile")
    samples = read_mvtec(root)
    check_samples(samples)
    write_mask(samples[0].mask, np.zeros((2, 2)))
    write_mask(samples[2].mask, np.ones((3, 2)))
    samples[3].image.write_bytes(b"")
    samples[4].image.unlink()
    with pytest.raises(Refused) as error:
        check_samples(samples)
    first, *lines = error.value.got.splitlines()
    assert error.value.subject == "images" and first == "4 of 5 cannot be used:"
    for line, found in zip(lines, ["is empty", "3 x 2", "not a readable image", "b.png"], strict=True):
        assert found in line
    assert lines[3] == f"  {samples[4].image}: it cannot be opened (No such file or directory); restore it"
    with pytest.raises(Refused) as error:
        check_samples(samples * 2)
    lines = error.value.got.splitlines()
    assert lines[0] == "8 of 10 cannot be used:" and lines[-1] == "  and 3 more" and len(lines) == 7


def test_types_select_defects_and_keep_normals(tmp_path):
    root = tile(tmp_path / "tile")
    assert {sample.type for sample in read_mvtec(root, types=["hole"])} == {"hole", "good"}
    with refused(got="no defect type 'rust'; there is crack, hole"):
        read_mvtec(root, types=["rust", "hole"])


def test_missing_ground_truth_is_named(tmp_path):
    root = tile(tmp_path / "tile")
    touch(root, "test/hole/f.png", "test/hole/g.png")
    with refused(got="2 defect images have no ground truth: test/hole/f.png, test/hole/g.png"):
        read_mvtec(root)
    assert len(read_mvtec(root, types=["crack"])) == 4


def test_other_folders_are_refused(tmp_path):
    with refused(got="no such folder"):
        read_mvtec(tmp_path / "none")
    touch(tmp_path / "flat", "a.png", "b.png")
    with refused(got="(?s)not in MVTec layout; it holds a.png, b.png", accepted=".*<object>/train/good"):
        read_mvtec(tmp_path / "flat")
    touch(tmp_path / "bare", "test/good/a.png")
    with refused(got="no normal images"):
        read_mvtec(tmp_path / "bare")
