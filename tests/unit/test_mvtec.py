import numpy as np
import pytest
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.pictures import write_mask


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_mask(root / name, np.ones((2, 2), bool))


def tile(root):
    touch(
        root, "train/good/b.png", "train/good/a.JPG", "test/good/c.bmp", "test/crack/d.png", "test/hole/e.tiff",
        "ground_truth/crack/d_mask.png", "ground_truth/hole/e.BMP",
    )
    return root


def test_one_object(tmp_path):
    root = tile(tmp_path / "tile")
    (root / "test" / "crack" / "notes.txt").write_text("no image")
    (root / "train" / "good" / "._a.png").write_text("a Finder file")
    samples = read_mvtec(root)
    assert [sample.name for sample in samples] == [
        "test/crack/d.png", "test/good/c.bmp", "test/hole/e.tiff", "train/good/a.JPG", "train/good/b.png"
    ]
    assert {sample.object for sample in samples} == {"tile"}
    assert [(sample.type, sample.part) for sample in samples] == [
        ("crack", "test"), ("good", "test"), ("hole", "test"), ("good", "train"), ("good", "train")
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


def test_types_select_defects_and_keep_normals(tmp_path):
    root = tile(tmp_path / "tile")
    assert {sample.type for sample in read_mvtec(root, types=["hole"])} == {"hole", "good"}
    with pytest.raises(ValueError, match="no defect type 'rust'; there is crack, hole"):
        read_mvtec(root, types=["rust", "hole"])


def test_missing_ground_truth_is_named(tmp_path):
    root = tile(tmp_path / "tile")
    touch(root, "test/hole/f.png", "test/hole/g.png")
    with pytest.raises(ValueError, match="2 defect images have no ground truth: test/hole/f.png, test/hole/g.png"):
        read_mvtec(root)
    assert len(read_mvtec(root, types=["crack"])) == 4


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        read_mvtec(tmp_path / "none")
    touch(tmp_path / "flat", "a.png", "b.png")
    with pytest.raises(ValueError, match="(?s)not in MVTec layout; it holds a.png, b.png; .*<object>/train/good"):
        read_mvtec(tmp_path / "flat")
    touch(tmp_path / "bare", "test/good/a.png")
    with pytest.raises(ValueError, match="no normal images"):
        read_mvtec(tmp_path / "bare")
