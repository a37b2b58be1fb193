"""Batches on real servers: saved graphs run as they are, in either format, and a killed run ends complete."""

import asyncio
import json
import subprocess
import sys

import pytest

pytest.importorskip("aiohttp")

from anomaly_synthesis.batch import commands
from anomaly_synthesis.batch.client import Server, Timing, session
from anomaly_synthesis.batch.ui_format import to_api
from anomaly_synthesis.datasets.pairs import read_manifest
from anomaly_synthesis.images.mask_files import read_mask
from anomaly_synthesis.images.pictures import read_picture

from .batch_job import EXAMPLE, made, write_job
from .conftest import REPOSITORY, python_of

pytestmark = pytest.mark.host
WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_saved_graph_becomes_the_prompt_that_the_page_sends(server, path):
    prompt = to_api(json.loads(path.read_text()), server.object_info())
    twin = json.loads((REPOSITORY / "tests" / "prompts" / path.name).read_text())
    assert {id: (node["class_type"], node["inputs"]) for id, node in prompt.items()} == {
        id: (node["class_type"], node["inputs"]) for id, node in twin.items()
    }


def test_the_documented_job_makes_pairs_from_either_format(server, tmp_path):
    pairs, before = [], set(server.output.rglob("*"))
    for name, workflow in (
        ("ui", REPOSITORY / EXAMPLE["workflow"].removeprefix("../")),
        ("api", REPOSITORY / "tests" / "prompts" / "aias-synthesis.json"),
    ):
        path = write_job(tmp_path / name, workflow, servers=server.url, count=2)
        assert "2 items" in commands.dry_run(path)
        assert "2 of 2 pairs" in commands.run_batch(path, lambda _: None)
        pairs.append(made(path))
    assert pairs[0] == pairs[1] and len(pairs[0]) == 8
    for record in read_manifest(tmp_path / "ui" / "pairs"):
        folder = tmp_path / "ui" / "pairs"
        image, normal = (read_picture(folder / record[key]).pixels for key in ("image", "normal"))
        changed = (image != normal).any(-1)
        mask = read_mask(folder / record["mask"]).numpy()
        assert not (changed & ~mask).any() and changed[mask].mean() > 0.3
        assert record["visibility"] > 0 and record["visible"] in (True, False) and record["seconds"] > 0
        assert 0 <= record["completeness"] <= 1
    assert set(server.output.rglob("*")) == before, "Save Pairs is left out"


def test_what_the_server_lacks_is_reported_before_anything_runs(server, tmp_path):
    prompt = json.loads((REPOSITORY / "tests" / "prompts" / "aias-synthesis.json").read_text())
    prompt["1"]["inputs"]["base_name"] = "nowhere.safetensors"
    prompt["20"]["class_type"] = "NoSuchNode"
    del prompt["3"]["inputs"]["context"]
    (tmp_path / "prompt.json").write_text(json.dumps(prompt))
    with pytest.raises(ValueError) as refused:
        commands.dry_run(write_job(tmp_path / "job", tmp_path / "prompt.json", servers=server.url, count=2))
    for words in ("base_name: the server has no 'nowhere.safetensors'", "no node NoSuchNode", "context: missing"):
        assert words in str(refused.value)


def test_a_prompt_keeps_our_id_and_what_a_server_refuses_has_its_reasons(server):
    async def ask():
        async with session() as http:
            client = Server(server.url, http, Timing())
            empty = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
            prompt = {"1": empty, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
            own = "01234567-89ab-4cde-8f01-23456789abcd"
            assert await client.send(prompt, own, "client", ["2"], {"run": "x", "item": 1}) == own
            server.wait(own)
            assert (await client.history(own)).value["outputs"]["2"]["images"]
            bad = {**prompt, "1": {**empty, "inputs": {**empty["inputs"], "width": 0}}}
            with pytest.raises(Exception, match="node 1 .*smaller than min of 1"):
                await client.send(bad, own, "client", ["2"], {})

    asyncio.run(ask())


def test_the_job_on_a_local_cluster_of_two_makes_the_same_pairs(host, server, tmp_path):
    pytest.importorskip("ray")
    workflow = REPOSITORY / EXAMPLE["workflow"].removeprefix("../")
    plain = write_job(tmp_path / "plain", workflow, servers=server.url, count=6)
    commands.run_batch(plain, lambda _: None)
    cluster = {
        "comfyui": str(host),
        "python": python_of(host),
        "actors": 2,
        "gpus": 0,
        "arguments": ["--cpu", "--disable-api-nodes", "--preview-method", "none", "--base-directory", str(server.base)],
    }
    path = write_job(tmp_path / "ray", workflow, servers=None, cluster=cluster, count=6)
    assert "6 of 6 pairs" in commands.run_batch(path, lambda _: None, ray="local", timing=Timing(start=300))
    assert made(path) == made(plain)


def test_a_killed_batch_on_killed_servers_ends_complete(host, tmp_path):
    script = REPOSITORY / "benchmarks" / "batch_survival.py"
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            str(script),
            "--comfyui",
            str(host),
            "--python",
            python_of(host),
            "--items",
            "12",
            "--runner-kills",
            "2",
            "--server-kills",
            "1",
            "--delay-items",
            "0",
            "--work",
            str(tmp_path / "work"),
            "--out",
            str(tmp_path / "found.json"),
        ],
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["pairs"] == 12 and found["identical"] and found["runner_kills"] >= 1
