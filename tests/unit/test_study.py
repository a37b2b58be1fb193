"""The study: cells are made once, fail alone, and take the same normals and masks in every arm."""

import json

import pytest
from anomaly_synthesis.datasets.pairs import read_manifest
from anomaly_synthesis.datasets.split import make_split, save_split
from anomaly_synthesis.evaluation import study as module
from anomaly_synthesis.evaluation.report import report
from anomaly_synthesis.evaluation.segment import Training
from anomaly_synthesis.evaluation.study import Study, run_study

pytest.importorskip("sklearn")
QUICK = Training(crop=64, batch=2, max_steps=2, evaluate_every=2, patience=0)


@pytest.fixture(scope="module")
def split_file(samples, tmp_path_factory):
    path = tmp_path_factory.mktemp("split") / "split.json"
    save_split(make_split(samples, {sample.name: sample.name for sample in samples}, share=0.5), path)
    return path


@pytest.fixture
def study(surfaces, split_file):
    def make(*methods, **changes):
        changes = {"seeds": 1, "per_type": 1, "training": QUICK} | changes
        return Study(str(surfaces), str(split_file), methods, **changes)

    return make


def test_cells_are_made_once_and_tell_what_the_report_needs(study, tmp_path, monkeypatch):
    cells = run_study(study("real-only", "cutpaste"), tmp_path / "out")
    assert [cell["method"] for cell in cells] == ["real-only", "cutpaste"] and not any("error" in c for c in cells)
    assert set(cells[0]["types"]) == {"brushed_metal/scratch", "brushed_metal/pit", "brushed_metal/stain",
                                      "cast_grain/pit", "cast_grain/crack", "cast_grain/stain"}  # fmt: skip
    assert cells[0]["training"]["real"] == cells[1]["training"]["real"] == 4
    assert cells[0]["training"]["synthetic"] == 0 and cells[1]["training"]["synthetic"] == 4
    text = report(cells)
    assert "| cutpaste | 1 |" in text and "IoU against" in text
    monkeypatch.setattr(module, "train_segmenter", None)  # nothing is trained again
    assert run_study(study("cutpaste", "real-only"), tmp_path / "out") == cells[::-1]


def test_every_arm_fills_the_same_masks_of_the_same_normals(study, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("not now")

    monkeypatch.setattr(module, "train_segmenter", refuse)
    run_study(study("cutpaste", "cutpaste-scar", "draem", "copy-paste"), tmp_path / "out")
    folders = [tmp_path / "out" / "pairs" / method / "0" for method in ("cutpaste", "draem", "copy-paste")]
    first, *others = [read_manifest(folder) for folder in folders]
    for records, folder in zip(others, folders[1:], strict=True):
        for ours, theirs in zip(records, first, strict=True):
            assert (ours["object"], ours["type"], ours["seed"], ours["normal_source"]) == (
                theirs["object"], theirs["type"], theirs["seed"], theirs["normal_source"]
            )  # fmt: skip
            assert (folder / ours["mask"]).read_bytes() == (folders[0] / theirs["mask"]).read_bytes()
            assert (folder / ours["image"]).read_bytes() != (folders[0] / theirs["image"]).read_bytes()


def test_a_cell_that_fails_holds_its_error_and_is_tried_again(study, tmp_path, monkeypatch):
    real = module.train_segmenter

    def fail_on_pairs(network, train, synthetic, *rest, **more):
        if synthetic:
            raise ValueError("the loss is nan")
        return real(network, train, synthetic, *rest, **more)

    monkeypatch.setattr(module, "train_segmenter", fail_on_pairs)
    cells = run_study(study("draem", "real-only"), tmp_path / "out")
    assert cells[0]["error"] == "the loss is nan" and "overall" in cells[1]
    assert "draem, small_unet, seed 0: the loss is nan" in report(cells)
    monkeypatch.setattr(module, "train_segmenter", real)
    assert "overall" in run_study(study("draem", "real-only"), tmp_path / "out")[0]


@pytest.mark.parametrize(
    ("methods", "changes", "words"),
    [
        (("magic",), {}, "unknown method 'magic'"),
        (("real-only",), {"networks": ("vgg",)}, "unknown network 'vgg'"),
        (("aias",), {}, "need a base trained under this split"),
        (("real-only",), {"seeds": 0}, "at least one"),
        (("draem",), {"textures": "no/such/folder"}, "no/such/folder"),
    ],
)
def test_a_study_that_cannot_work_is_refused_before_its_first_cell(study, tmp_path, methods, changes, words):
    with pytest.raises(ValueError, match=words):
        run_study(study(*methods, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_study_does_not_mix_its_cells_in(study, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.json").write_text(json.dumps({"data": "other"}))
    with pytest.raises(ValueError, match="holds another study"):
        run_study(study("real-only"), tmp_path / "out")


def test_a_base_of_another_split_is_refused(study, tmp_path, tiny_base):
    from anomaly_synthesis.modules.base_file import save_base

    save_base(tmp_path / "base.safetensors", tiny_base, {"split": "other"})
    with pytest.raises(ValueError, match="another split"):
        run_study(study("aias", base=str(tmp_path / "base.safetensors")), tmp_path / "out")
