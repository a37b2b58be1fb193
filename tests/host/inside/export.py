"""Saved pairs, exported beside their folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import comfy.model_management
import torch

from .scenes import refused
from .start import OUTPUT, call, own, room


def _save(folder: str, count: int, visible: bool | None = True) -> str:
    """Adds pairs of 24 x 32; all or none of them visible, or (None) not measured."""
    generator = torch.Generator().manual_seed(count)
    normal = (torch.rand(count, 24, 32, 3, generator=generator) * 255).round() / 255
    mask = torch.zeros(count, 24, 32)
    mask[:, 5:9, 6:20] = 1
    image = torch.where(mask.bool()[..., None], 1 - normal, normal)
    values = dict.fromkeys(room("synthesis.scores").NOT_SCORED, 1.0)
    score = room("nodes.compose").Score(**values, visible=visible, windows=())
    scores = None if visible is None else [score] * count
    node = own("SavePairs")
    node.hidden = SimpleNamespace(prompt={}, unique_id="1", extra_pnginfo=None)
    inputs = {"object": "tile", "type": "crack", "folder": folder, "scores": scores, "seed": 0}
    return node.execute(image=image, mask=mask, normal=normal, **inputs).args[0]


def _export(pairs: list[str], **changed) -> tuple[Path, str]:
    given = {"format": "coco", "segmentation": "rle", "visible_only": False, "normals": True, "folder": ""} | changed
    path, summary = call("ExportPairs", pairs=pairs, **{name: [value] for name, value in given.items()})
    return Path(path), summary


def check_every_format_stands_beside_the_pairs():
    pairs = _save("made", 3)
    for format, file in (("coco", "annotations/instances.json"), ("yolo", "data.yaml"), ("plain", "masks")):
        path, summary = _export([pairs] * 3, format=format, segmentation="polygon")
        assert path == OUTPUT.resolve() / f"made-{format}" and (path / file).exists()
        assert summary == "3 pairs, 3 normal images" and len(list((path / "images").iterdir())) >= 3
    content = json.loads((OUTPUT / "made-coco" / "annotations" / "instances.json").read_text())
    assert [one["bbox"] for one in content["annotations"]] == [[6, 5, 14, 4]] * 3
    assert [one["segmentation"] for one in content["annotations"]] == [[[6, 5, 20, 5, 20, 9, 6, 9]]] * 3


def check_the_next_run_follows_the_pairs():
    node, pairs = own("ExportPairs"), _save("followed", 2)
    path, _ = _export([pairs], folder="mine/coco")
    _save("followed", 1)
    states = [node.fingerprint_inputs(pairs=names) for names in ([pairs], [pairs], [None], [None])]
    assert path == OUTPUT.resolve() / "mine" / "coco" and len(set(states)) == len(states), "it would be passed over"
    assert _export([pairs], folder="mine/coco") == (path, "3 pairs, 3 normal images")


def check_invisible_pairs_and_normal_images_can_be_left_out():
    _save("some", 2, visible=False)
    pairs = _save("some", 1)
    assert _export([pairs], visible_only=True, normals=False)[1] == "1 pairs, 0 normal images"
    with refused("Export Pairs: ", "none of its pairs is known to be visible"):
        _export([_save("unknown", 1, visible=None)], visible_only=True)


def check_refined_masks_are_exported_where_there_are_any():
    path, summary = _export([_save("unrefined", 2)], format="plain", labels="refined")
    assert "2 pairs have no refined mask" in summary and len(list((path / "masks").iterdir())) == 2
    with refused("Export Pairs: ", "it holds another export"):
        _export(["unrefined"], format="plain")


def check_what_cannot_be_exported_is_reported():
    pairs, node = _save("not exported", 1), own("ExportPairs")
    _export([pairs])
    with refused("Export Pairs: ", "it holds another export", "choose another folder"):
        _export([pairs], segmentation="polygon")
    with refused("Export Pairs: ", "would mix with the pairs"):
        _export([pairs], folder="not exported/export")
    with refused("Export Pairs: folder: '../x' is not below"):
        _export([pairs], folder="../x")
    with refused("Export Pairs: pairs: empty"):
        _export([""])
    with refused("Export Pairs: pairs: 2 folders"):
        _export([pairs, _save("another", 1)])
    assert node.validate_inputs(pairs=[pairs]) is True and node.validate_inputs(pairs=[None]) is True
    assert node.validate_inputs(pairs=["gone"]).startswith(f"Export Pairs: {OUTPUT / 'gone'}: no such folder")


def check_an_export_can_be_stopped_and_resumed():
    pairs, stopped = _save("stopped", 2), False
    comfy.model_management.interrupt_current_processing(True)
    try:
        _export([pairs])
    except comfy.model_management.InterruptProcessingException:
        stopped = True
    assert stopped and not (OUTPUT / "stopped-coco" / "manifest.jsonl").exists()
    assert _export([pairs])[1] == "2 pairs, 2 normal images"
