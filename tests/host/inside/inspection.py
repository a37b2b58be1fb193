"""Reports on a dataset and on a folder of pairs before anything is trained on them."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import comfy.model_management
import numpy as np
import torch

from .scenes import refused
from .start import INPUT, OUTPUT, TEMPORARY, call, own, room

VISIBILITY = (2.0, 0.4, None, 3.0, 0.7)


def _inspect(folder: str, layout: str = "auto"):
    return own("InspectDataset").execute(folder=folder, layout=layout)


@cache
def _plates() -> str:
    """A dataset of cast grain below the input, and a copy of it with an empty mask."""
    room("datasets.procedural").write_surfaces(
        INPUT / "plates", materials=("cast_grain",), normals=3, defects=2, size=64, seed=4
    )
    shutil.copytree(INPUT / "plates", INPUT / "damaged")
    mask = INPUT / "damaged" / "cast_grain" / "ground_truth" / "pit" / "000_mask.png"
    room("images.pictures").write_mask(mask, np.zeros((64, 64)))
    return "plates"


@cache
def _pairs(name: str = "scored", values: tuple = VISIBILITY) -> str:
    """A folder of pairs below the output with these visibilities, as Save Pairs writes it."""
    picture = room("images.pictures").Picture
    normal = picture(np.full((48, 64, 3), 90, np.uint8))
    mask = np.zeros((48, 64), bool)
    mask[10:20, 30:44] = True
    made = normal.with_pixels(np.where(mask[..., None], np.uint8(200), normal.pixels))
    writer = room("datasets.pairs").PairWriter(OUTPUT / name, {"made_by": "Save Pairs"})
    for index, value in enumerate(values):
        record = {"visibility": value, "visible": None if value is None else value > 1, "seed": index}
        writer.write(
            index=index,
            object="plate",
            type="spot",
            stem=f"{index:06d}",
            picture=made,
            mask=mask,
            normal_source=normal,
            record=record,
        )
    return name


def _worst(pairs: list[str], by: str = "visibility", count: int = 3):
    return own("WorstPairs").execute(pairs=pairs, by=[by], count=[count])


# Inspect Dataset


def check_the_report_equals_the_commands_and_the_picture_is_shown():
    done = _inspect(_plates())
    report, picture, kinds, unusable, folder = done.args
    inspected = room("datasets.inspection").inspect_dataset(INPUT / "plates")
    assert report == room("datasets.inspection_text").as_text(inspected) and report.endswith("no problems")
    assert (kinds, unusable) == ("cast_grain / crack\ncast_grain / pit\ncast_grain / stain", 0)
    assert folder == str(INPUT / "plates")
    assert picture.ndim == 4 and picture.shape[3] == 3 and picture.dtype == torch.float32
    assert picture.min() >= 0 and picture.max() == 1
    assert done.ui["text"] == (report,) and len(done.ui["images"]) == 1


def check_kinds_fit_batch_plan():
    kinds = _inspect(_plates()).args[2]
    assert own("BatchPlan").execute(kinds=kinds, count=1, plan_seed=0, index=1).args[:2] == ("cast_grain", "pit")


def check_a_damaged_dataset_is_reported_and_not_refused():
    _plates()
    report, picture, _, unusable, _ = _inspect("damaged").args
    assert unusable == 1 and "1 to fix before it can be used:" in report and "the mask is empty" in report
    assert not torch.equal(picture[:, :100], torch.ones_like(picture[:, :100]))


def check_all_problems_are_in_the_report():
    folder = INPUT / "orphans"
    shutil.copytree(INPUT / _plates(), folder)
    (mask,) = folder.glob("cast_grain/ground_truth/pit/000_mask.png")
    for number in range(30):
        shutil.copy(mask, mask.with_name(f"{100 + number}_mask.png"))
    report = _inspect("orphans").args[0]
    assert "30 worth a look" in report and report.count("a mask for no image") == 30 and "--json" not in report


def check_the_built_in_surfaces_are_those_of_split_defect_dataset():
    report, _, kinds, unusable, folder = _inspect("procedural surfaces").args
    assert "168 images, 88 with a defect; objects: 4" in report and unusable == 0 and str(TEMPORARY) in report
    assert set(map(tuple, (kind.split(" / ") for kind in kinds.splitlines()))) == set(
        room("synthesis.demo").SurfaceItems.types
    )
    loaded = call(
        "LoadDefectDataset",
        folder=folder,
        select="defect images",
        index=0,
        count=1,
        as_batch=False,
        type="pit",
        split="",
        plan_seed=0,
    )
    assert loaded[0][0].shape == (1, 160, 160, 3) and loaded[3] == ["pit"]


@cache
def _two_ways() -> str:
    """A folder below the input with an object in MVTec layout, and one of images and masks."""
    source, folder = INPUT / _plates() / "cast_grain", INPUT / "two ways"
    shutil.copytree(source, folder / "cast")
    for kind, target in (("test/pit/000.png", "images"), ("ground_truth/pit/000_mask.png", "masks")):
        (folder / "part" / target).mkdir(parents=True)
        shutil.copy(source / kind, folder / "part" / target / "1.png")
    return "two ways"


def check_a_layout_that_is_named_is_read():
    with refused("Inspect Dataset: ", "it could be in 2 layouts", "mvtec", "stems"):
        _inspect(_two_ways())
    assert _inspect(_two_ways(), "stems").args[2] == "part / damaged"
    assert _inspect(_two_ways(), "mvtec").args[2].splitlines()[0] == "cast / crack"
    with refused("Inspect Dataset: ", "not in LabelMe layout"):
        _inspect(_two_ways(), "labelme")


def check_the_nodes_that_read_data_take_the_layout_too():
    load = {
        "folder": _two_ways(),
        "select": "defect images",
        "index": 0,
        "count": 9,
        "as_batch": False,
        "type": "",
        "split": "",
        "plan_seed": 0,
    }
    with refused("Load Defect Dataset: ", "it could be in 2 layouts"):
        call("LoadDefectDataset", **load)
    for layout, objects in (("mvtec", {"cast"}), ("stems", {"part"})):
        assert set(call("LoadDefectDataset", **load, layout=layout)[2]) == objects
    split = {"folder": _two_ways(), "split": "", "share": 0.5, "types": "", "seed": 0}
    with refused("Split Defect Dataset: ", "it could be in 2 layouts"):
        call("SplitDataset", **split)
    assert {sample.object for sample in call("SplitDataset", **split, layout="mvtec")[0].train} == {"cast"}
    for node in ("LoadDefectDataset", "SplitDataset"):
        seen = [own(node).fingerprint_inputs(folder=_two_ways(), split="", layout=name) for name in ("mvtec", "stems")]
        assert None not in seen and len(set(seen)) == 2


def check_a_missing_dataset_is_reported_before_the_run():
    node = own("InspectDataset")
    assert node.validate_inputs(folder="procedural surfaces") is True and node.validate_inputs(folder=None) is True
    refusal = node.validate_inputs(folder="gone")
    assert refusal.startswith(f"Inspect Dataset: {INPUT / 'gone'}: no such folder")
    with refused(refusal):
        _inspect("gone")


def check_a_changed_file_is_noticed_also_in_a_damaged_dataset():
    node, _ = own("InspectDataset"), _plates()
    for folder in ("plates", "damaged"):
        before = node.fingerprint_inputs(folder=folder, layout="auto")
        assert node.fingerprint_inputs(folder=folder, layout="auto") == before
        next(Path(INPUT / folder).rglob("*.png")).touch()
        assert node.fingerprint_inputs(folder=folder, layout="auto") != before
    assert node.fingerprint_inputs(folder=None, layout="auto") is None
    (INPUT / "no layout").mkdir()
    assert "not in any known layout" in node.fingerprint_inputs(folder="no layout", layout="auto")


def check_an_inspection_can_be_stopped():
    folder, stopped = _plates(), False
    comfy.model_management.interrupt_current_processing(True)
    try:
        _inspect(folder)
    except comfy.model_management.InterruptProcessingException:
        stopped = True
    assert stopped and not comfy.model_management.processing_interrupted()


# Worst Pairs


def check_the_worst_are_shown_and_listed():
    done = _worst([_pairs()])
    sheet, table, indices = done.args
    assert indices == [1, 4, 0]
    chosen = room("synthesis.worst").worst_pairs(OUTPUT / _pairs(), "visibility", 3)
    drawn = room("synthesis.sheets").worst_sheet(chosen)
    assert torch.equal((sheet[0] * 255).round().to(torch.uint8), drawn)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "/test/" in line]
    assert rows[0] == ["plate/test/spot/000001.png", "1", "plate / spot", "0.40", "no"]
    assert [row[4] for row in rows] == ["no", "no", "yes"]
    assert "The 3 of 4 pairs with the lowest visibility." in table and "1 more have no visibility" in table
    assert done.ui["text"] == (table,) and len(done.ui["images"]) == 1


def check_a_folder_of_pairs_that_comes_as_a_list_is_one_folder():
    assert _worst([_pairs()] * 3).args[2] == _worst([f" {_pairs()}/ "]).args[2] == [1, 4, 0]
    _pairs("others", (1.0,))
    with refused("Worst Pairs: ", "pairs: 2 folders", "give it one folder"):
        _worst([_pairs(), "others"])
    with refused("Worst Pairs: ", "count: a list of different values (1, 2, ...)"):
        own("WorstPairs").execute(pairs=[_pairs()], by=["visibility"], count=[1, 2])


def check_scores_and_folders_that_are_not_there_are_refused():
    with refused("Worst Pairs: ", "has the score 'nearest_real'; they have visibility; choose one of these"):
        _worst([_pairs()], "nearest_real")
    with refused("Worst Pairs: pairs: empty"):
        _worst([""])
    (OUTPUT / "no pairs").mkdir()
    with refused("Worst Pairs: ", "no manifest.jsonl"):
        _worst(["no pairs"])
    for name, words in (("gone", "gone: no such folder"), ("../x", "folder: '../x' is not below")):
        with refused("Worst Pairs: ", words):
            _worst([name])
        assert words in own("WorstPairs").validate_inputs(pairs=[name])
    assert own("WorstPairs").validate_inputs(pairs=[None]) is True


def check_another_pair_in_the_folder_is_seen():
    node, folder = own("WorstPairs"), _pairs("growing pairs", (1.0, 2.0))
    before = node.fingerprint_inputs(pairs=[folder], by=["visibility"], count=[3])
    assert node.fingerprint_inputs(pairs=[folder], by=["visibility"], count=[3]) == before
    (OUTPUT / folder / "plate" / "test" / "spot" / "000001.png").unlink()
    (OUTPUT / folder / "plate" / "ground_truth" / "spot" / "000001_mask.png").unlink()
    assert node.fingerprint_inputs(pairs=[folder], by=["visibility"], count=[3]) != before
    linked = [node.fingerprint_inputs(pairs=[None], by=["visibility"], count=[3]) for _ in range(2)]
    assert linked[0] != linked[1], "pairs may have been deleted, which a linked name does not show"
