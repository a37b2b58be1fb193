"""Finds ComfyUI hosts; runs a script inside one, a server of one, and its page in a browser."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..conftest import REPOSITORY, hosts
from .browser import Page, find_browser
from .painted import NAME, paint
from .server import Server

NO_HOST = "HOST TESTS SKIPPED: no ComfyUI found; set COMFYUI_PATH (and COMFYUI_PYTHON) or put one at ~/comfy/ComfyUI"
NO_BROWSER = "BROWSER TESTS SKIPPED: they need Chromium or Chrome on the PATH, and the package playwright"
NO_HOSTS = [pytest.param(None, marks=pytest.mark.lacking(NO_HOST))]


def python_of(host: Path) -> str:
    found = [host / name / "bin" / "python" for name in (".venv", "venv")]
    return os.environ.get("COMFYUI_PYTHON") or str(next((path for path in found if path.exists()), "python3"))


def pytest_collection_modifyitems(items):
    if not find_browser():
        for item in items:
            if "browser" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.lacking(NO_BROWSER))


@pytest.fixture(scope="session", params=hosts() or NO_HOSTS, ids=lambda host: host.name if host else "none")
def host(request) -> Path:
    """Every ComfyUI found, one after the other."""
    return request.param


@pytest.fixture
def in_host(host):
    """in_host(script) -> dict: runs tests/host/<script> with the host's Python in the host's folder; the script gets
    the repository's path and prints one line of JSON last."""

    def run(script: str) -> dict:
        done = subprocess.run(
            [python_of(host), "-P", str(Path(__file__).parent / script), str(host), str(REPOSITORY)],
            cwd=host,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def server(host, tmp_path_factory):
    """A ComfyUI with this pack that all tests share: what one test leaves in its folders, the next one finds."""
    with Server(host, python_of(host), REPOSITORY, tmp_path_factory.mktemp("comfyui")) as running:
        paint(running.input / NAME)
        yield running


@pytest.fixture(scope="module")
def browser():
    """Of one module alone: while Playwright runs, its event loop runs in this thread, and no other can."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=find_browser()) as chromium:
        yield chromium


@pytest.fixture
def page(server, browser):
    """A fresh tab with the server's page and an empty graph."""
    with browser.new_context(viewport={"width": 1600, "height": 1000}) as context:
        yield Page(context.new_page(), server)
