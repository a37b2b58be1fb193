"""The graph through ComfyUI's own HTTP API: every prompt, the cache, interruption, and the command line's pixels."""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from anomaly_synthesis.datasets.mvtec import read_mvtec
from anomaly_synthesis.datasets.pairs import read_dropped, read_manifest
from anomaly_synthesis.datasets.procedural import write_surfaces
from anomaly_synthesis.datasets.split import make_split, save_split
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import read_picture
from anomaly_synthesis.modules.base_file import file_digest

from .conftest import REPOSITORY, python_of
from .server import cached

pytestmark = pytest.mark.host
PROMPTS = sorted((REPOSITORY / "tests" / "prompts").glob("*.json"))
COUNT = 8


def _prompt(name: str, **changes: dict) -> dict:
    """A stored prompt with widgets changed: class="widget values" of every node of that class."""
    prompt = json.loads((REPOSITORY / "tests" / "prompts" / f"{name}.json").read_text())
    for node in prompt.values():
        node["inputs"] |= changes.get(node["class_type"].removeprefix("SIAS_"), {})
    return prompt


@pytest.mark.parametrize("path", PROMPTS, ids=lambda path: path.stem)
def test_every_prompt_writes_pairs_that_open_again_and_change_the_mask_only(host, server, path):
    folder = f"every/{path.stem}"
    entry = server.run(_prompt(path.stem, SavePairs={"folder": folder}))
    assert server.images(entry)
    previews = [id for id, node in _prompt(path.stem).items() if node["class_type"] == "SIAS_PreviewPair"]
    assert all(entry["outputs"][id]["images"] for id in previews)
    records = read_manifest(server.output / folder)
    assert records
    for record in records:
        image, normal = (read_picture(server.output / folder / record[key]).pixels for key in ("image", "normal"))
        mask = read_mask(server.output / folder / record["mask"]).numpy()
        changed = (image != normal).any(-1)
        assert not (changed & ~mask).any() and changed[mask].mean() > 0.3
        assert record["visibility"] is None or (record["visible"] and record["visibility"] > 1)
    samples = read_mvtec(server.output / folder)
    assert {(sample.object, sample.type) for sample in samples if sample.type != "good"} == {
        (record["object"], record["type"]) for record in records
    }


def test_both_forms_write_the_same_bytes(server):
    images = []
    for name in ("aias-synthesis", "aias-advanced"):
        server.run(_prompt(name, SavePairs={"folder": f"forms/{name}"}))
        (record,) = read_manifest(server.output / "forms" / name)
        images.append((server.output / "forms" / name / record["image"]).read_bytes())
    assert images[0] == images[1]


def test_the_manifest_records_how_a_pair_was_made(server):
    server.run(_prompt("aias-synthesis", KSamplerAIAS={"seed": 41}, SavePairs={"folder": "recorded"}))
    (record,) = read_manifest(server.output / "recorded")
    assert record["seed"] == 41 and len(record["base"]) == 16
    (sampler,) = [node for node in record["settings"].values() if node["node"] == "SIAS_KSamplerAIAS"]
    assert sampler == {
        "node": "SIAS_KSamplerAIAS",
        "seed": 41,
        "steps": 20,
        "cfg": 2.0,
        "preset": "recommended",
        "denoise": 1.0,
    }


def test_the_manifest_holds_the_nearest_real_defect_and_a_line_for_every_dropped_pair(server):
    prompt = _prompt("nearest-real", ComposePair={"visible_above": 4.0}, SavePairs={"folder": "nearest"})
    entry = server.run(prompt)
    kept, dropped = (read(server.output / "nearest") for read in (read_manifest, read_dropped))
    lines = sorted([*kept, *dropped], key=lambda line: line["index"])
    assert [line["index"] for line in lines] == list(range(6)) and kept and dropped
    assert all(line["visible"] == (line in kept) and line["nearest_real"] > 0 for line in lines)
    assert entry["outputs"]["24"]["text"][0] == f"{len(kept)} saved, {len(dropped)} not visible"


def test_what_a_node_lacks_is_reported_before_anything_runs(server):
    prompt = _prompt("nearest-real", SavePairs={"not_visible": "burn"})
    del prompt["42"]["inputs"]["crop"]
    errors = server.refused(prompt)
    assert (
        "not_visible: 'burn'; accepted is one of keep, drop" in errors["24"]
        and "crop and mask: both are open" in errors["42"]
    )


def test_the_manifest_names_the_adapter_as_the_command_line_does(server):
    server.run(_prompt("fast-synthesis", SavePairs={"folder": "named"}))
    (record,) = read_manifest(server.output / "named")
    assert record["adapter"] == file_digest(REPOSITORY / "weights" / "surfaces-fast.safetensors")


def test_the_second_queue_of_a_prompt_is_served_from_the_cache_and_writes_nothing_more(server):
    prompt = _prompt("aias-synthesis", SavePairs={"folder": "cached"})
    server.run(prompt)
    assert set(cached(server.run(prompt))) == set(prompt)
    assert len(read_manifest(server.output / "cached")) == 1
    changed = copy.deepcopy(prompt)
    changed["6"]["inputs"]["seed"] += 1
    assert {"1", "2", "3", "4", "5", "21"} <= set(cached(server.run(changed)))
    assert len(read_manifest(server.output / "cached")) == 2


def test_an_interrupted_run_leaves_nothing_and_the_next_one_works(server):
    prompt = _prompt("aias-synthesis", SavePairs={"folder": "interrupted"}, KSamplerAIAS={"steps": 1000})
    server.interrupt(server.queue(prompt), after=1)
    assert not (server.output / "interrupted").exists()
    prompt["6"]["inputs"]["steps"] = 20
    server.run(prompt)
    server.run(_prompt("aias-synthesis", SavePairs={"folder": "undisturbed"}))
    pairs = [
        server.output / name / read_manifest(server.output / name)[0]["image"]
        for name in ("interrupted", "undisturbed")
    ]
    assert pairs[0].read_bytes() == pairs[1].read_bytes()


@pytest.fixture(scope="module")
def surfaces(server):
    """A dataset of procedural surfaces with its split, below the server's input."""
    folder = write_surfaces(server.input / "surfaces", normals=4, defects=3, size=(176, 208), seed=5)
    samples = read_mvtec(folder)
    save_split(make_split(samples, {sample.name: sample.name for sample in samples}, seed=0), server.input / "s.json")
    return folder


def test_the_graph_gives_the_command_lines_pixels(server, host, surfaces, tmp_path):
    (tmp_path / "anomaly_synthesis").symlink_to(REPOSITORY)
    made = subprocess.run(
        [
            python_of(host),
            "-m",
            "anomaly_synthesis.cli",
            "synthesize",
            "--data",
            str(surfaces),
            "--split",
            str(server.input / "s.json"),
            "--base",
            str(REPOSITORY / "weights" / "surfaces.safetensors"),
            "--foreign-base",
            "--count",
            str(COUNT),
            "--steps",
            "10",
            "--negatives",
            "1",
            "--seed",
            "3",
            "--policy",
            "keep",
            "--out",
            str(tmp_path / "pairs"),
        ],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    dataset = {"folder": "surfaces", "split": "s.json", "index": 0, "count": COUNT, "plan_seed": 3}
    server.run(
        _prompt("list-with-own-seeds", LoadDefectDataset=dataset, SavePairs={"folder": "same", "not_visible": "keep"})
    )
    folders = tmp_path / "pairs", server.output / "same"
    for line, graph in zip(*map(read_manifest, folders), strict=True):
        assert [line[key] for key in ("object", "type", "seed", "base", "windows")] == [
            graph[key] for key in ("object", "type", "seed", "base", "windows")
        ]
        files = [
            [folder / record[key] for key in ("image", "mask", "normal")]
            for folder, record in zip(folders, (line, graph), strict=True)
        ]
        for ours, theirs in list(zip(*files, strict=True))[1:]:
            assert np.array_equal(read_picture(ours).pixels, read_picture(theirs).pixels)
        ours, theirs = (read_picture(paths[0]).pixels.astype(int) for paths in files)
        # One level: the last bit of the model's answer may depend on how many windows run together.
        assert np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 1e-3


@pytest.mark.parametrize(
    ("node", "change", "words"),
    [
        ("LoadAnomalyLDM", {"base_name": "gone.safetensors"}, "no base 'gone.safetensors' in anomaly_bases (searched:"),
        ("LoadDefectDataset", {"folder": "no such folder"}, "give the path of a dataset's folder"),
        ("KSamplerAIAS", {"steps": 0}, "smaller than min of 1"),
        ("KSamplerAIAS", {"steps": 10_000}, "bigger than max of 1000"),
        ("CropToMask", {"resolution": 8}, "smaller than min of 32"),
    ],
)
def test_bad_widgets_are_refused_before_anything_runs(server, node, change, words):
    assert words in "\n".join(server.refused(_prompt("aias-synthesis", **{node: change})).values())


@pytest.mark.parametrize(
    ("node", "change", "words"),
    [
        ("KSamplerGraded", {"windows": "800-1000"}, "KSampler (Graded Diffusion): windows: (800, 1000) is reversed"),
        ("KSamplerGraded", {"windows": "1000"}, "such as '1000-800, 400-300'"),
        ("EMAMaskSchedule", {"levels": "all"}, "EMA Mask Schedule: levels: 'all'"),
        ("EMAMaskSchedule", {"t_s": 1000}, "bigger than max of 999"),
    ],
)
def test_bad_widgets_of_stage_are_refused_before_anything_runs(server, node, change, words):
    assert words in "\n".join(server.refused(_prompt("stage-synthesis", **{node: change})).values())


def test_a_prompt_from_before_the_windows_of_aias_sigmas_runs(server):
    prompt = _prompt("aias-advanced", SavePairs={"folder": "before windows"})
    (levels,) = [node for node in prompt.values() if node["class_type"] == "SIAS_AIASSigmas"]
    del levels["inputs"]["windows"]
    server.run(prompt)
    assert len(read_manifest(server.output / "before windows")) == 1


@pytest.mark.parametrize(
    ("node", "change", "words"),
    [
        ("SavePairs", {"folder": "../elsewhere"}, "Save Pairs: folder: '../elsewhere' is not below"),
        ("SavePairs", {"folder": "bad", "object": "a/b"}, "object: 'a/b'"),
        ("AnomalyConditioning", {"type": "rust"}, "this base has no tokens for woven_cloth / rust; accepted is one of"),
        ("AnomalyConditioning", {"type": "stain\npit"}, "Anomaly Conditioning: type: 2 lines for 1 images"),
        (
            "LoadDefectDataset",
            {"select": "defect images"},
            "Load Defect Dataset: select: the procedural surfaces have no",
        ),
    ],
)
def test_bad_values_stop_the_run_with_what_to_do(server, node, change, words):
    prompt = _prompt("aias-synthesis", SavePairs={"folder": "never"}, **({} if node == "SavePairs" else {node: change}))
    if node == "SavePairs":
        prompt["24"]["inputs"] |= change
    assert words in server.failed(prompt)
    assert not list((server.output / "never").rglob("*.png")) and not (server.output.parent / "elsewhere").exists()


def test_a_users_base_appears_in_the_menu_and_a_broken_one_is_reported(server):
    folder = server.models / "anomaly_bases"
    folder.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "weights" / "surfaces.safetensors", folder / "mine.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "mine.safetensors").read_bytes()[:100_000])
    (folder / "pickled.pt").write_bytes(b"not offered")
    offered = server.object_info()["SIAS_LoadAnomalyLDM"]["input"]["required"]["base_name"]
    offered = offered[1]["options"] if offered[0] == "COMBO" else offered[0]
    assert {"mine.safetensors", "cut.safetensors"} <= set(offered) and "pickled.pt" not in offered
    server.run(_prompt("aias-synthesis", LoadAnomalyLDM={"base_name": "mine.safetensors"}))
    assert "no readable safetensors file" in server.failed(
        _prompt("aias-synthesis", LoadAnomalyLDM={"base_name": "cut.safetensors"})
    )


def test_a_dataset_that_vanished_between_queue_and_run_is_named(server, surfaces):
    gone = shutil.copytree(surfaces, server.input / "gone")
    waiting = server.queue(_prompt("aias-synthesis", KSamplerAIAS={"steps": 100, "seed": 99}))
    prompt = _prompt("list-with-own-seeds", LoadDefectDataset={"folder": "gone"})
    queued = server.queue(prompt)
    Path(gone).rename(server.input / "elsewhere")
    server.wait(waiting)
    entry = server.wait(queued)
    (error,) = [data for kind, data in entry["status"]["messages"] if kind == "execution_error"]
    assert (
        "Load Defect Dataset: " in error["exception_message"] and "gone: no such folder" in error["exception_message"]
    )
