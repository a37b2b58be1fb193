"""Bypassed nodes, runs that are repeated, and lists without a seed wire, through ComfyUI's own HTTP API.

A bypassed node passes on its first input of the output's type; an output without one is not connected.
"""

import copy
import json

import pytest
from anomaly_synthesis.datasets.pairs import read_dropped, read_manifest

from .conftest import REPOSITORY, python_of
from .server import Server, cached

pytestmark = pytest.mark.host
COMPOSE, SAVE, SAMPLER = "22", "24", "6"


@pytest.fixture(scope="module")
def own_server(host, tmp_path_factory):
    """A server that may be started again."""
    with Server(host, python_of(host), REPOSITORY, tmp_path_factory.mktemp("reruns")) as running:
        yield running


def _prompt(name: str, folder: str, **changes) -> dict:
    prompt = json.loads((REPOSITORY / "tests" / "prompts" / f"{name}.json").read_text())
    del prompt["23"]  # Preview Pair
    changes = {"SavePairs": {"folder": folder, "not_visible": "keep"}, "KSamplerAIAS": {"steps": 4}} | changes
    for node in prompt.values():
        node["inputs"] |= changes.get(node["class_type"].removeprefix("SIAS_"), {})
    return prompt


def _bypassed(prompt: dict, id: str, passes: dict[int, str]) -> dict:
    """The prompt that the browser sends where node `id` is bypassed. passes: output -> input that it passes on."""
    inputs = prompt.pop(id)["inputs"]
    for node in prompt.values():
        for name, value in list(node["inputs"].items()):
            if isinstance(value, list) and value[0] == id:
                del node["inputs"][name]
                if value[1] in passes:
                    node["inputs"][name] = inputs[passes[value[1]]]
    return prompt


def _words(entry: dict) -> str:
    return entry["outputs"][SAVE]["text"][0]


@pytest.mark.parametrize(
    ("node", "passes"), [(SAMPLER, {0: "latent_image"}), (COMPOSE, {0: "normal"})], ids=["sampler", "Compose Pair"]
)
@pytest.mark.parametrize("mode", ["difference", "paste"])
def test_nothing_is_saved_behind_a_bypassed_node(own_server, node, passes, mode):
    folder = f"bypassed {node} {mode}"
    prompt = _bypassed(_prompt("aias-synthesis", folder, ComposePair={"mode": mode}), node, passes)
    entry = own_server.run(prompt)
    root = own_server.output / folder
    assert _words(entry) == "0 saved, 1 blank" and "bypassed" in entry["outputs"][SAVE]["text"][1]
    assert read_manifest(root) == [] and not list(root.rglob("*.png")) and not own_server.images(entry)
    (line,) = read_dropped(root)
    assert line["changed"] == 0 and line["visible"] is False


def test_a_workflow_that_is_queued_again_restarted_or_changed_below_the_sampler_adds_nothing(own_server):
    dataset = {"count": 3, "as_batch": False}
    prompt = _prompt("list-with-own-seeds", "again", LoadDefectDataset=dataset)
    own_server.run(prompt)
    root = own_server.output / "again"
    first = (root / "manifest.jsonl").read_bytes()
    assert len(read_manifest(root)) == 3
    assert SAVE in cached(own_server.run(prompt))

    changed = copy.deepcopy(prompt)
    changed[COMPOSE]["inputs"]["visible_above"] = 0.5  # decides a score and no pixel
    entry = own_server.run(changed)
    assert SAMPLER in cached(entry) and SAVE not in cached(entry)
    assert [text for text in entry["outputs"][SAVE]["text"] if "there" in text] == ["0 saved, 1 already there"] * 3
    assert own_server.images(entry) == [root / line["image"] for line in read_manifest(root)]

    own_server.__exit__()
    own_server.__enter__()
    for again in (prompt, changed):
        entry = own_server.run(again)
        assert SAVE not in cached(entry)
    assert (root / "manifest.jsonl").read_bytes() == first and read_dropped(root) == []

    other = copy.deepcopy(prompt)
    other["2"]["inputs"]["count"] = 4
    own_server.run(other)
    assert len(read_manifest(root)) == 4


def _unwired(name: str, folder: str, seed: int = 7, **dataset) -> dict:
    prompt = _prompt(name, folder, LoadDefectDataset={"count": 3, "as_batch": False} | dataset)
    prompt[SAMPLER]["inputs"]["seed"] = seed
    prompt[SAVE]["inputs"].pop("seed", None)
    return prompt


def test_items_of_a_list_have_seeds_of_their_own_without_a_wire_and_the_manifest_knows_them(own_server):
    own_server.run(_unwired("list-with-own-seeds", "unwired"))
    lines = read_manifest(own_server.output / "unwired")
    seeds = [line["seed"] for line in lines]
    assert seeds[0] == 7 and len(set(seeds)) == 3 and None not in seeds
    for index, (seed, line) in enumerate(zip(seeds, lines, strict=True)):
        alone = f"alone {index}"
        own_server.run(_unwired("list-with-own-seeds", alone, seed, index=index, count=1))
        (made,) = read_manifest(own_server.output / alone)
        assert made["seed"] == seed and made["identity"] == line["identity"]


def test_a_wired_seed_is_used_as_it_is_and_known_without_a_wire_to_save_pairs(own_server):
    dataset = {"count": 3, "as_batch": False}
    for folder in ("wired", "known"):
        prompt = _prompt("list-with-own-seeds", folder, LoadDefectDataset=dataset)
        if folder == "known":
            del prompt[SAVE]["inputs"]["seed"]
        own_server.run(prompt)
    wired, known = (read_manifest(own_server.output / folder) for folder in ("wired", "known"))
    keys = ("seed", "identity")
    assert [[line[key] for key in keys] for line in wired] == [[line[key] for key in keys] for line in known]
    assert len({line["seed"] for line in wired}) == 3


def test_a_wired_seed_of_cores_sampler_is_known_without_a_wire_to_save_pairs(own_server):
    prompt = _unwired("list-with-own-seeds", "core")
    sampler = prompt[SAMPLER]
    sampler["class_type"] = "KSampler"
    del sampler["inputs"]["preset"]
    sampler["inputs"] |= {"sampler_name": "euler", "scheduler": "normal", "seed": ["2", 5]}
    own_server.run(prompt)
    own_server.run(_prompt("list-with-own-seeds", "pack", LoadDefectDataset={"count": 3, "as_batch": False}))
    core, pack = (read_manifest(own_server.output / name) for name in ("core", "pack"))
    assert [line["seed"] for line in core] == [line["seed"] for line in pack]


def test_per_item_noise_gives_a_list_the_seeds_of_ksampler_aias(own_server):
    prompt = _unwired("list-with-own-seeds", "by noise")
    sampler = prompt[SAMPLER]["inputs"]
    model, positive, negative, latent = (sampler[name] for name in ("model", "positive", "negative", "latent_image"))
    prompt |= {
        SAMPLER: {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["60", 0],
                "guider": ["61", 0],
                "sampler": ["62", 0],
                "sigmas": ["63", 0],
                "latent_image": latent,
            },
        },
        "60": {"class_type": "SIAS_PerItemNoise", "inputs": {"seed": 7}},
        "61": {
            "class_type": "CFGGuider",
            "inputs": {"model": model, "positive": positive, "negative": negative, "cfg": 2.0},
        },
        "62": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "63": {
            "class_type": "SIAS_AIASSigmas",
            "inputs": {"model": model, "steps": 4, "kind": "half", "refine": 0, "denoise": 1.0},
        },
    }
    own_server.run(prompt)
    own_server.run(_unwired("list-with-own-seeds", "by sampler"))
    noise, sampler = (read_manifest(own_server.output / name) for name in ("by noise", "by sampler"))
    assert [line["seed"] for line in noise] == [line["seed"] for line in sampler]
