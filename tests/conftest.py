"""Rings of tests, by folder: quick and unit, nodes, host. ComfyUI hosts, and which process tests which."""

import os
from pathlib import Path

import pytest

# Set before torch is imported. Workers of pytest-xdist share the cores: more threads in each only wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).parents[1]


def hosts() -> list[Path]:
    """Every ComfyUI found, the newest first."""
    if os.environ.get("COMFYUI_PATH"):
        return [Path(os.environ["COMFYUI_PATH"])]
    if REPOSITORY.parent.name == "custom_nodes":
        return [REPOSITORY.parent.parent]
    home = Path.home() / "comfy"
    return [path for path in [home / "ComfyUI", *sorted(home.glob("ComfyUI-*"))] if (path / "main.py").is_file()]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        ring = item.path.relative_to(Path(__file__).parent).parts[0]
        item.add_marker(ring)
        if ring == "unit" and not item.get_closest_marker("slow"):
            item.add_marker("quick")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("lacking"):
        pytest.skip(mark.args[0])  # from one place for all: pytest then reports them on one line


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With --dist loadscope: one process has all tests of a ComfyUI, and starts one server of it; one has all tests of
    a file, which share what its fixtures make. The largest go first."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    names = sorted((host.name for host in hosts()), key=len, reverse=True)  # one may begin with another

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            needs_host = not file.startswith("tests/unit/")
            return next((name for name in names if name in test and needs_host), file)

    return Scheduling(config, log)
