"""What the page's menu exports is a batch's workflow as it is."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("aiohttp")

from .batch_job import EXAMPLE, made, write_job
from .conftest import REPOSITORY

pytestmark = pytest.mark.host
TEMPLATE = REPOSITORY / EXAMPLE["workflow"].removeprefix("../")
EXPORTS = {"saved": "Comfy.ExportWorkflow", "api": "Comfy.ExportWorkflowAPI"}


def test_what_the_page_exports_runs_as_a_batch(server, page, tmp_path):
    page.load_workflow(json.loads(TEMPLATE.read_text()), TEMPLATE.stem)
    pairs = {}
    for name, command in EXPORTS.items():
        page.export(command, tmp_path / f"{name}.json")
        path = write_job(tmp_path / name, tmp_path / f"{name}.json", servers=server.url, count=2)
        # As a process of its own: Playwright's event loop runs in this thread, so no other can.
        done = subprocess.run(
            [
                sys.executable,
                "-P" if sys.version_info >= (3, 11) else "-s",
                "-m",
                "anomaly_synthesis.cli",
                "batch",
                str(path),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0 and "2 of 2 pairs" in done.stdout, done.stdout + done.stderr
        pairs[name] = made(path)
    saved, api = (json.loads((tmp_path / f"{name}.json").read_text()) for name in EXPORTS)
    assert "links" in saved and all("class_type" in node for node in api.values()), "the two formats"
    assert pairs["saved"] == pairs["api"] and len(pairs["api"]) == 8
