"""Unusable files and folders: refused with a clear message, and nothing half-written stays."""

from __future__ import annotations

import os
from types import SimpleNamespace

import safetensors.torch
import torch

from .scenes import apart, one, pairs, refused
from .start import BASES, INPUT, OUTPUT, call, own, room


def _base(name: str, data: bytes | None = None):
    if data is not None:
        (BASES / name).write_bytes(data)
    return call("LoadAnomalyLDM", base_name=name, aware=True)


def _bundled() -> bytes:
    return room("nodes.compact_base").base_path("surfaces (bundled)").read_bytes()


@refused("Load Anomaly LDM: ", "no base 'gone.safetensors' in anomaly_bases", str(BASES), "put the .safetensors there")
def check_a_missing_base_is_refused():
    _base("gone.safetensors")


@refused("Load Anomaly LDM: ", "no base '../surfaces.safetensors'")
def check_a_base_outside_the_folder_is_not_there():
    (BASES.parent / "surfaces.safetensors").write_bytes(_bundled())
    _base("../surfaces.safetensors")


@refused("Load Anomaly LDM: cut.safetensors: ", "no readable safetensors file")
def check_a_truncated_base_is_refused():
    _base("cut.safetensors", _bundled()[: len(_bundled()) // 2])


@refused("Load Anomaly LDM: other.safetensors: ", "not a compact base", "ComfyUI's own loaders")
def check_another_safetensors_file_is_refused():
    _base("other.safetensors", safetensors.torch.save({"weight": torch.zeros(3)}))


@refused("Load Anomaly LDM: part.safetensors: ", "not whole")
def check_a_base_without_all_its_tensors_is_refused():
    with safetensors.safe_open(room("nodes.compact_base").base_path("surfaces (bundled)"), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in list(file.keys())[1:]}
        metadata = file.metadata()
    _base("part.safetensors", safetensors.torch.save(tensors, metadata))


class _Opened:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (str(BASES / "opened"),)


def check_a_renamed_pickle_is_refused_and_never_opened():
    torch.save(_Opened(), BASES / "pickle.safetensors")
    with refused("Load Anomaly LDM: pickle.safetensors: ", "pickles are never opened"):
        _base("pickle.safetensors")
    assert not (BASES / "opened").exists()


def check_a_bad_name_is_reported_before_the_run():
    node = own("LoadAnomalyLDM")
    assert node.validate_inputs(base_name="surfaces (bundled)") is True
    assert "no base 'gone.safetensors'" in node.validate_inputs(base_name="gone.safetensors")


def _save(normal, image, mask, **inputs):
    hidden = SimpleNamespace(prompt={}, unique_id="1", extra_pnginfo={})
    inputs = {"object": "plate", "type": "scratch", "folder": "refused"} | inputs
    return call(
        type("WithHidden", (own("SavePairs"),), {"hidden": hidden}), normal=normal, image=image, mask=mask, **inputs
    )


def check_a_folder_outside_the_output_is_refused():
    image, mask = one((64, 64))
    for folder in ("..", "a/../..", "", ".", str(BASES), str(OUTPUT) + "x"):
        with refused("Save Pairs: ", "is not below", "give a name such as 'pairs'"):
            _save(image, image, mask, folder=folder)
    assert not list(BASES.glob("**/*.png")) and not (OUTPUT.parent / "manifest.jsonl").exists()


def check_what_makes_no_pair_leaves_nothing_behind():
    image, mask = one((64, 64))
    attempts = {
        "mask 0 of the batch: it is empty": lambda: _save(image, image, mask * 0),
        "object: 'a/b'": lambda: _save(image, image, mask, object="a/b"),
        "object: '..'": lambda: _save(image, image, mask, object=".."),
        "type: 'good'": lambda: _save(image, image, mask, type="good"),
        "type: 2 lines for 1 images": lambda: _save(image, image, mask, type="x\ny"),
        "connect one size": lambda: _save(image, image[:, 1:], mask[:, 1:]),
        "normal: 2 images": lambda: _save(image.repeat(2, 1, 1, 1), image, mask),
    }
    for word, attempt in attempts.items():
        with refused("Save Pairs: ", word):
            attempt()
    assert not [path for path in (OUTPUT / "refused").glob("**/*") if path.suffix in (".png", ".jsonl")]


@refused("Save Pairs: ", "no readable run.json", "choose another folder")
def check_a_folder_that_holds_something_else_is_refused():
    (OUTPUT / "taken").mkdir()
    (OUTPUT / "taken" / "letter.txt").write_text("mine")
    image, mask = one((64, 64))
    _save(image, image, mask, folder="taken")


def check_scores_of_another_batch_are_refused():
    image, mask = one((64, 64))
    made = pairs(image, mask, steps=1)
    assert apart(made.images, image) > 0
    with refused("Save Pairs: ", "2 scores for 1 images", "same Compose Pair"):
        _save(image, image, mask, scores=made.scores * 2)


# What Load Defect Dataset reads


def _items(folder: str, select: str = "to synthesize", type: str = "", split: str = ""):
    return call(
        "LoadDefectDataset",
        folder=folder,
        select=select,
        index=0,
        count=1,
        as_batch=False,
        type=type,
        split=split,
        plan_seed=0,
    )


def check_a_missing_dataset_is_refused_before_the_run():
    assert own("LoadDefectDataset").validate_inputs(folder="procedural surfaces") is True
    error = own("LoadDefectDataset").validate_inputs(folder="gone")
    assert error.startswith(f"Load Defect Dataset: {INPUT / 'gone'}: no such folder") and "a dataset's folder" in error
    with refused("Load Defect Dataset: ", f"{INPUT / 'gone'}: no such folder"):
        _items("gone")


def check_a_dataset_that_gives_nothing_is_refused():
    (INPUT / "empty").mkdir()
    (INPUT / "split.json").write_text("{}")
    write = room("datasets.procedural").write_surfaces
    write(INPUT / "dataset", materials=("cast_grain",), normals=1, defects=1, size=64)
    for folder, given in (
        ("empty", {}),
        ("dataset/cast_grain/train", {}),
        ("dataset", {"type": "rust"}),
        ("dataset", {"split": "gone.json"}),
        ("dataset", {"split": "split.json"}),
        ("dataset", {"select": "all"}),
        ("procedural surfaces", {"select": "normal images"}),
    ):
        with refused("Load Defect Dataset: "):
            _items(folder, **given)
