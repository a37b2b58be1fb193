"""ComfyUI processes that are started and watched, and a job on a local Ray cluster of two of them."""

import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from anomaly_synthesis.batch import commands
from anomaly_synthesis.batch.job import read_job
from anomaly_synthesis.batch.ray_host import ComfyHost
from anomaly_synthesis.datasets.pairs import read_manifest

from .batch_jobs import FAST, content, run, write_job
from .refusals import refused
from .simulated_server import Simulated

SIMULATED = str(Path(__file__).with_name("simulated_server.py"))
MAIN = f"""
import argparse, importlib.util, sys, time
spec = importlib.util.spec_from_file_location("simulated_server", {SIMULATED!r})
module = importlib.util.module_from_spec(spec)
sys.modules["simulated_server"] = module
spec.loader.exec_module(module)
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--delay", type=float, default=0)
options, _ = parser.parse_known_args()
with module.Simulated(options.delay, options.port):
    time.sleep(600)
"""


@pytest.fixture
def comfyui(tmp_path):
    """A folder that starts as ComfyUI does, with a simulated server in it."""
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(MAIN)
    return folder


def _answers(url: str, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(url + "/system_stats", timeout=5) as answer:
            return answer.status == 200
        time.sleep(0.1)
    return False


def test_a_process_that_dies_is_started_again_at_its_address(comfyui):
    host = ComfyHost(str(comfyui), sys.executable, ["--delay", "0"], "127.0.0.1")
    try:
        assert _answers(host.url())
        first = host.pid()
        os.kill(first, signal.SIGKILL)
        time.sleep(0.2)
        assert _answers(host.url()) and host.pid() != first
    finally:
        last = host.pid()
        host.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def test_two_processes_of_one_folder_share_no_temporary_folder_and_no_database(comfyui):
    hosts = [ComfyHost(str(comfyui), sys.executable, [], "127.0.0.1") for _ in range(2)]
    try:
        assert all(_answers(host.url()) for host in hosts)
        arguments = [_text(Path(f"/proc/{host.pid()}/cmdline")).split("\0") for host in hosts]
    finally:
        for host in hosts:
            host.stop()
    for option in ("--temp-directory", "--database-url"):
        assert len({command[command.index(option) + 1] for command in arguments}) == 2
    for command in arguments:
        assert not Path(command[command.index("--temp-directory") + 1]).exists(), "nothing is left behind"


def test_a_folder_without_comfyui_is_refused(tmp_path):
    with refused(subject="cluster.comfyui", got="has no main.py"):
        ComfyHost(str(tmp_path), sys.executable, [], "127.0.0.1")


def test_ray_needs_the_section_cluster_in_the_job(tmp_path):
    with Simulated() as server:
        path = write_job(tmp_path, [server])
    with refused(subject="job.yaml$", got="no `cluster`", remedy="`cluster`, with the folder"):
        commands.run_batch(path, lambda _: None, ray="local", timing=FAST)


def test_a_job_on_a_local_cluster_of_two_makes_the_same_pairs(comfyui, tmp_path):
    pytest.importorskip("ray")
    with Simulated() as server:
        run(write_job(tmp_path / "plain", [server]))
    cluster = {"comfyui": str(comfyui), "python": sys.executable, "arguments": ["--delay", "0.5"], "actors": 2}
    cluster["gpus"] = 0
    path = write_job(tmp_path / "ray", [], cluster=cluster)
    assert read_job(path).servers == ()
    commands.run_batch(path, lambda _: None, ray="local", timing=FAST.__class__(**{**FAST.__dict__, "start": 60}))
    assert len(read_manifest(tmp_path / "ray" / "pairs")) == 12
    assert content(tmp_path / "ray" / "pairs") == content(tmp_path / "plain" / "pairs")
    made = [row["items"] for row in json.loads(commands.status(path, as_json=True))["servers"]]
    assert len(made) == 2 and min(made) >= 1
    assert not [process for process in Path("/proc").glob("[0-9]*/cmdline") if str(comfyui) in _text(process)]


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes().decode(errors="replace")
    return ""
