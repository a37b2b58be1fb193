"""Paths in a workflow are untrusted: every node that takes one reads and writes only ComfyUI's folders."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import folder_paths

import nodes

from .scenes import one, refused
from .start import INPUT, OUTPUT, SCRATCH, call, own, room

OUTSIDE = SCRATCH / "outside"
LOADING = {
    "select": "normal images",
    "index": 0,
    "count": 1,
    "as_batch": False,
    "type": "",
    "split": "",
    "plan_seed": 0,
}
SPLITTING = {"split": "", "share": 0.5, "types": "", "seed": 0}


def _data():
    if not OUTSIDE.exists():
        write = room("datasets.procedural").write_surfaces
        write(OUTSIDE / "set", materials=("cast_grain",), normals=2, defects=2, size=64)
        (OUTSIDE / "split.json").write_text("{}")
        shutil.copytree(OUTSIDE / "set", INPUT / "inside")
    return OUTSIDE / "set"


def _names():
    """A path outside that exists, one that does not, and a link in input to each."""
    found = []
    for target in (_data(), OUTSIDE / "gone"):
        link = INPUT / f"to_{target.name}"
        if not link.is_symlink():
            link.symlink_to(target)
        found.append([str(target), f"../outside/{target.name}", link.name])
    return found


def check_the_menu_stands_last_and_older_prompts_stay_valid():
    _data()
    for name, before in (("LoadDefectDataset", "layout"), ("SplitDataset", "layout"), ("InspectDataset", "layout")):
        inputs = own(name).GET_SCHEMA().inputs
        assert [one.id for one in inputs[-2:]] == [before, "choose"] and inputs[0].id == "folder"
        assert inputs[0].io_type == "STRING"
        options = own(name).INPUT_TYPES()["optional"]["choose"]
        listed = options[0] if isinstance(options[0], list) else options[1]["options"]
        assert listed[0] == "as typed in folder" and "inside" in listed and not [x for x in listed if "outside" in x]
    loader, menu = own("LoadDefectDataset"), {"choose": "inside"}
    assert loader.validate_inputs(folder="inside") is True and loader.validate_inputs(folder="gone", **menu) is True
    assert loader.fingerprint_inputs(folder="x", split="", **menu) == loader.fingerprint_inputs("inside", "")
    assert call("LoadDefectDataset", folder="gone", **menu, **LOADING)[2] == ["cast_grain"]
    with refused("Load Defect Dataset: ", "gone: no such folder"):
        call("LoadDefectDataset", folder="inside", choose="gone", **LOADING)


def check_existing_and_missing_paths_outside_give_the_same_refusal_before_and_in_the_run():
    image, mask = one((64, 64))
    reading = {
        "LoadDefectDataset": lambda x: call("LoadDefectDataset", folder=x, **LOADING),
        "InspectDataset": lambda x: call("InspectDataset", folder=x, layout="auto"),
        "SplitDataset": lambda x: call("SplitDataset", folder=x, **SPLITTING),
        "DRAEM": lambda x: call("DRAEM", normal=image, mask=mask, textures=x, seed=0),
    }
    for node, read in reading.items():
        key = "textures" if node == "DRAEM" else "folder"
        rest = {"split": ""} if node in ("LoadDefectDataset", "SplitDataset") else {}
        for names in zip(*_names(), strict=True):
            answers = set()
            for name in names:
                refusal = own(node).validate_inputs(**{key: name}, **rest)
                assert "is not below a folder that nodes may read" in refusal, refusal
                try:
                    seen = own(node).fingerprint_inputs(**{key: name}, **rest, layout="auto")
                except ValueError as error:
                    seen = str(error)
                except TypeError:  # DRAEM has no layout
                    seen = refusal
                assert "is not below a folder that nodes may read" in seen, seen
                with refused("", "is not below a folder that nodes may read"):
                    read(name)
                answers.add(refusal.replace(repr(name), "NAME"))
            assert len(answers) == 1, answers


def check_a_split_file_outside_is_not_opened():
    _data()
    for split in (str(OUTSIDE / "split.json"), str(OUTSIDE / "none.json"), "../outside/split.json"):
        words = "is not below a folder that nodes may read"
        assert words in own("LoadDefectDataset").validate_inputs(folder="inside", split=split)
        assert words in own("SplitDataset").validate_inputs(folder="inside", split=split)
        with refused("Load Defect Dataset: ", words):
            call("LoadDefectDataset", folder="inside", **LOADING | {"split": split})
        with refused("Split Defect Dataset: ", words):
            call("SplitDataset", folder="inside", **SPLITTING | {"split": split})


def check_a_linked_picture_in_a_dataset_is_not_read():
    shutil.copytree(_data(), INPUT / "linked")
    image = next((INPUT / "linked").glob("**/train/good/*.png"))
    image.unlink()
    image.symlink_to(next(OUTSIDE.glob("**/train/good/*.png")))
    readers = {"LoadDefectDataset": LOADING, "SplitDataset": SPLITTING, "InspectDataset": {"layout": "auto"}}
    for node, inputs in readers.items():
        with refused("", f"{image.name}: a link that leads out of the folders"):
            call(node, folder="linked", **inputs)


def check_a_listed_folder_is_read_and_never_written():
    listed = room("nodes.folders").LIST
    before, user = folder_paths.get_user_directory(), SCRATCH / "user"
    user.mkdir()
    folder_paths.set_user_directory(str(user))
    try:
        (user / listed).write_text(f"{OUTSIDE}\n")
        (made, *_) = call("LoadDefectDataset", folder=str(_data()), **LOADING)
        assert made[0].shape == (1, 64, 64, 3)
        image, mask = one((64, 64))
        hidden = SimpleNamespace(prompt={}, unique_id="1", extra_pnginfo={})
        save = type("WithHidden", (own("SavePairs"),), {"hidden": hidden})
        (OUTPUT / "to_outside").symlink_to(OUTSIDE)
        for folder, part in (("part", "test"), ("masks", "refined")):
            (OUTPUT / folder / "plate" / part).mkdir(parents=True)
            (OUTPUT / folder / "plate" / part / "scratch").symlink_to(OUTSIDE)
        for folder in (str(OUTSIDE / "pairs"), "to_outside", "to_outside/pairs", "part", "masks"):
            with refused("Save Pairs: ", "is not below"):
                call(save, normal=image, image=1 - image, mask=mask, object="plate", type="scratch", folder=folder)
        assert not list(OUTSIDE.glob("**/manifest.jsonl")) and len(list(OUTSIDE.iterdir())) == 2
    finally:
        folder_paths.set_user_directory(before)


def check_every_node_that_takes_a_path_is_known_here():
    taken = {
        name.removeprefix("SIAS_"): [one.id for one in node.GET_SCHEMA().inputs if one.io_type == "STRING"]
        for name, node in nodes.NODE_CLASS_MAPPINGS.items()
        if name.startswith("SIAS_")
    }
    paths = {"folder", "split", "textures", "pairs", "path", "file", "filename"}
    found = {node: sorted(paths & set(ids)) for node, ids in taken.items() if paths & set(ids)}
    assert found == {
        "LoadDefectDataset": ["folder", "split"],
        "SplitDataset": ["folder", "split"],
        "InspectDataset": ["folder"],
        "SavePairs": ["folder"],
        "ExportPairs": ["folder", "pairs"],
        "DRAEM": ["textures"],
        "TrainSegmenter": ["pairs"],
        "PairStatistics": ["pairs"],
        "WorstPairs": ["pairs"],
    }, found
    for node in ("ExportPairs", "TrainSegmenter", "PairStatistics", "WorstPairs"):
        for name in (str(_data()), "../outside/gone", "a\0b"):
            assert "is not below" in own(node).validate_inputs(pairs=[name])
