"""The pack inside a real ComfyUI."""

import pytest

pytestmark = pytest.mark.host
SECONDS = 3  # of processor time to load the pack; 0.7 to 1.1 were measured, with pydantic, which the host loads with it
OPTIONAL = {"sklearn", "transformers", "matplotlib", "markdown", "jinja2", "cv2", "ray", "pycocotools", "supervision"}


def test_core_loads_the_pack_and_aias_equals_cores_euler_ancestral(in_host):
    seen = in_host("load_and_sample.py")
    assert seen["loaded"]
    assert seen["seconds"] < SECONDS, "loading the pack delays the start of every ComfyUI that has it"
    assert not OPTIONAL & set(seen["added"]), "an optional package may be missing, and is imported where it is used"
    assert seen["difference"] < 1e-10
