"""Procedural surfaces: one seed gives one picture, masks are exact, defects are visible, the layout is MVTec's."""

import zlib

import numpy as np
import pytest
from anomaly_synthesis.datasets import procedural
from anomaly_synthesis.datasets.procedural import MATERIALS, defect, defect_mask, surface, write_surfaces
from PIL import Image

from .refusals import refused

PAIRS = [(material, type) for material, types in MATERIALS.items() for type in types]


def _check_pair(normal, image, mask):
    changed = (image != normal).any(-1)
    assert image.shape == normal.shape and image.dtype == np.uint8 and mask.dtype == bool
    assert np.array_equal(mask, changed)
    assert mask.sum() >= 20
    assert np.abs(image[mask].astype(float) - normal[mask]).mean() > 12


@pytest.mark.parametrize(("material", "type"), PAIRS)
def test_masks_are_exact_and_defects_visible(material, type):
    for seed in range(10):
        normal = surface(material, 256, seed)
        before = normal.copy()
        image, mask = defect(normal, material, type, seed)
        assert np.array_equal(normal, before)
        _check_pair(normal, image, mask)
        rows, columns = np.nonzero(mask)
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 8 <= extent <= 75
        assert mask.mean() < 0.1


@pytest.mark.parametrize("size", [(377, 251), 64, 32])
@pytest.mark.parametrize(("material", "type"), PAIRS)
def test_other_sizes(material, type, size):
    for seed in range(3):
        normal = surface(material, size, seed)
        assert normal.shape == (*((size, size) if isinstance(size, int) else size), 3)
        _check_pair(normal, *defect(normal, material, type, seed))


@pytest.mark.parametrize(("material", "type"), PAIRS)
def test_defects_fit_crops(material, type):
    for seed in range(5):
        crop = surface(material, 256, seed)[41:169, 100:228]
        _check_pair(crop, *defect(crop, material, type, seed))


@pytest.mark.parametrize("material", MATERIALS)
def test_surfaces_follow_the_seed_and_vary(material):
    pictures = [surface(material, 128, seed) for seed in range(6)]
    assert np.array_equal(pictures[3], surface(material, 128, 3))
    assert np.ptp([picture.mean() for picture in pictures]) > 8
    for picture in pictures:
        assert 50 < picture.mean() < 215
        assert (picture == 255).mean() < 0.01
        grey = picture.mean(-1)
        steps = grey[:, 1:] - grey[:, :-1]
        assert steps.std() < 1.2 * grey.std()  # sqrt(2) for white noise: neighbours are similar


@pytest.mark.parametrize(("material", "type"), PAIRS)
def test_defects_follow_the_seed_and_vary(material, type):
    normal = surface(material, 128, 0)
    results = [defect(normal, material, type, seed) for seed in range(3)]
    again = defect(normal, material, type, 2)
    assert np.array_equal(results[2][0], again[0]) and np.array_equal(results[2][1], again[1])
    assert not np.array_equal(results[0][1], results[1][1])
    assert np.array_equal(defect_mask(material, type, 128, 7), defect(surface(material, 128, 7), material, type, 7)[1])


def test_the_bytes_stay_the_same():
    normal = surface("brushed_metal", 64, 1)
    image, _ = defect(surface("printed_pattern", 64, 1), "printed_pattern", "missing", 1)
    assert (zlib.crc32(normal.tobytes()), zlib.crc32(image.tobytes())) == (1892254902, 2030780097)


def test_write_surfaces_in_mvtec_layout(tmp_path):
    root = write_surfaces(tmp_path / "set", materials=["woven_cloth"], normals=3, defects=2, size=64, seed=5)
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert found == [
        "woven_cloth/ground_truth/missing/000_mask.png",
        "woven_cloth/ground_truth/missing/001_mask.png",
        "woven_cloth/ground_truth/stain/000_mask.png",
        "woven_cloth/ground_truth/stain/001_mask.png",
        "woven_cloth/test/good/000.png",
        "woven_cloth/test/good/001.png",
        "woven_cloth/test/missing/000.png",
        "woven_cloth/test/missing/001.png",
        "woven_cloth/test/stain/000.png",
        "woven_cloth/test/stain/001.png",
        "woven_cloth/train/good/000.png",
        "woven_cloth/train/good/001.png",
        "woven_cloth/train/good/002.png",
    ]
    mask = np.asarray(Image.open(root / "woven_cloth/ground_truth/missing/000_mask.png"))
    assert mask.shape == (64, 64) and set(np.unique(mask)) == {0, 255}
    pictures = {(root / name).read_bytes() for name in found}
    assert len(pictures) == len(found)
    other = write_surfaces(tmp_path / "again", materials=["woven_cloth"], normals=3, defects=2, size=64, seed=5)
    assert {(other / name).read_bytes() for name in found} == pictures


def test_write_surfaces_leaves_other_files_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with refused(got="not an empty folder"):
        write_surfaces(tmp_path, normals=1, defects=1, size=64)
    with refused(got="not an empty folder"):
        write_surfaces(tmp_path / "notes.txt", normals=1, defects=1, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_bad_names_and_values_say_what_is_accepted(tmp_path):
    normal = surface("cast_grain", 64, 0)
    with refused(got="'wood'", accepted="brushed_metal, woven_cloth"):
        surface("wood", 64, 0)
    with refused(got="'scratch' on cast_grain", accepted="pit, crack, stain"):
        defect(normal, "cast_grain", "scratch", 0)
    with refused(got="'missing'"):
        defect_mask("cast_grain", "missing", 64, 0)
    with refused(got="'wood'"):
        write_surfaces(tmp_path / "set", materials=["cast_grain", "wood"])
    with refused(accepted="32 or more"):
        surface("cast_grain", (64, 31), 0)
    with refused(subject="^seed$", got="^-1$", accepted="0 or more"):
        surface("cast_grain", 64, -1)
    with refused(subject="^normals$", got="^0$", accepted="1 or more"):
        write_surfaces(tmp_path / "set", normals=0)
    with refused(accepted="uint8"):
        defect(normal / 255, "cast_grain", "pit", 0)
    assert not (tmp_path / "set").exists()


def test_a_blank_picture_has_no_ink_to_miss():
    with refused(got="cannot be seen"):
        defect(np.full((64, 64, 3), 128, np.uint8), "printed_pattern", "missing", 0)


def test_every_pair_has_a_shape():
    assert set(procedural._SHAPES) == set(PAIRS)
    assert set(procedural._RELIEFS) == set(MATERIALS)
