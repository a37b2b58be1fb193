"""The study: cells are made once, fail alone, and take the same normals and masks in every arm."""

import json
import shutil
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.choices import DEFECTS
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.pairs import read_manifest
from anomaly_synthesis.datasets.split import load_split, make_split, save_split
from anomaly_synthesis.evaluation import cell as module
from anomaly_synthesis.evaluation.cases import chosen
from anomaly_synthesis.evaluation.report import write_report
from anomaly_synthesis.evaluation.segmenter.testing import Seen, Tested
from anomaly_synthesis.evaluation.segmenter.training import Training
from anomaly_synthesis.evaluation.study import Study
from anomaly_synthesis.evaluation.study import run_study as started_study
from anomaly_synthesis.images.pictures import read_picture
from anomaly_synthesis.modules import fast, stage
from anomaly_synthesis.modules.adapter_file import save_adapter
from anomaly_synthesis.modules.base_file import base_fit, file_digest, save_base
from anomaly_synthesis.modules.compact_ldm import CompactLDM, CompactLDMConfig
from anomaly_synthesis.modules.fast import FastModules, to_adapter
from anomaly_synthesis.synthesis.pair import Settings

from .refusals import refused

QUICK = Training(crop=64, batch=2, steps=2, evaluate_every=2)


def run_study(study, out, **more):
    return list(started_study(study, out, **more))


@pytest.fixture(scope="module")
def split_file(samples, tmp_path_factory):
    path = tmp_path_factory.mktemp("split") / "split.json"
    save_split(make_split(samples, {sample.name: sample.name for sample in samples}, share=0.5), path)
    return path


@pytest.fixture
def study(surfaces, split_file):
    def make(*methods, **changes):
        changes = {"networks": ("small_unet",), "seeds": 1, "per_type": 1, "training": QUICK} | changes
        return Study(**{"data": str(surfaces), "split": str(split_file), "methods": methods} | changes)

    return make


@pytest.mark.slow
def test_cells_are_made_once_and_hold_what_the_report_needs(study, tmp_path, monkeypatch):
    cells = run_study(study("real-only", "cutpaste"), tmp_path / "out")
    assert [cell["method"] for cell in cells] == ["real-only", "cutpaste"] and not any("error" in c for c in cells)
    assert set(cells[0]["types"]) == {
        "brushed_metal/scratch",
        "brushed_metal/pit",
        "brushed_metal/stain",
        "cast_grain/pit",
        "cast_grain/crack",
        "cast_grain/stain",
    }
    assert cells[0]["training"]["real"] == cells[1]["training"]["real"] == 4
    assert cells[0]["training"]["synthetic"] == 0 and cells[1]["training"]["synthetic"] == 8
    for cell in cells:
        assert sum(image["anomalous"] for image in cell["images"]) > 0 and cell["mean"]["auroc"] > 0
        assert (tmp_path / "out" / "cells" / cell["method"] / "small_unet" / "0.png").is_file()
    assert not list((tmp_path / "out").rglob("*.state"))
    assert cells[0]["pairs"] == 0 and cells[1]["pairs"] == 6 and not cells[0]["contrasts"]["pairs"]
    assert set(cells[1]["contrasts"]["pairs"]) == set(cells[1]["contrasts"]["train"]) == set(cells[1]["types"])
    monkeypatch.setattr(module, "train_segmenter", None)  # nothing is trained again
    assert run_study(study("cutpaste", "real-only"), tmp_path / "out") == cells[::-1]


@pytest.mark.slow
def test_every_group_trains_and_a_further_training_holds_some_out(study, samples, tmp_path):
    save_split(make_split(samples, {s.name: s.name for s in samples}, share=0.7), tmp_path / "split.json")
    arms = study("real-only", "cutpaste", seeds=2, split=str(tmp_path / "split.json"))
    cells = run_study(arms, tmp_path / "out")
    assert not any(cell["training"]["curve"] or "validation" in cell for cell in cells)
    again = run_study(arms, tmp_path / "out", validated=True)
    assert all([step for step, _ in cell["validation"]["curve"]] == [2] for cell in again)
    assert all(cell["validation"]["validation"] for cell in again)
    assert [{**cell, "validation": None} for cell in again] == [{**cell, "validation": None} for cell in cells]
    assert not list((tmp_path / "out").rglob("*.state"))


def test_with_one_group_per_type_nothing_is_validated_and_the_cell_stays(study, samples, tmp_path, caplog):
    save_split(make_split(samples, {s.name: s.name for s in samples}, share=0.3), tmp_path / "split.json")
    arms = study("real-only", split=str(tmp_path / "split.json"))
    (cell,) = run_study(arms, tmp_path / "out", validated=True)
    assert "error" not in cell and "validation" not in cell and "with a larger share" in caplog.text


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
                theirs["object"],
                theirs["type"],
                theirs["seed"],
                theirs["normal_source"],
            )
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
    monkeypatch.setattr(module, "train_segmenter", real)
    assert "overall" in run_study(study("draem", "real-only"), tmp_path / "out")[0]


@pytest.mark.parametrize(
    ("methods", "changes", "words"),
    [
        (("magic",), {}, "unknown method 'magic'"),
        (("aias@tempo=3",), {}, "'aias@tempo=3': it sets 'tempo'; accepted is preset, steps"),
        (("aias@steps=few",), {}, "sets steps to 'few'; accepted is a value of type int"),
        (("aias@aware=yes",), {}, "sets aware to 'yes'; accepted is a value of type bool"),
        (("aias@preset=slow",), {}, "^preset: 'slow'"),
        (("cutpaste@steps=3",), {}, "cutpaste does not sample"),
        (("real-only",), {"networks": ("vgg",)}, "networks: 'vgg'; accepted is one of unet"),
        (("aias",), {}, "base: none for aias, .*one that was trained under this split; give the base"),
        (("real-only",), {"seeds": 0}, "seeds: 0; accepted is 1 or more"),
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
    with refused(subject="out$", got="holds another study", remedy="another output"):
        run_study(study("real-only"), tmp_path / "out")


def test_a_base_of_another_split_is_refused(study, tmp_path, tiny_base):
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": "other"})
    with refused(subject="base.safetensors$", got="not trained under this split"):
        run_study(study("aias", base=str(tmp_path / "base.safetensors")), tmp_path / "out")


@pytest.fixture
def few(surfaces, tmp_path):
    """The surfaces with a single crack, and their split, which cannot hold a crack back: the changes to a study."""
    shutil.copytree(surfaces, tmp_path / "few")
    for path in (tmp_path / "few" / "cast_grain").rglob("crack/00[12]*.png"):
        path.unlink()
    samples = read_mvtec(tmp_path / "few")
    split = make_split(samples, {sample.name: sample.name for sample in samples}, share=0.5)
    save_split(split, tmp_path / "few.json")
    return {"data": str(tmp_path / "few"), "split": str(tmp_path / "few.json")}, split.digest


def test_a_base_may_join_a_study_and_a_type_of_one_image_goes_through(few, tmp_path, tiny_base, study):
    """The type with one image trains; none of it is held back, so it has no line."""
    changes, digest = few[0] | {"types": ("pit", "crack")}, few[1]
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": digest})
    run_study(replace(study("copy-paste"), **changes), tmp_path / "out")
    both = replace(study("copy-paste", "aias", base=str(tmp_path / "base.safetensors")), **changes)
    cells = run_study(both, tmp_path / "out")
    assert [cell["method"] for cell in cells] == ["copy-paste", "aias"] and "error" not in cells[1]
    assert set(cells[1]["types"]) == {"brushed_metal/pit", "cast_grain/pit"}
    crack = cells[1]["statistics"]["cast_grain/crack"]
    assert crack["train"]["diversity"] is None and crack["held_back"]["nearest"] is None
    assert crack["train"]["visible"] is not None


def test_the_fast_methods_take_an_adapter_of_the_base(few, tmp_path, tiny_base, study):
    changes, digest = few[0] | {"types": ("pit",)}, few[1]
    base, adapter = tmp_path / "base.safetensors", tmp_path / "adapter.safetensors"
    save_base(base, tiny_base, {"split": digest})
    modules = FastModules([("brushed_metal", "pit"), ("cast_grain", "pit")], 4, tiny_base.config.token_channels)
    save_adapter(adapter, to_adapter(modules, base_fit(tiny_base, file_digest(base)), digest, {}))
    arms = study("fast", "fast-no-farm", base=str(base), settings=Settings(steps=2))
    with refused(subject="^fast$", got="no adapter of method fast, .* base aware", remedy="give such an adapter"):
        run_study(replace(arms, **changes), tmp_path / "out")
    unaware = replace(study("fast@aware=false", base=str(base), adapters=(str(adapter),)), **changes)
    with refused(subject="^fast@aware=false$", got="no adapter of method fast, .* base unaware"):
        run_study(unaware, tmp_path / "out")
    with refused(subject="adapter.safetensors$", got="trained the same way", remedy="give one of them"):
        run_study(replace(arms, adapters=(str(adapter), str(adapter)), **changes), tmp_path / "out")
    cells = run_study(replace(arms, adapters=(str(adapter),), **changes), tmp_path / "out")
    assert [cell.get("error") for cell in cells] == [None, None]
    images = [
        read_picture(tmp_path / "out" / "pairs" / name / "0" / "cast_grain/test/pit/000001.png").pixels
        for name in ("fast", "fast-no-farm")
    ]
    assert (images[0] != images[1]).any()


def test_stage_and_both_together_take_their_own_adapters(few, tmp_path, tiny_base, study):
    changes, digest = few[0] | {"types": ("pit",)}, few[1]
    base, types = tmp_path / "base.safetensors", [("brushed_metal", "pit"), ("cast_grain", "pit")]
    save_base(base, tiny_base, {"split": digest})
    made = {"fast": fast.FastModules(types, 4, 32), "stage": stage.StageModules(types, 4, 32, widths=(16,))}
    torch.nn.init.normal_(made["stage"].aware.conv[-1].weight)
    files = {}
    for (name, modules), method in zip(made.items(), (fast, stage), strict=True):
        files[name] = str(tmp_path / f"{name}.safetensors")
        save_adapter(files[name], method.to_adapter(modules, base_fit(tiny_base, file_digest(base)), digest, {}))
    names = ("fast", "stage", "stage@graded=baseline", "fast-and-stage")
    arms = replace(study(*names, base=str(base), settings=Settings(steps=10)), **changes)
    with refused(subject="^fast-and-stage$", got="no adapter of method stage"):
        run_study(replace(arms, methods=names[3:], adapters=(files["fast"],)), tmp_path / "out")
    with refused(subject="stage.safetensors$", got="both STAGE's"):
        run_study(replace(arms, adapters=(files["fast"], files["stage"], files["stage"])), tmp_path / "out")
    cells = run_study(replace(arms, adapters=tuple(files.values())), tmp_path / "out")
    assert not any("error" in cell for cell in cells)
    pairs = [tmp_path / "out" / "pairs" / name / "0" for name in names]
    images = [read_picture(folder / "cast_grain/test/pit/000001.png").pixels for folder in pairs]
    assert all((one != other).any() for one, other in combinations(images, 2))
    digests = {name: file_digest(path) for name, path in files.items()}
    used = [json.loads((folder / "run.json").read_text())["adapter"] for folder in pairs]
    assert used == [digests["fast"], digests["stage"], digests["stage"], f"{digests['fast']}+{digests['stage']}"]


def test_a_method_may_have_other_sampling_settings(few, tmp_path, tiny_base, study):
    changes, digest = few[0] | {"types": ("pit",)}, few[1]
    save_base(tmp_path / "base.safetensors", tiny_base, {"split": digest})
    names = ("aias@steps=2", "aias@steps=2,aware=true", "aias@steps=2,aware=false", "aias@steps=3,farm_until=40")
    cells = run_study(replace(study(*names, base=str(tmp_path / "base.safetensors")), **changes), tmp_path / "out")
    assert [cell.get("error") for cell in cells] == [None] * 4
    first, same, unaware, longer = (
        read_picture(tmp_path / f"out/pairs/{name}/0/cast_grain/test/pit/000001.png").pixels for name in names
    )
    assert (first == same).all() and (first != unaware).any() and (first != longer).any()


def test_without_a_held_back_defect_nothing_is_trained(few, study, tmp_path):
    with refused(got="none of the . held-back images has a defect", remedy="a smaller share"):
        run_study(replace(study("real-only", types=("crack",)), **few[0]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_cases_show_best_and_worst_of_every_type_and_no_group_twice():
    def seen(name, group, type, hits, false, anomalous=100):
        return Seen(name, group, "o", type, hits, false, anomalous, hits, false)

    images = [seen(f"c{i}", f"g{i // 2}", "crack", 10 * i, 0) for i in range(10)]
    images += [seen("p", "h", "pit", 5, 5), seen("quiet", "i", "good", 0, 0, 0), seen("loud", "j", "good", 0, 9, 0)]
    tested = Tested({("o", "crack"): {}, ("o", "pit"): {}, ("o", "good"): {}}, tuple(images))
    assert [one.name for one, _ in chosen(tested)] == ["c9", "c7", "c2", "c0", "p", "loud"]
    assert chosen(tested)[0][1] == "crack, IoU 90, 100 px"


@pytest.mark.slow
def test_few_real_defects_and_none(study, tmp_path):
    """Without a real defect there are only the methods that need none, and their masks are drawn."""
    arms = study("real-only", "drawn", "copy-paste", shots=(0, 1), training=replace(QUICK, folds=2))
    cells = list(run_study(arms, tmp_path / "out"))
    assert [(cell["shots"], cell["method"]) for cell in cells] == [
        (0, "drawn"),
        (1, "real-only"),
        (1, "drawn"),
        (1, "copy-paste"),
    ]
    assert not any("error" in cell for cell in cells)
    assert [cell["real_defects"] for cell in cells] == [0, 6, 6, 6]  # one of each of six types
    assert cells[0]["threshold"] is None  # no fold can choose one
    lines = read_manifest(tmp_path / "out/pairs/drawn/shots-0/0")
    assert all(line["mask_source"].startswith("drawn ") and line["refined_mask"] for line in lines)
    again = list(run_study(arms, tmp_path / "out"))
    assert again == cells
    text = write_report(cells, tmp_path / "out")
    assert text.index("Without any real defect") < text.index("All values are in percent")
    assert "| AP with real defects per type | 0 | 1 |" in text


@pytest.mark.slow
def test_pasted_defects_are_redrawn_by_a_base_of_drawn_surfaces(study, tmp_path):
    base = CompactLDM(CompactLDMConfig((("any", "good"), *(("any", type) for type in DEFECTS)), 64, edits=True))
    save_base(tmp_path / "general.safetensors", base, {"drawn": 8})
    arms = study(
        "paste-and-redraw", "aias", base=str(tmp_path / "general.safetensors"), shots=(1,), settings=Settings(steps=2)
    )
    cells = list(run_study(replace(arms, training=replace(QUICK, folds=0)), tmp_path / "out"))
    assert not any("error" in cell for cell in cells), cells
    pasted, drawn = (read_manifest(tmp_path / f"out/pairs/{name}/shots-1/0") for name in ("paste-and-redraw", "aias"))
    assert [line["mask_source"] for line in pasted] == [line["mask_source"] for line in drawn]
    own = CompactLDM(CompactLDMConfig((("o", "good"), ("o", "crack")), 64))
    save_base(tmp_path / "own.safetensors", own, {"split": load_split(arms.split).digest})
    with refused(subject="base", got="all defects of the training part"):
        list(run_study(replace(arms, base=str(tmp_path / "own.safetensors")), tmp_path / "other"))


@pytest.mark.slow
def test_networks_that_judge_the_pixels_of_pairs_are_shared_by_all_methods(study, tmp_path):
    data, split = tmp_path / "data", tmp_path / "split.json"
    assert cli.main(["surfaces", "--out", str(data), "--normals", "4", "--defects", "4", "--size", "64"]) == 0
    assert cli.main(["split", "--data", str(data), "--out", str(split), "--ungrouped", "--share", "0.5"]) == 0
    arms = study("drawn", "cutpaste", data=str(data), split=str(split), types=("crack", "missing"))
    cells = list(run_study(replace(arms, training=replace(QUICK, folds=2, filtered=0.2)), tmp_path / "out"))
    assert not any("error" in cell for cell in cells), cells
    assert all(cell["threshold"] is not None for cell in cells)
    states = sorted(path.name for path in (tmp_path / "out/filter/small_unet").iterdir())
    assert states == ["0-0.state", "0-1.state"]
