"""Pairs with STAGE: the six configurations, an adapter of each method and both, and what cannot work together."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from anomaly_synthesis import cli
from anomaly_synthesis.choices import STAGES
from anomaly_synthesis.datasets.pairs import read_manifest
from anomaly_synthesis.datasets.split import save_split
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.modules import fast, stage
from anomaly_synthesis.modules.adapter_file import save_adapter
from anomaly_synthesis.modules.base_file import base_fit, file_digest, save_base
from anomaly_synthesis.modules.fast import FastModules
from anomaly_synthesis.modules.stage import StageModules
from anomaly_synthesis.samplers.stage_presets import stage_preset
from anomaly_synthesis.synthesis.adapters import Adapters, load_adapters
from anomaly_synthesis.synthesis.pair import Job, Settings, make_pairs

from .refusals import refused

SIX = ("baseline", "mga", "mga-aif", "mga-aif-gd", "mga-aif-ema", "stage")
QUICK = Settings(steps=5, guidance=1.0)


@pytest.fixture(scope="module")
def types(tiny_base):
    return [label for label in tiny_base.config.labels if label[1] != "good"]


@pytest.fixture(scope="module")
def heads(types):
    torch.manual_seed(0)
    modules = StageModules(types, 4, 32, count=2, widths=(16, 16)).eval()
    for head in modules.branches:
        torch.nn.init.normal_(head.conv[-1].weight, std=0.1)
    return modules.requires_grad_(False)


@pytest.fixture(scope="module")
def farm(types):
    torch.manual_seed(1)
    return FastModules(types, 4, 32, count=2).eval().requires_grad_(False)


def jobs(types, count=2):
    mask = torch.zeros(80, 70, dtype=torch.bool)
    mask[30:42, 20:31] = True
    grey = torch.full((80, 70, 1), 120, dtype=torch.uint8).numpy()
    return [Job(Picture(grey), mask, *types[0], seed=index) for index in range(count)]


def pixels(base, some, settings, adapter=None):
    return make_pairs(base, some, settings, adapter)[0].picture.pixels.astype(int)


def test_the_presets_switch_the_parts_one_by_one():
    assert STAGES[:6] == SIX
    parts = {name: stage_preset(name) for name in SIX}
    on = {
        name: (heads, options["aif"], bool(options["windows"]), options["mask_schedule"] is not None)
        for name, (heads, options) in parts.items()
    }
    assert list(on.values()) == [
        (False, False, False, False),
        (True, False, False, False),
        (True, True, False, False),
        (True, True, True, False),
        (True, True, False, True),
        (True, True, True, True),
    ]
    assert stage_preset("stage-paper")[1]["blend"] == "paper"
    with pytest.raises(ValueError, match="^preset: 'all'; accepted is one of baseline, mga"):
        stage_preset("all")


def test_every_configuration_makes_other_pairs_and_leaves_the_surface_alone(tiny_base, types, heads):
    some, found = jobs(types, 1), {}
    for name in STAGES:
        found[name] = pixels(tiny_base, some, replace(QUICK, steps=9, graded=name), heads)
        assert (found[name][~some[0].mask.numpy()] == 120).all()
    same = [(a, b) for a, b in combinations(SIX, 2) if (found[a] == found[b]).all()]
    assert not same
    assert (pixels(tiny_base, some, replace(QUICK, steps=9), heads) == found["stage"]).all()


def test_the_baseline_is_aias(tiny_base, types, heads, farm):
    some = jobs(types, 1)
    assert abs(pixels(tiny_base, some, replace(QUICK, graded="baseline")) - pixels(tiny_base, some, QUICK)).max() <= 1
    with_farm = pixels(tiny_base, some, QUICK, farm)
    assert abs(pixels(tiny_base, some, replace(QUICK, graded="baseline"), farm) - with_farm).max() <= 1


@pytest.mark.parametrize("preset", ["paper", "recommended", "fast"])
def test_both_adapters_work_together_and_an_item_is_itself_in_any_batch(tiny_base, types, heads, farm, preset):
    both, some, settings = Adapters(farm, heads), jobs(types), replace(QUICK, preset=preset, steps=8)
    together = pixels(tiny_base, some[1:], settings, both)
    assert abs(make_pairs(tiny_base, some, settings, both)[1].picture.pixels - together).max() <= 1
    assert (together != pixels(tiny_base, some[1:], settings, heads)).any()
    assert (
        pixels(tiny_base, some[1:], replace(settings, farm=0.0), both) == pixels(tiny_base, some[1:], settings, heads)
    ).all()


def test_what_cannot_work_is_refused(tiny_base, types, farm):
    with pytest.raises(ValueError, match="use MGA heads, and the adapter has none; give an adapter of STAGE"):
        make_pairs(tiny_base, jobs(types), replace(QUICK, graded="mga"), farm)
    with pytest.raises(ValueError, match="steps: 3 cannot reach all of the windows .*4 or more"):
        Settings("paper", steps=3, graded="stage")
    with pytest.raises(ValueError, match="^graded: 'everything'"):
        Settings(graded="everything")


@pytest.mark.slow
def test_synthesize_with_files(tmp_path, surfaces, split, tiny_base, types, heads, farm, capsys):
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("base", "fast", "stage")}
    save_split(split, tmp_path / "split.json")
    save_base(paths["base"], tiny_base, {"split": split.digest})
    fit = base_fit(tiny_base, file_digest(paths["base"]))
    save_adapter(paths["fast"], fast.to_adapter(farm, fit, split.digest, {}))
    save_adapter(paths["stage"], stage.to_adapter(heads, fit, split.digest, {}))
    command = [
        "synthesize",
        "--data",
        str(surfaces),
        "--split",
        str(tmp_path / "split.json"),
        "--base",
        str(paths["base"]),
        "--count",
        "1",
        "--negatives",
        "1",
        "--steps",
        "5",
        "--guidance",
        "1",
        "--policy",
        "keep",
    ]

    def run(name, *more):
        return cli.main([*command, "--out", str(tmp_path / name), *more])

    assert run("a", "--adapter", str(paths["stage"])) == 0
    record = read_manifest(tmp_path / "a")[0]
    assert record["adapter"] == file_digest(paths["stage"]) and record["settings"]["graded"] is None
    assert run("b", "--adapter", str(paths["fast"]), str(paths["stage"]), "--graded", "mga-aif-ema") == 0
    both = "+".join(file_digest(paths[method]) for method in ("fast", "stage"))
    assert read_manifest(tmp_path / "b")[0]["adapter"] == both
    assert run("e", "--adapter", str(paths["stage"]), str(paths["fast"])) == 0
    assert read_manifest(tmp_path / "e")[0]["adapter"] == both, "whichever is given first"
    assert run("c", "--adapter", str(paths["fast"]), "--graded", "stage") == 1
    assert "the adapter has none" in capsys.readouterr().err
    assert run("d", "--adapter", str(paths["fast"]), str(paths["fast"])) == 1
    assert "second adapter of FAST" in capsys.readouterr().err
    with refused(subject="stage.safetensors$", got="not trained under this split"):
        load_adapters([paths["stage"]], fit, "other")
