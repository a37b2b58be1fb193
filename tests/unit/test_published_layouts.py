"""Variants of published datasets and exports, and errors in their lists."""

import json

import numpy as np
import pytest
from anomaly_synthesis.datasets.groups import groups_from_pattern
from anomaly_synthesis.datasets.reading import find_dataset, read_dataset
from anomaly_synthesis.datasets.sample import read_sample

from .layout_examples import EXAMPLES, OTHER, SIZE, SQUARE, Example
from .refusals import refused


@pytest.fixture
def one(tmp_path):
    return Example(tmp_path / "data")


def problems(example):
    return {problem.file: problem.what for problem in find_dataset(example.root).problems}


def kinds(example):
    return sorted((sample.name.split("/")[-1], sample.type) for sample in read_dataset(example.root))


# MVTec AD 2 and 3D-AD


def test_ad_2_names_what_has_no_published_masks(one):
    EXAMPLES["mvtec_ad2"](one)
    assert problems(one) == {
        "can/test_private": "1 images without published masks; left out",
        "can/test_private_mixed": "1 images without published masks; left out",
    }


def test_ad_2_without_its_validation_part_and_with_a_missing_mask(one):
    EXAMPLES["mvtec_ad2"](one)
    (one.root / "can/test_public/ground_truth/bad/003_regular_mask.png").unlink()
    with refused(got="1 defect images have no ground truth: can/test_public/bad/003_regular.png"):
        read_dataset(one.root)


def test_3d_ad_says_that_depth_is_not_read(one):
    EXAMPLES["mvtec_3d"](one)
    assert find_dataset(one.root).notes == ("bagel: the depth in xyz/ is not read",)


# anomalib's Folder


@pytest.mark.parametrize("masks", ["mask", "masks", "ground_truth"])
@pytest.mark.parametrize("normal", ["good", "normal", "OK"])
def test_anomalibs_folders_by_other_names(one, masks, normal):
    one.normal("data", "", f"{normal}/000.png")
    one.defect("data", "cut", "", "cut/000.jpg", f"{masks}/cut/000.png")
    one.defect("data", "hole", "", "hole/1.png", f"{masks}/hole/1_mask.png")
    one.mask(f"{masks}/{normal}/000.png")
    assert find_dataset(one.root).layout.name == "folder" and not problems(one)
    assert sorted((s.object, s.type, s.part, s.name) for s in read_dataset(one.root)) == sorted(one.samples)


def test_anomalibs_only_type_may_have_its_masks_in_the_folder_itself(one):
    one.normal("data", "", "good/000.png")
    one.defect("data", "bad", "", "bad/000.png", "mask/000.png")
    assert kinds(one) == [("000.png", "bad"), ("000.png", "good")]


def test_anomalibs_masks_that_match_no_image_and_types_without_masks(one):
    EXAMPLES["folder"](one)
    one.mask("nut/mask/dent/0.png", SQUARE)
    one.mask("nut/mask/crack/7.png", SQUARE)
    assert problems(one) == {
        "nut/mask/dent": "masks for no image: there is no dent/",
        "nut/mask/crack/7.png": "a mask for no image; the images are called 000.png, ...",
    }
    one.picture("nut/cut/0.png")
    with refused(got="1 defect images have no ground truth: nut/cut/0.png"):
        read_dataset(one.root)


# Roboflow's PNG masks


def test_roboflows_other_cases(one):
    EXAMPLES["roboflow"](one)
    one.picture("cast/train/bare.jpg")
    one.picture("cast/train/odd.jpg")
    one.mask("cast/train/odd_mask.png", SQUARE, value=9)
    one.picture("cast/train/two.jpg")
    values = np.zeros(SIZE, np.uint8)
    values[SQUARE], values[OTHER] = 1, 3
    one.save("cast/train/two_mask.png", values)
    rows = ("Pixel Value, Class", " 0, background", "1, crack", "2, hole", "3, ok", "x, y", "")
    one.write("cast/train/_classes.csv", "\r\n".join(rows))
    assert ("two.jpg", "crack") in kinds(one) and ("two.jpg", "ok") not in kinds(one)
    assert not {"bare.jpg", "odd.jpg"} & {name for name, _ in kinds(one)}
    assert problems(one) == {
        "cast/train/_classes.csv": "line 6 is 'x', 'y'; accepted is a whole number and a name",
        "cast/train/bare.jpg": "no bare_mask.png; the image is left out",
        "cast/train/odd_mask.png": "cast/train/_classes.csv has no name for value 9; the image is left out",
    }


def test_roboflow_without_its_parts_or_with_one_list_for_all(one):
    one.defect("data", "crack", "", "a.jpg", "a_mask.png", value=1)
    one.write("_classes.csv", "Pixel Value;Class\n0;background\n1;crack\n")
    assert find_dataset(one.root).layout.name == "roboflow" and kinds(one) == [("a.jpg", "crack")]
    one.defect("data", "crack", "test", "test/b.jpg", "test/b_mask.png", value=1)
    assert [sample.part for sample in read_dataset(one.root)] == ["", "test"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Value,Class\n1,crack\n", "no column Pixel Value; it has Value, Class"),
        (b"Pixel Value, Class\n1, Ri\xdf\n", "no UTF-8"),
    ],
)
def test_roboflows_list_that_cannot_be_read_is_refused(one, text, words):
    EXAMPLES["roboflow"](one)
    one.write("cast/test/_classes.csv", text)
    with refused(got=f"cast/test/_classes.csv: .*{words}"):
        read_dataset(one.root)


# DAGM


def test_dagm_lists_a_defect_whose_mask_is_missing(one):
    EXAMPLES["dagm"](one)
    (one.root / "Class1/Train/Label/0002_label.PNG").unlink()
    with refused(got="1 defect images have no ground truth: Class1/Train/0002.PNG"):
        read_dataset(one.root)


def test_dagm_with_a_damaged_list(one):
    EXAMPLES["dagm"](one)
    one.write("Class1/Train/Label/Labels.txt", "1\n0001\t0\t0001.PNG\t0\t0\nwhat\tis this\n")
    assert problems(one) == {
        "Class1/Train/Label/Labels.txt": "line 3 is 'what\\tis this'; accepted is: number, 0 or 1, image, ..."
    }
    assert len(read_dataset(one.root)) == 4


def test_dagms_older_release_has_ellipses(one):
    for number in range(1, 4):
        one.picture(f"Class1/{number}.png", (60, 80))
        one.picture(f"Class1_def/{number}.png", (60, 80))
    one.write("Class1_def/labels.txt", "1\t20.0\t5.0\t0.0\t40.0\t30.0\r\n2\t2.0e+001\t5\t1.5707963\t40\t30\r\n3\tx\r\n")
    assert [(s.object, s.type, s.name) for s in read_dataset(one.root)] == [
        ("Class1", "good", "Class1/1.png"),
        ("Class1", "good", "Class1/2.png"),
        ("Class1", "good", "Class1/3.png"),
        ("Class1", "damaged", "Class1_def/1.png"),
        ("Class1", "damaged", "Class1_def/2.png"),
    ]
    assert list(problems(one)) == ["Class1_def/labels.txt"]  # the image of the bad line is not reported twice
    masks = [read_sample(sample)[1].numpy() for sample in read_dataset(one.root)[3:]]
    for mask, half in zip(masks, ((5, 20), (20, 5)), strict=True):
        rows, columns = np.nonzero(mask)
        assert abs(mask.sum() - np.pi * 100) < 4
        assert (rows.min(), rows.max()) == (30 - half[0], 29 + half[0])
        assert (columns.min(), columns.max()) == (40 - half[1], 39 + half[1])
    assert "line 3: 2 numbers" in problems(one)["Class1_def/labels.txt"]


# Severstal


STEEL = "ImageId,ClassId,EncodedPixels\n"


@pytest.fixture
def steel(one):
    for name in "abc":
        one.picture(f"train_images/{name}.jpg", (256, 1600))
    return one


def test_severstals_older_table_has_a_line_for_each_class(steel):
    rows = "".join(
        f"{name}.jpg_{number}," + "1 2 300 1" * (name == "b" and number == 4) + "\n"
        for name in "abc"
        for number in range(1, 5)
    )
    steel.write("train.csv", "ImageId_ClassId,EncodedPixels\n" + rows)
    assert kinds(steel) == [("a.jpg", "good"), ("b.jpg", "class 4"), ("c.jpg", "good")]
    mask = read_sample(read_dataset(steel.root)[1])[1].numpy()
    assert list(zip(*np.nonzero(mask), strict=True)) == [(0, 0), (1, 0), (43, 1)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("b.jpg,1,10", "line 3: EncodedPixels is '10'"),
        ("b.jpg,1,10 x", "line 3: EncodedPixels is '10 x'"),
        ("b.jpg,1,0 5", "line 3: the run of 5 pixels from 0 on"),
        ("b.jpg,1,409600 2", "line 3: the run of 2 pixels from 409600 on"),
        ("b.jpg,1,10 5 12 5", "line 3: the run of 5 pixels from 12 on overlaps another"),
        ("b.jpg,1,10 0", "line 3: the run of 0 pixels"),
        ("b.jpg,1,9" + "9" * 30 + " 1", "the run of 1 pixels"),
        ("b.jpg,x,10 5", "line 3: the class 'x' is no number"),
        ("b.jpg,,10 5", "line 3: the class '' is no number"),
        ("gone.jpg,1,10 5", "line 3: the image 'gone.jpg' is not in train_images"),
        ("b.jpg,2,1 1\nb.jpg,2,3 1", "line 4: class 2 of b.jpg stands in two lines"),
    ],
)
def test_a_line_of_severstals_table_that_cannot_be_used(steel, row, words):
    steel.write("train.csv", f"{STEEL}a.jpg,3,1 3\n{row}\n")
    found = dict(kinds(steel))
    assert found["a.jpg"] == "class 3" and found["c.jpg"] == "good"
    assert ("b.jpg" in found) == ("gone" in row)
    assert words in problems(steel)["train.csv"]


def test_severstals_table_by_excel_and_in_another_encoding(steel):
    steel.write("train.csv", "\ufeff" + STEEL.replace(",", ";") + "a.jpg;3;1 3\n")
    assert ("a.jpg", "class 3") in kinds(steel)
    steel.write("train.csv", STEEL.encode() + b"\xe4.jpg,3,1 3\n")
    with refused(got="train.csv: line 2 is no UTF-8 text"):
        read_dataset(steel.root)
    steel.write("train.csv", STEEL + "a.jpg,3,1 3\nb.jpg,2,1 1,more,cells\n")
    with refused(got="train.csv: line 3 has 5 cells, the header 3"):
        read_dataset(steel.root)
    steel.write("train.csv", STEEL + 'a.jpg,3,"1 3\nb.jpg,1,1 3\n')
    assert "line 3: EncodedPixels is" in problems(steel)["train.csv"] and ("a.jpg", "class 3") not in kinds(steel)


def test_severstals_test_images_are_named(steel):
    steel.write("train.csv", STEEL)
    steel.picture("test_images/t.jpg")
    assert problems(steel) == {"test_images": "1 images without published masks; left out"}


# Real-IAD


def realiad(one, edit=lambda content: content, where="realiad_jsons/realiad_jsons/audiojack.json"):
    EXAMPLES["real_iad"](one)
    path = one.root / "realiad_jsons/realiad_jsons/audiojack.json"
    content = json.loads(path.read_text())
    path.unlink()
    edit(content)
    one.write(where, json.dumps(content))


def test_real_iad_beside_its_images(one):
    realiad(one, where="audiojack.json")
    (one.root / "realiad_1024/audiojack").rename(one.root / "audiojack")
    assert sorted(s.type for s in read_dataset(one.root)) == ["AK", "good", "good"]


def test_real_iad_in_several_sizes_and_splits(one):
    realiad(one)
    one.write(
        "realiad_jsons/realiad_jsons_sv/audiojack.json",
        (one.root / "realiad_jsons/realiad_jsons/audiojack.json").read_bytes(),
    )
    one.picture("realiad_256/audiojack/OK/S0001/audiojack_0001_OK_C1.jpg")
    assert all(sample.name.startswith("realiad_1024/") for sample in read_dataset(one.root))
    assert problems(one) == {
        "realiad_jsons/realiad_jsons_sv": "another split than realiad_jsons/; left out",
        "realiad_256": "the same images as realiad_1024, smaller; left out",
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "it is no object with image_path and anomaly_class"),
        ({"image_path": 3, "anomaly_class": "AK"}, "it is no object with"),
        ({"image_path": "OK/none.jpg", "anomaly_class": "AK"}, "the image 'OK/none.jpg' is not there"),
        ({"image_path": "../../../etc/passwd", "anomaly_class": "AK"}, "is not there"),
        ({"image_path": "a" * 300 + ".jpg", "anomaly_class": "AK"}, "is not there"),
        ({"image_path": "a/" * 3000 + "b.jpg", "anomaly_class": "AK"}, "is not there"),
        ({"image_path": "\ud800.jpg", "anomaly_class": "AK"}, "is not there"),
        (
            {"image_path": "OK/S0001/audiojack_0001_OK_C1.jpg", "anomaly_class": "AK", "mask_path": "x.png"},
            "the mask 'x.png' is not there",
        ),
        (
            {"image_path": "OK/S0001/audiojack_0001_OK_C1.jpg", "anomaly_class": "AK", "mask_path": [1]},
            "mask_path is [1]",
        ),
    ],
)
def test_an_entry_of_real_iad_that_cannot_be_used(one, value, words):
    realiad(one, lambda content: content["test"].append(value))
    assert len(read_dataset(one.root)) == 3
    (what,) = problems(one).values()
    assert what.startswith("test[2]: ") and words in what


def test_a_damaged_list_of_real_iad_is_refused(one):
    realiad(one)
    path = one.root / "realiad_jsons/realiad_jsons/audiojack.json"
    path.write_bytes(path.read_bytes()[:-5])
    with refused(got="audiojack.json: no readable JSON"):
        read_dataset(one.root)
    path.write_text('{"train": 3, "test": [{"image_path": "a", "anomaly_class": "OK"}]}')
    with refused(got="audiojack.json: 'train' is no list"):
        read_dataset(one.root)


# VisA's types


def test_visas_types_whose_regions_the_mask_does_not_separate(one):
    EXAMPLES["visa"](one)
    both = np.zeros(SIZE, np.uint8)
    both[OTHER], both[SQUARE] = 1, 1
    one.save("candle/Data/Masks/Anomaly/002.png", both)
    assert ("002.JPG", "wax missing + melt") in kinds(one)
    assert any("1 images show several types" in note for note in find_dataset(one.root).notes)


def test_visas_types_in_one_objects_folder_of_another_name(one):
    EXAMPLES["visa"](one)
    (one.root / "candle").rename(one.root / "wax")
    samples = read_dataset(one.root / "wax")
    assert sorted(sample.type for sample in samples) == ["good", "melt", "melt", "wax missing", "wax missing"]
    assert {sample.object for sample in samples} == {"wax"}


def test_visas_images_that_are_not_in_the_list_stay_anomalies(one):
    EXAMPLES["visa"](one)
    rows = (one.root / "candle/image_anno.csv").read_text().splitlines()
    one.write("candle/image_anno.csv", "\n".join([*rows[:3], ",melt,", *rows[5:]]))
    assert ("001.JPG", "anomaly") in kinds(one)
    assert problems(one) == {"candle/image_anno.csv": "line 4 names no image or no label"}
    one.write("candle/image_anno.csv", "\n".join(rows).encode("utf-16"))
    assert sorted(kinds(one))[0] == ("000.JPG", "melt")
    one.write("candle/image_anno.csv", "\n".join(rows).encode() + b"\xe9")
    with refused(got="image_anno.csv: line 5 is no UTF-8 text"):
        read_dataset(one.root)


# The magnetic-tile set, KolektorSDD and KolektorSDD2


def test_magnetic_tiles_that_lack_a_mask_or_an_image(one):
    EXAMPLES["magnetic_tile"](one)
    one.mask("tiles/MT_Crack/Imgs/exp9.png", SQUARE)
    what = "a mask for no image; the images are called exp1_num_2.jpg, ..."
    assert problems(one) == {"tiles/MT_Crack/Imgs/exp9.png": what}
    one.picture("tiles/MT_Crack/Imgs/exp8.jpg")
    with refused(got="1 defect images have no ground truth: tiles/MT_Crack/Imgs/exp8.jpg"):
        read_dataset(one.root)


def test_kolektors_folders_are_groups_by_a_pattern(one):
    EXAMPLES["kolektor"](one)
    groups = groups_from_pattern(read_dataset(one.root), r"kos\d+")
    assert groups["electric/kos01/Part0.jpg"] == groups["electric/kos01/Part1.jpg"] == "kos01"
    assert groups["electric/kos02/Part0.jpg"] == "kos02"
    assert any(r"the file name pattern kos\d+ groups them" in note for note in find_dataset(one.root).notes)


def test_kolektor_surfaces_without_a_label_and_with_a_damaged_one(one):
    EXAMPLES["kolektor"](one)
    one.write("electric/kos01/Part1_label.bmp", b"BM")
    with refused(got="kos01/Part1_label.bmp: not a readable image"):
        read_dataset(one.root)
    (one.root / "electric/kos01/Part1_label.bmp").unlink()
    with refused(got="1 defect images have no ground truth: electric/kos01/Part1.jpg"):
        read_dataset(one.root)


def test_other_images_with_masks_of_a_like_name_are_not_kolektors(one):
    EXAMPLES["kolektor2"](one)
    one.picture("surface/train/more.png")
    assert find_dataset(one.root).layout.name == "stems"


def test_kolektor_2_has_two_stray_copies(one):
    EXAMPLES["kolektor2"](one)
    one.picture("surface/train/10301 (copy).png")
    one.mask("surface/train/10301_GT (copy).png", SQUARE)
    assert len(read_dataset(one.root)) == 4
    assert problems(one) == {
        "surface/train/10301 (copy).png": "a copy of another file; left out",
        "surface/train/10301_GT (copy).png": "a copy of another file; left out",
    }


def test_roboflows_masks_in_a_lossy_file_are_refused(one):
    EXAMPLES["roboflow"](one)
    one.picture("cast/train/b.jpg")
    one.mask("cast/train/b_mask.jpg", SQUARE, value=1)
    assert problems(one) == {"cast/train/b_mask.jpg": "a lossy file, which does not keep class numbers"}
    assert "b.jpg" not in [sample.image.name for sample in find_dataset(one.root).samples]


def test_roboflows_value_0_is_the_background(one):
    EXAMPLES["roboflow"](one)
    one.write("cast/test/_classes.csv", "Pixel Value, Class\n0, crack\n2, hole\n")
    assert problems(one)["cast/test/_classes.csv"].startswith("value 0 is named 'crack', but it is the background's")


# Names, cases and words


@pytest.mark.parametrize("layout", ["mvtec_ad2", "mvtec_3d", "magnetic_tile", "real_iad"])
def test_folders_of_normal_images_by_other_words(one, layout):
    EXAMPLES[layout](one)
    before = sorted((sample.type, sample.image.name) for sample in find_dataset(one.root).samples)
    for path in sorted(one.root.rglob("*"), reverse=True):
        if path.is_dir() and path.name in ("good", "MT_Free"):
            path.rename(path.with_name("Normal" if path.name == "good" else "MT_OK"))
    for path in one.root.rglob("*.json"):
        path.write_text(path.read_text().replace('"anomaly_class": "OK"', '"anomaly_class": "Good"'))
    dataset = find_dataset(one.root)
    assert sorted((sample.type, sample.image.name) for sample in dataset.samples) == before
    assert not [problem for problem in dataset.problems if problem.unusable]


@pytest.mark.parametrize(("layout", "end"), [("dagm", "_LaBeL"), ("kolektor", "_Label"), ("folder", "_MASK")])
def test_masks_whose_end_is_in_another_case(one, layout, end):
    EXAMPLES[layout](one)
    before = kinds(one)
    for path in sorted(one.root.rglob("*")):
        if path.stem.lower().endswith("_label") or path.parent.parent.name == "mask":
            path.rename(path.with_stem(path.stem.removesuffix("_label") + end))
    assert kinds(one) == before


def test_two_masks_or_two_images_of_one_name_are_refused(one):
    EXAMPLES["folder"](one)
    one.mask("nut/mask/crack/000_mask.png", OTHER)
    with refused(got="two masks for 000.*: 000.png and 000_mask.png; keep one"):
        read_dataset(one.root)
    (one.root / "nut/mask/crack/000_mask.png").unlink()
    assert not problems(one)
    (picture,) = (path for path in (one.root / "nut/crack").iterdir() if path.stem == "000")
    one.picture(f"nut/crack/000{'.bmp' if picture.suffix != '.bmp' else '.png'}")
    with refused(got="a second image of one name, beside 000"):
        read_dataset(one.root)


def test_real_iads_image_that_is_listed_twice_is_refused(one):
    EXAMPLES["real_iad"](one)
    path = next(path for path in one.root.rglob("*.json") if "anomaly_class" in path.read_text())
    content = json.loads(path.read_text())
    content["test"].append(content["train"][0])
    path.write_text(json.dumps(content))
    where = f"test[{len(content['test']) - 1}]"
    assert problems(one)[path.relative_to(one.root).as_posix()].startswith(f"{where}: the image ")
    with refused(got=r"is train\[0\] too; list it once"):
        read_dataset(one.root)


def test_visas_types_of_names_in_another_case(one):
    EXAMPLES["visa"](one)
    before = kinds(one)
    for path in one.root.rglob("image_anno.csv"):
        path.write_text(path.read_text().replace(".JPG", ".jpg"))
    assert kinds(one) == before
