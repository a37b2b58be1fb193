"""The pack inside a real ComfyUI."""

import pytest

pytestmark = pytest.mark.host


def test_core_loads_the_pack_and_aias_equals_cores_euler_ancestral(in_host):
    seen = in_host("load_and_sample.py")
    assert seen["loaded"]
    assert seen["heavy"] == [], "loading the pack imported rooms that only a run needs"
    assert seen["difference"] < 1e-10
