"""The nodes through their `execute`, with core's own nodes around them, inside a real ComfyUI.

Each host starts once and runs every check of `inside`; each check is a test here, under its module's and its own name.
"""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
CHECKS = {
    f"{path.stem}.{entry.name.removeprefix('check_')}"
    for path in sorted((Path(__file__).parent / "inside").glob("*.py"))
    for entry in ast.parse(path.read_text()).body
    if isinstance(entry, ast.FunctionDef) and entry.name.startswith("check_")
}
_results = {}


@pytest.fixture
def results(host, in_host):
    if host not in _results:
        _results[host] = in_host("nodes_in_process.py")
    return _results[host]


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_inside_the_host(results, name):
    result = results[name]
    print(f"{result['seconds']:.1f} s", result.get("figures") or "")
    assert "error" not in result, result["error"]


def test_every_check_ran_and_no_other(results):
    assert set(results) == CHECKS and len(CHECKS) > 60
