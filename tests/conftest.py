"""Rings of tests, by folder: quick and unit, nodes, host."""

import os
from pathlib import Path

import pytest

# Set before torch is imported. Workers of pytest-xdist share the cores: more threads in each only wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        ring = item.path.relative_to(Path(__file__).parent).parts[0]
        item.add_marker(ring)
        if not item.get_closest_marker("xdist_group"):  # tests of a file share what its fixtures make
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        if ring == "unit" and not item.get_closest_marker("slow"):
            item.add_marker("quick")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("lacking"):
        pytest.skip(mark.args[0])  # from one place for all: pytest then reports them on one line
