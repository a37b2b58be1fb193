"""Finds ComfyUI hosts, and runs a script inside one with the pack loaded through core."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NO_HOST = "HOST TESTS SKIPPED: no ComfyUI found; set COMFYUI_PATH (and COMFYUI_PYTHON) or put one at ~/comfy/ComfyUI"


def _hosts() -> list[Path]:
    if os.environ.get("COMFYUI_PATH"):
        return [Path(os.environ["COMFYUI_PATH"])]
    if REPOSITORY.parent.name == "custom_nodes":
        return [REPOSITORY.parent.parent]
    home = Path.home() / "comfy"
    return [path for path in [home / "ComfyUI", *sorted(home.glob("ComfyUI-*"))] if (path / "main.py").is_file()]


def _python(host: Path) -> str:
    found = [host / name / "bin" / "python" for name in (".venv", "venv")]
    return os.environ.get("COMFYUI_PYTHON") or str(next((path for path in found if path.exists()), "python3"))


def pytest_generate_tests(metafunc):
    if "host" in metafunc.fixturenames:
        hosts = _hosts() or [pytest.param(None, marks=pytest.mark.skip(reason=NO_HOST))]
        metafunc.parametrize("host", hosts, ids=lambda host: host.name if host else "none", scope="session")


@pytest.fixture
def in_host(host):
    """in_host(script) -> dict: runs tests/host/<script> with the host's Python in the host's folder; the script gets
    the repository's path and prints one line of JSON last."""

    def run(script: str) -> dict:
        done = subprocess.run(
            [_python(host), "-P", str(Path(__file__).parent / script), str(host), str(REPOSITORY)],
            cwd=host, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run
