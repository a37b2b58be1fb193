"""Save Pairs where pairs that are not visible are kept, or left out of the folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import torch

from .scenes import one, pairs, refused
from .start import OUTPUT, call, own, room

SEEN = (True, False, True, False)


def _scores(visible=SEEN) -> list:
    """The scores of a real pair, once for every entry of `visible`."""
    (score,) = pairs(*one((64, 64)), steps=1).scores
    return [replace(score, visible=seen, visibility=float(place)) for place, seen in enumerate(visible)]


def _save(folder: str, visible=SEEN, not_visible="drop", first=0, **changed):
    """The output of Save Pairs for pairs of one image, each with its own grey in the mask, counted from `first`."""
    image, mask = one((64, 64))
    images = torch.stack(
        [torch.where(mask[0, ..., None] > 0, (first + place) / 20, image[0]) for place in range(len(visible))]
    )
    hidden = SimpleNamespace(prompt={}, unique_id="1", extra_pnginfo={"workflow": {}})
    node = type("WithHidden", (own("SavePairs"),), {"hidden": hidden})
    given = {"scores": _scores(visible), "object": "plate", "type": "spot", "seed": 40} | changed
    return node.execute(image=images, mask=mask, normal=image, folder=folder, not_visible=not_visible, **given)


def _lines(folder: str) -> list[list[dict]]:
    read = room("datasets.pairs")
    return [lines(OUTPUT / folder) for lines in (read.read_manifest, read.read_dropped)]


def _images(folder: str) -> list[str]:
    return sorted(path.stem for path in (OUTPUT / folder / "plate" / "test" / "spot").glob("*.png"))


def check_dropped_pairs_leave_a_line_and_no_file():
    done = _save("thinned", type="spot\nspot\nspot\ndent")
    kept, dropped = _lines("thinned")
    assert [line["index"] for line in kept] == [0, 2] and [line["index"] for line in dropped] == [1, 3]
    assert _images("thinned") == ["000000", "000002"] and not (OUTPUT / "thinned/plate/test/dent").exists()
    assert [line["type"] for line in dropped] == ["spot", "dent"] and [line["seed"] for line in dropped] == [41, 43]
    assert all(line["visible"] for line in kept) and not any(line["visible"] for line in dropped)
    files = {"image", "mask", "normal", "refined_mask"}
    assert set(kept[0]) - set(dropped[0]) == files and not set(dropped[0]) - set(kept[0])
    assert [line["visibility"] for line in dropped] == [1.0, 3.0]
    assert done.ui["text"][0] == "2 saved, 2 not visible" and "thinned/dropped.jsonl lists them" in done.ui["text"][1]
    assert [shown["filename"] for shown in done.ui["images"]] == ["000000.png", "000002.png"]


def check_a_dropped_pairs_line_has_the_command_lines_keys():
    engine = room("synthesis.run")._record
    (made,) = room("synthesis.pair").make_pairs(
        room("modules.base_file").load_base(room("nodes.compact_base").base_path("surfaces (bundled)"))[0],
        [room("synthesis.demo").SurfaceItems().item(0).job],
        room("synthesis.pair").Settings(steps=1),
    )
    line = engine(room("synthesis.policy").Settled(made, room("synthesis.pair").Settings()), False, "base", None)
    _save("keys", (False,))
    assert set(_lines("keys")[1][0]) == {"index", "object", "type"} | set(line)


def check_the_numbering_continues_over_drops_and_restarts():
    made = 0
    for batch in ((False,), SEEN, (False, False), (True,), (True, False)):
        _save("continued", batch, first=made)
        made += len(batch)
    kept, dropped = _lines("continued")
    assert [[line["index"] for line in lines] for lines in (kept, dropped)] == [[1, 3, 7, 8], [0, 2, 4, 5, 6, 9]]
    assert _images("continued") == ["000001", "000003", "000007", "000008"]
    read = room("images.pictures").read_picture
    inside = [read(OUTPUT / "continued" / line["image"]).pixels[40, 40, 0] for line in kept]
    assert inside == [round(255 * place / 20) for place in (1, 3, 7, 8)], "every line has its own pair's image"
    for line in kept[2:3]:
        for key in ("image", "mask"):
            (OUTPUT / "continued" / line[key]).unlink()  # deleted by hand
    _save("continued", (True,), "keep", first=made)
    assert [line["index"] for line in _lines("continued")[0]] == [1, 3, 7, 8, 10]


def check_a_batch_that_is_dropped_whole_is_no_error():
    done = _save("nothing", (False, False))
    assert done.ui["images"] == [] and done.ui["text"][0] == "0 saved, 2 not visible" and done.args == ("nothing",)
    assert [len(lines) for lines in _lines("nothing")] == [0, 2]
    with refused("Worst Pairs: "):
        call("WorstPairs", pairs=["nothing"], by=["visibility"], count=[1])
    _save("nothing", (True,), first=2)
    assert [len(lines) for lines in _lines("nothing")] == [1, 2] and _images("nothing") == ["000002"]


def check_keep_saves_pairs_as_before():
    texts = _save("kept", not_visible="keep").ui["text"], _save("seen", (True,)).ui["text"]
    assert texts == (("4 saved",), ("1 saved",))
    image, mask = one((64, 64))
    other = torch.where(mask[..., None] > 0, 0.9, image)
    hidden = SimpleNamespace(prompt={}, unique_id="1", extra_pnginfo=None)
    call(
        type("WithHidden", (own("SavePairs"),), {"hidden": hidden}),
        image=other,
        mask=mask,
        normal=image,
        object="plate",
        type="spot",
        folder="kept",
    )
    kept, dropped = _lines("kept")
    assert [line["visible"] for line in kept] == [*SEEN, None] and dropped == []
    assert not (OUTPUT / "kept" / "dropped.jsonl").exists()


def check_an_unknown_choice_is_refused_before_the_run_and_in_it():
    node = own("SavePairs")
    with refused("Save Pairs: ", "not_visible: 'burn'; accepted is one of keep, drop"):
        _save("never", not_visible="burn")
    assert not (OUTPUT / "never").exists()
    assert "accepted is one of keep, drop" in node.validate_inputs(not_visible="burn")
    for given in ({}, {"not_visible": None}, {"not_visible": "keep"}, {"not_visible": "drop"}):
        assert node.validate_inputs(**given) is True


def check_no_export_holds_a_dropped_pair():
    _save("to export")
    shutil.rmtree(OUTPUT / "to export coco", ignore_errors=True)
    call(
        "ExportPairs",
        pairs=["to export"],
        format=["coco"],
        segmentation=["rle"],
        visible_only=[False],
        normals=[False],
        folder=["to export coco"],
    )
    images = [path for path in (OUTPUT / "to export coco").rglob("*.png") if "mask" not in path.name]
    assert len(images) == 2, images
