"""From a dataset's split over a training to a test, and pairs compared with real defects."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import comfy.model_management
import torch
from torch import Tensor

from .scenes import refused
from .start import INPUT, OUTPUT, call, own, room

STEPS = 3


def _split(folder: str = "procedural surfaces", split: str = "", share: float = 0.333, types: str = "", seed: int = 0):
    return call("SplitDataset", folder=folder, split=split, share=share, types=types, seed=seed)


def _train(data, pairs: list[str] | None = None, **changed):
    given = {"network": "small_unet", "steps": STEPS, "crop": 32, "seed": 0} | changed
    return call("TrainSegmenter", dataset=[data], pairs=pairs, **{name: [value] for name, value in given.items()})


def _statistics(data, pairs: list[str]) -> str:
    return own("PairStatistics").execute(dataset=[data], pairs=pairs).args[0]


@cache
def _folder() -> str:
    """Cast grain below the input: 3 normal images, 6 of each type, and a split.json in which every image is a group."""
    split, read = room("datasets.split"), room("datasets.mvtec").read_mvtec
    room("datasets.procedural").write_surfaces(
        INPUT / "grain", materials=("cast_grain",), normals=3, defects=6, size=64, seed=7
    )
    samples = read(INPUT / "grain")
    split.save_split(split.make_split(samples, {s.name: s.name for s in samples}, share=0.5), INPUT / "grain.json")
    return "grain"


@cache
def _grain():
    return _split(_folder(), "grain.json")[0]


@cache
def _real():
    """A segmenter of real defects only."""
    return _train(_grain())[0]


def _save(folder: str, count: int = 4, **names: str) -> str:
    """Pairs of the training part below the output: stains are bright."""
    images, masks, objects, types, *_ = call(
        "LoadDefectDataset",
        folder=_folder(),
        select="to synthesize",
        index=0,
        count=count,
        as_batch=True,
        type="",
        split="grain.json",
        plan_seed=0,
    )
    image, mask = images[0], masks[0]
    made = torch.where(mask[..., None] > 0, image / 2 + 0.5, image)
    hidden = SimpleNamespace(prompt={}, unique_id="1", extra_pnginfo={})
    node = type("WithHidden", (own("SavePairs"),), {"hidden": hidden})
    return call(
        node, image=made, mask=mask, normal=image, folder=folder, **{"object": objects[0], "type": types[0]} | names
    )[0]


@cache
def _pairs() -> str:
    return _save("grain pairs", 8)


def _weights(segmenter) -> Tensor:
    return torch.cat([weight.flatten() for weight in segmenter.network.parameters()])


def _rows(table: str) -> dict[str, list[str]]:
    """{first cell: the other cells} of a Markdown table."""
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


# The split


def check_the_built_in_surfaces_are_split_without_overlap():
    data, summary, file = _split()
    assert len(data.train) == 81 and len(data.held_back) == 87 and not set(data.train) & set(data.held_back)
    rows = _rows(summary)
    assert rows["brushed_metal / pit"] == ["3", "5", "0"] and rows["woven_cloth / good"] == ["12", "8", "0"]
    kinds = {(sample.object, sample.type) for sample in data.held_back if sample.mask}
    assert kinds == set(room("synthesis.demo").SurfaceItems.types), "Load Defect Dataset shows other types"
    again = _split()
    assert again[0] == data and again[1:] == (summary, file)
    assert _split(seed=1)[0].split.digest != data.split.digest


def check_the_split_is_a_file_that_load_defect_dataset_reads():
    data, _, file = _split(_folder(), seed=3)
    _, _, _, _, names, _ = call(
        "LoadDefectDataset",
        folder=_folder(),
        select="defect images",
        index=0,
        count=9,
        as_batch=False,
        type="",
        split=file,
        plan_seed=0,
    )
    assert set(names) == {sample.name for sample in data.train if sample.mask}


def check_a_given_split_is_used_unchanged_and_types_select():
    data, summary, file = _split(_folder(), "grain.json", share=0.9, seed=5)
    assert file == str(INPUT / "grain.json") and data.split.share == 0.5 and "from grain.json" in summary
    some, *_ = _split(_folder(), "grain.json", types="pit,\n stain ")
    assert {sample.type for sample in some.train} == {"good", "pit", "stain"}


def check_near_duplicates_stay_together_and_untestable_types_are_reported():
    from shutil import copytree

    folder = INPUT / "duplicates"
    copytree(INPUT / _folder(), folder)
    for kind in ("test/crack", "ground_truth/crack"):
        first, *others = sorted((folder / "cast_grain" / kind).iterdir())
        for other in others:
            other.write_bytes(first.read_bytes())
    data, summary, _ = _split("duplicates")
    assert _rows(summary)["cast_grain / crack"] == ["6", "0", "0"] and "near-duplicates" in summary
    assert "Warning: all crack images of cast_grain are in one group; they train and none is held back." in summary
    with refused("Split Defect Dataset: ", "held-back images has a defect", "a smaller share or other types"):
        _split("duplicates", types="crack")


def check_a_file_that_changes_is_seen():
    node = own("SplitDataset")
    inputs = {"folder": _folder(), "split": "grain.json", "share": 0.3, "types": "", "seed": 0}
    before = node.fingerprint_inputs(**inputs)
    assert node.fingerprint_inputs(**inputs | {"seed": 4}) == before  # core itself compares the widgets
    (INPUT / "grain.json").touch()
    after = node.fingerprint_inputs(**inputs)
    assert after != before
    (INPUT / _folder() / "manifest.csv").write_text("file,camera\n")  # no groups in it
    assert node.fingerprint_inputs(**inputs) != after
    assert node.fingerprint_inputs(**inputs | {"folder": None}) is None


def check_missing_data_is_refused_before_the_run():
    node = own("SplitDataset")
    assert node.validate_inputs(folder="procedural surfaces", split="") is True
    assert node.validate_inputs(folder=None, split="gone") is True
    for inputs in ({"folder": "gone", "split": ""}, {"folder": _folder(), "split": "gone.json"}):
        refusal = node.validate_inputs(**inputs)
        assert refusal.startswith(f"Split Defect Dataset: {INPUT}") and ": no such f" in refusal
        with refused(refusal):
            _split(**inputs)
    with refused("Split Defect Dataset: ", "no defect type 'rust'; there is crack"):
        _split(_folder(), types="rust")
    with refused("Split Defect Dataset: ", "belongs to other data"):
        _split("procedural surfaces", "grain.json")


# The training


def check_training_moves_every_weight_and_a_seed_repeats_it():
    data = _grain()
    assert torch.is_inference_mode_enabled(), "the host runs nodes in inference mode"
    segmenter, words = _train(data)
    torch.manual_seed(0)  # the engine's initial seed
    initial = torch.cat([w.flatten() for w in room("evaluation.networks").NETWORKS["small_unet"]().parameters()])
    assert (_weights(segmenter) != initial).float().mean() > 0.9
    assert not any(weight.is_inference() or weight.requires_grad for weight in segmenter.network.parameters())
    assert torch.equal(_weights(segmenter), _weights(_train(data)[0]))
    assert not torch.equal(_weights(segmenter), _weights(_train(data, seed=1)[0]))
    assert re.fullmatch(
        r"small_unet, 0\.49 million parameters: 3 steps in \d+ s\. Kept are the last weights\. "
        r"Crops seen: 12 real, 0 synthetic\.",
        words,
    ), words


def check_held_out_images_choose_the_weights():
    segmenter, words = _train(_grain(), hold_out=True)
    assert segmenter.record.validation and re.search(
        r"Kept are the weights of step 3, with an IoU of [\d.]+% on \d+ groups held out of the training part; at the "
        r"end it was [\d.]+%\.",
        words,
    ), words


def check_the_papers_networks_train_too():
    for name, millions in {"segformer": "3.71", "bisenetv2": "3.34", "stdc1": "8.26"}.items():
        segmenter, words = _train(_grain(), network=name, steps=1, weights="random")
        assert segmenter.name == name and f"{millions} million" in words


def check_a_network_without_its_package_names_the_command_that_installs_it():
    sys.modules["segmentation_models_pytorch"] = None  # type: ignore[assignment]
    try:
        with refused("Train Segmenter: ", "unet: ", "pip install segmentation-models-pytorch timm", "small_unet"):
            _train(_grain(), network="unet")
    finally:
        del sys.modules["segmentation_models_pytorch"]


def check_pairs_are_seen_beside_the_real_crops():
    segmenter, words = _train(_grain(), [_pairs()])
    assert "12 real, 12 synthetic" in words
    assert not torch.equal(_weights(segmenter), _weights(_real()))


def check_a_folder_that_comes_as_a_list_is_one_folder():
    trained = [_train(_grain(), pairs)[0] for pairs in ([_pairs()], [_pairs()] * 3, [f" {_pairs()}/ ", _pairs()])]
    assert all(torch.equal(_weights(one), _weights(trained[0])) for one in trained)
    plain = [_train(_grain(), pairs)[0] for pairs in (None, [""], ["", " "])]
    assert all(torch.equal(_weights(one), _weights(_real())) for one in plain)
    assert _statistics(_grain(), [_pairs()] * 3) == _statistics(_grain(), [_pairs()])


def check_lists_of_different_values_are_refused():
    _save("other pairs", 1)
    with refused("Train Segmenter: ", "pairs: 2 folders (grain pairs, other pairs, ...)", "give it one folder"):
        _train(_grain(), [_pairs(), "other pairs"])
    with refused("Train Segmenter: ", "seed: a list of different values (0, 1, ...)", "connect one value"):
        call("TrainSegmenter", dataset=[_grain()], network=["small_unet"], steps=[1], crop=[32], seed=[0, 1])


def check_folders_without_pairs_are_refused():
    (OUTPUT / "bare").mkdir()
    (OUTPUT / "letters").mkdir()
    (OUTPUT / "letters" / "letter.txt").write_text("mine")
    for name, use in (("Train Segmenter", _train), ("Pair Statistics", _statistics)):
        with refused(f"{name}: ", "gone: no such folder", "connect Save Pairs' folder"):
            use(_grain(), ["gone"])
        with refused(f"{name}: ", "bare: it holds no pairs"):
            use(_grain(), ["bare"])
        with refused(f"{name}: ", "letters: not in MVTec layout"):
            use(_grain(), ["letters"])
        with refused(f"{name}: folder: '../x' is not below"):
            use(_grain(), ["../x"])
    with refused("Pair Statistics: pairs: empty"):
        _statistics(_grain(), [""])


def check_pairs_of_other_names_are_refused():
    _save("foreign", 2, type="rust")
    for name, use in (("Train Segmenter", _train), ("Pair Statistics", _statistics)):
        with refused(
            f"{name}: ", "foreign: it holds pairs of cast_grain / rust", "accepted is one of cast_grain / crack, "
        ):
            use(_grain(), ["foreign"])


def check_a_missing_folder_is_reported_before_the_run():
    for node in map(own, ("TrainSegmenter", "PairStatistics")):
        assert node.validate_inputs(pairs=[_pairs()]) is True and node.validate_inputs(pairs=[None]) is True
        assert "gone: no such folder" in node.validate_inputs(pairs=["gone"])


def check_another_pair_in_a_folder_that_is_typed_is_seen():
    count = 1
    for node in map(own, ("TrainSegmenter", "PairStatistics")):
        folder = _save("growing", count)
        before = node.fingerprint_inputs(pairs=[folder], dataset=[None])
        count += 1
        _save("growing", count)
        assert before != node.fingerprint_inputs(pairs=[folder], dataset=[None])
        assert node.fingerprint_inputs(pairs=[""]) is None
    assert own("TrainSegmenter").fingerprint_inputs(pairs=[None]) is None, "the value comes from another node"
    never = own("PairStatistics").fingerprint_inputs(pairs=[None])
    assert never != never, "pairs behind a linked name may have been deleted"


def check_training_and_test_can_be_stopped():
    data, segmenter = _grain(), _real()
    stop, stopped = comfy.model_management.InterruptProcessingException, 0
    for run in (
        lambda: _train(data, steps=10_000),
        lambda: call("EvaluateSegmentation", dataset=data, segmenter=segmenter),
    ):
        comfy.model_management.interrupt_current_processing(True)
        try:
            run()
        except stop:
            stopped += 1
        finally:
            left = comfy.model_management.processing_interrupted()
            comfy.model_management.interrupt_current_processing(False)  # else the next check is stopped
        assert not left
    assert stopped == 2 and not comfy.model_management.processing_interrupted()


@refused("Train Segmenter: ", "training images has a defect", "check the split")
def check_a_training_part_without_defects_is_refused():
    data = _grain()
    _train(replace(data, train=tuple(sample for sample in data.train if sample.mask is None)))


# The test


def check_the_table_has_a_row_per_type_their_mean_and_all_images():
    done = own("EvaluateSegmentation").execute(dataset=_grain(), segmenter=_real())
    table, iou, cases = done.args
    rows = _rows(table)
    kinds = [f"cast_grain / {type}" for type in ("crack", "pit", "stain")]
    assert list(rows) == ["object / type", "---", *kinds, "mean over types", "all images"]
    assert [rows[name][0] for name in (*kinds, "mean over types", "all images")] == ["3", "3", "3", "9", "15"]
    assert all(len(cells) == 8 for cells in rows.values()) and "not defined" not in table
    mean = sum(float(rows[kind][1]) for kind in kinds) / 3
    assert abs(mean - float(rows["mean over types"][1])) < 0.1 and abs(mean / 100 - iou) < 0.001
    low, high = map(float, rows["mean over types"][2].split(" to "))
    assert low <= mean <= high
    assert cases.ndim == 4 and cases.shape[3] == 3 and cases.min() >= 0 and cases.max() <= 1
    assert done.ui["text"] == (table,) and len(done.ui["images"]) == 1


def check_undefined_is_a_dash_and_reported():
    data = _grain()
    kept = (
        tuple(s for s in data.held_back if s.type in ("good", "pit"))
        + tuple(s for s in data.held_back if s.type == "stain")[:1]
    )
    table, iou, _ = call("EvaluateSegmentation", dataset=replace(data, held_back=kept), segmenter=_real())
    rows = _rows(table)
    assert rows["cast_grain / crack"] == ["0", *["-"] * 7] and rows["cast_grain / stain"][2] == "-"
    assert "the type has no held-back image" in table and 0 <= iou <= 1


@refused("Evaluate Segmentation: ", "12 of the 15 held-back images are among those", "one Split Defect Dataset to both")
def check_images_that_were_trained_on_are_refused():
    data = _grain()
    call("EvaluateSegmentation", dataset=replace(data, held_back=data.train + data.held_back[:3]), segmenter=_real())


def check_a_segmenter_serves_many_tests_unchanged():
    before = _weights(_real()).clone()
    tables = [call("EvaluateSegmentation", dataset=_grain(), segmenter=_real())[0] for _ in range(2)]
    assert tables[0] == tables[1] and torch.equal(before, _weights(_real()))


# The pairs in numbers


def check_pairs_stand_beside_the_real_defects_of_both_parts():
    table = _statistics(_grain(), [_pairs()])
    rows = _rows(table)
    kinds = [f"cast_grain / {type}" for type in ("crack", "pit", "stain")]
    parts = ("pairs", "real, train", "real, held back")
    assert list(rows)[2:] == [f"{kind}: {part}" for kind in kinds for part in parts]
    assert [int(rows[f"{kind}: {part}"][0]) for kind in kinds for part in parts] == [3, 3, 3, 3, 3, 3, 2, 3, 3]
    stains = [rows[f"cast_grain / stain: {part}"] for part in parts]
    assert stains[0][3].startswith("+") and stains[1][3].startswith("-"), "the pairs are bright, the stains dark"
    assert stains[1][6] == stains[1][8] == stains[2][7] == stains[2][9] == "-", "nothing is compared with itself"
    assert "-" not in stains[0] and "not defined: " in table
    assert {cells[-1] for cells in rows.values()} == {"refined %", "---:", ""}, "no pair has a refined mask"


def check_one_pair_has_no_diversity():
    _save("single", 1)
    rows = _rows(_statistics(_grain(), ["single"]))
    (made,) = [cells for name, cells in rows.items() if name.endswith(": pairs")]
    assert made[0] == "1" and made[6:8] == ["-", "-"] and "-" not in made[8:]
