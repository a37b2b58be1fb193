"""Folders of pairs that anyone made: how they are read, what is refused, and how a study judges them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from anomaly_synthesis.datasets.foreign_pairs import check_sources, read_pairs
from anomaly_synthesis.datasets.split import load_split, make_split, part_of, save_split
from anomaly_synthesis.evaluation.methods import pair_folders
from anomaly_synthesis.evaluation.pixel_filter import without
from anomaly_synthesis.evaluation.report import write_report
from anomaly_synthesis.evaluation.settings import Study, Training
from anomaly_synthesis.evaluation.study import cells_of, prepare, run_study

from .refusals import refused


def kinds(root):
    return {(one.object, one.type, one.name, one.mask.name) for one in read_pairs(root).samples}


ARRANGEMENTS = {
    "mvtec": [("nut/test/bent/000.png", "nut/ground_truth/bent/000_mask.png", "nut", "bent")],
    "anomalydiffusion": [("nut/bent/image/0.jpg", "nut/bent/mask/0.jpg", "nut", "bent")],
    "seas": [("nut/bent/image/000.png", "nut/bent/mask/000.png", "nut", "bent")],
    "anomalygen data": [("nut/anomaly_image/bent/a.png", "nut/mask/bent/a_mask.png", "nut", "bent")],
    "anomaly_mask": [("nut/anomaly_image/bent/a.png", "nut/anomaly_mask/bent/a.png", "nut", "bent")],
    "flat": [("nut/anomaly_image/a.png", "nut/anomaly_mask/a.png", "nut", "damaged")],
    "anomalygen output": [
        ("reconstructed_image/Nut+bent_pin_00000.png", "original_mask/Nut+bent_pin_00000.png", "Nut", "bent_pin")
    ],
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_every_arrangement_is_read_with_object_and_type(name, put, spot, tmp_path):
    for image, mask, *_ in ARRANGEMENTS[name]:
        put(f"them/{image}")
        put(f"them/{mask}", spot())
    for beside in ("ori", "recon", "image-mask"):
        put(f"them/nut/bent/{beside}/0.png") if name == "anomalydiffusion" else None
    expected = {(object, type, image, mask.split("/")[-1]) for image, mask, object, type in ARRANGEMENTS[name]}
    assert kinds(tmp_path / "them") == expected


def test_one_object_and_one_type_may_be_given_alone(put, spot, tmp_path):
    put("them/nut/bent/image/0.png")
    put("them/nut/bent/mask/0.png", spot())
    for folder, image in (("nut", "bent/image/0.png"), ("nut/bent", "image/0.png")):
        assert kinds(tmp_path / "them" / folder) == {("nut", "bent", image, "0.png")}


def manifest(root, **line):
    (root / "manifest.jsonl").write_text(json.dumps({"index": 0, "object": "nut", "type": "bent", **line}) + "\n")


def test_our_manifest_names_pairs_and_sources_and_pairs_deleted_by_hand_are_left_out(put, spot, tmp_path):
    put("ours/images/0.png")
    put("ours/masks/0.png", spot())
    manifest(tmp_path / "ours", image="images/0.png", mask="masks/0.png", normal_source="a.png", mask_source="b.png")
    found = read_pairs(tmp_path / "ours")
    assert [(one.object, one.type, one.mask.name) for one in found.samples] == [("nut", "bent", "0.png")]
    assert found.sources == {"images/0.png": ("a.png", "b.png")} and found.size == (12, 16)
    (tmp_path / "ours/masks/0.png").unlink()
    with refused(got="images/0.png: an image without a mask"):
        read_pairs(tmp_path / "ours")
    (tmp_path / "ours/images/0.png").unlink()
    with refused(got="no pair in it"):
        read_pairs(tmp_path / "ours")
    manifest(tmp_path / "ours", image="images/0.png")
    with refused(subject="manifest.jsonl$", got="line 1 does not name"):
        read_pairs(tmp_path / "ours")


def test_what_does_not_match_is_named(put, spot, tmp_path):
    put("them/nut/bent/image/0.png")
    with refused(got="no known arrangement .*; it holds nut/", accepted="manifest.jsonl; .*<object>/<type>/image"):
        read_pairs(tmp_path / "them")
    put("them/nut/bent/mask/1.png", spot())
    with refused(subject="them$", got="(?s)mask/1.png: a mask for no image.*image/0.png: an image without a mask"):
        read_pairs(tmp_path / "them")
    put("them/nut/bent/mask/0.png", spot(size=(9, 9)))
    put("them/nut/bent/image/1.png")
    with refused(got=r"(?s)1 of 2 pairs cannot be used.*mask/0.png.*9"):
        read_pairs(tmp_path / "them")
    for name in "01":
        put(f"them/nut/bent/mask/{name}.png", np.zeros((12, 16)))
    with refused(got="masks of all 2 pairs are empty"):
        read_pairs(tmp_path / "them")
    notes = []
    put("them/nut/bent/mask/1.png", spot())
    assert (
        len(read_pairs(tmp_path / "them", notes.append).samples) == 1 and "1 of 2 pairs have an empty mask" in notes[0]
    )
    for path in (tmp_path / "them").rglob("*.png"):
        path.unlink()
    with refused(got="no pair in it"):
        read_pairs(tmp_path / "them")
    with refused(got="no such folder"):
        read_pairs(tmp_path / "none")


def test_pairs_made_from_held_back_images_are_refused(put, spot, tmp_path, samples, split):
    held = part_of(split, samples, "held_back")[0]
    put("them/nut/bent/image/0.png")
    put("them/nut/bent/mask/0.png", spot())
    check_sources(read_pairs(tmp_path / "them"), split, split.held_back)
    shutil.copy(held.image, tmp_path / "them/copy.png")  # under any name, in any folder
    with refused(subject="them$", got=f"copy.png has the content of {held.name}", remedy="images that train"):
        check_sources(read_pairs(tmp_path / "them"), split, split.held_back)
    put("ours/images/0.png")
    put("ours/masks/0.png", spot())
    line = {"image": "images/0.png", "mask": "masks/0.png", "normal_source": split.train[0]}
    manifest(tmp_path / "ours", **line, mask_source="drawn crack")
    check_sources(read_pairs(tmp_path / "ours"), split, split.held_back)
    manifest(tmp_path / "ours", **line, mask_source=held.name)
    with refused(got=f"images/0.png was made from {held.name}"):
        check_sources(read_pairs(tmp_path / "ours"), split, split.held_back)


def test_equal_names_alone_are_worth_a_warning(put, spot, tmp_path, split):
    held = next(name for name in split.held_back if "/test/" in name and "/good/" not in name)
    object, _, type, file = held.split("/")
    put(f"them/{held}")
    put(f"them/{object}/ground_truth/{type}/{file}", spot())
    notes = []
    check_sources(read_pairs(tmp_path / "them"), split, split.held_back, notes.append)
    assert len(notes) == 1 and held in notes[0]


def test_folders_have_names_of_their_own(tmp_path):
    odd = tmp_path / "a=b"
    odd.mkdir()
    found = pair_folders(["x/seas", "mine=y/0", str(odd), "x/k=1/z"])
    assert list(found) == ["seas", "mine", "a=b", "z"] and str(found["mine"]) == "y/0"
    for given, words in ((["x/aias"], "the name of a method"), (["Real-Only=x"], "the name of a method")):
        with refused(subject="pairs", got=words, remedy="NAME="):
            pair_folders(given)
    with refused(subject="pairs", got="'fast@steps=3' is the name of a method"):
        pair_folders([str(_made(tmp_path / "fast@steps=3"))])
    with refused(subject="pairs", got="two folders are named 'A'", remedy="NAME=y/A"):
        pair_folders(["x/a", "y/A"])
    for text in ("=x", "name="):
        with refused(subject="pairs", accepted="DIR or NAME=DIR"):
            pair_folders([text])


def _made(folder):
    folder.mkdir()
    return folder


def test_a_fold_leaves_out_the_pairs_of_its_images(put, spot, tmp_path):
    put("ours/images/0.png")
    put("ours/masks/0.png", spot())
    manifest(tmp_path / "ours", image="images/0.png", mask="masks/0.png", normal_source="a.png")
    pairs = read_pairs(tmp_path / "ours").samples
    assert without(pairs, {"g"}, {"a.png": "g"}) == [] and len(without(pairs, {"h"}, {"a.png": "g"})) == 1
    (tmp_path / "ours/manifest.jsonl").unlink()
    assert len(without(pairs, {"g"}, {"a.png": "g"})) == 1


@pytest.fixture
def study(surfaces, samples, tmp_path):
    """A study of the surfaces, whose manifest.csv names an exposure: dim for the third image of every folder."""
    root = tmp_path / "data"
    shutil.copytree(surfaces, root)
    rows = [f"{one.name},{'dim' if one.image.stem.endswith('2') else 'bright'},cam" for one in samples]
    (root / "manifest.csv").write_text("\n".join(["file,exposure,camera", *rows]) + "\n")
    split = make_split(samples, {sample.name: sample.name for sample in samples}, share=0.5)
    save_split(split, tmp_path / "split.json")
    training = Training(crop=64, batch=2, steps=2, folds=0)
    return Study(str(root), str(tmp_path / "split.json"), ("real-only",), ("small_unet",), 1, training=training)


@pytest.fixture
def theirs(put, spot, tmp_path):
    for number in range(2):
        put(f"them/nut/bent/image/{number}.png", size=(96, 96))
        put(f"them/nut/bent/mask/{number}.png", spot(size=(96, 96)))
    return tmp_path / "them"


@pytest.mark.slow
def test_a_study_judges_foreign_pairs_with_and_without_real_defects(study, theirs, tmp_path):
    out = tmp_path / "out"
    first = list(run_study(study, out))
    assert "pairs" not in json.loads((out / "study.json").read_text())
    both = replace(study, pairs=(f"rival={theirs}",), shots=(0, None))
    cells = list(run_study(both, out))
    assert [(cell["method"], cell["shots"], cell["pairs"]) for cell in cells] == [
        ("rival", 0, 2),
        ("real-only", None, 0),
        ("rival", None, 2),
    ]
    assert not any("error" in cell for cell in cells) and cells[1] == first[0]
    assert cells[0]["seconds_per_pair"] is None and cells[0]["real_defects"] == 0
    assert set(cells[0]["statistics"]) == {"nut/bent"}
    text = write_report(cells, out)
    assert "| rival | 1 |" in text and "Transfer test" not in text
    assert list(run_study(study, out)) == first  # a later sitting need not give them
    stored = json.loads((out / "study.json").read_text())["pairs"]
    assert stored["rival"]["folder"] == str(theirs.resolve())
    shutil.copy(theirs / "nut/bent/image/0.png", theirs / "nut/bent/image/1.png")
    with refused(subject="them$", got="cells of 'rival' with other pairs", remedy="NAME=DIR"):
        list(run_study(both, out))


def test_foreign_pairs_are_checked_before_the_first_cell(study, theirs, tmp_path, caplog, put, spot):
    given = replace(study, pairs=(str(theirs),))
    assert [cell.method for cell in cells_of(given, tmp_path)] == ["real-only", "them"]
    data = prepare(given)
    assert len(data.pairs["them"].samples) == 2 and "another size" not in caplog.text
    put("large/nut/bent/image/0.png", size=(400, 300))
    put("large/nut/bent/mask/0.png", spot(size=(400, 300)))
    prepare(replace(study, pairs=(str(tmp_path / "large"),)))
    assert "has 300 x 400 px and one of the data 96 x 96" in caplog.text
    held = load_split(study.split).held_back[0]
    shutil.copy(f"{study.data}/{held}", theirs / "nut/bent/image/0.png")
    with refused(got=f"content of {held}"):
        prepare(given)


def test_a_shift_trains_on_some_conditions_and_tests_on_another(study, tmp_path):
    data, whole = prepare(replace(study, shift="exposure=dim")), prepare(study)
    assert data.held_back and all(one.image.stem.endswith("2") for one in data.held_back)
    assert data.train and not any(one.image.stem.endswith("2") for one in data.train)
    assert {one.name for one in data.train} < {one.name for one in whole.train}
    assert {one.name for one in data.held_back} < {one.name for one in whole.held_back}


@pytest.mark.slow
def test_the_report_says_that_it_is_a_transfer_test(study, tmp_path):
    cells = list(run_study(replace(study, shift="exposure=dim"), tmp_path / "out"))
    assert "error" not in cells[0] and cells[0]["shift"] == "exposure=dim"
    text = write_report(cells, tmp_path / "out")
    assert "Transfer test: trained on images whose exposure is not dim, tested on those where it is." in text
    with refused(got="another study"):
        list(run_study(study, tmp_path / "out"))


def test_a_shift_that_leaves_a_side_without_defects_is_refused_with_the_values(study, theirs):
    with refused(subject="shift", got="exposure=dark leaves 0 test images", accepted=r"bright \(\d+ .*dim \(\d+"):
        prepare(replace(study, shift="exposure=dark"))
    with refused(subject="shift", got="camera=cam leaves 0 training images"):
        prepare(replace(study, shift="camera=cam"))
    with refused(subject="manifest.csv$", got="no column 'part'; it has file, exposure, camera"):
        prepare(replace(study, shift="part=3"))
    for text in ("dim", "=dim", "exposure="):
        with refused(subject="shift", accepted="COLUMN=VALUE"):
            prepare(replace(study, shift=text))


def test_pairs_and_bases_that_know_the_condition_of_the_test_are_refused(study, theirs, samples, tmp_path, tiny_base):
    from anomaly_synthesis.modules.base_file import save_base

    split = load_split(study.split)
    dim = next(name for name in split.train if name.endswith("2.png"))
    manifest(theirs, image="nut/bent/image/0.png", mask="nut/bent/mask/0.png", normal_source=dim)
    given = replace(study, pairs=(str(theirs),))
    prepare(given)
    with refused(got=f"was made from {dim}"):
        prepare(replace(given, shift="exposure=dim"))
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": split.digest})
    sampled = replace(study, methods=("aias",), base=str(tmp_path / "base.safetensors"))
    with refused(subject="shift", got="the base was trained on images of exposure=dim", accepted="drawn surfaces"):
        prepare(replace(sampled, shift="exposure=dim"))
