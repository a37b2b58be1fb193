"""The harness itself, with core's nodes alone: a run, the cache, refusal, failure, interruption, and the browser."""

import pytest
from PIL import Image

from .server import cached

pytestmark = pytest.mark.host
EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 96, "height": 64, "batch_size": 1, "color": 0xFF8000}}
PREVIEW = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
SHOWN = {"1": EMPTY, "2": PREVIEW}


def test_a_run_leaves_its_image_and_fills_the_cache(server):
    entry = server.run(SHOWN)
    (path,) = server.images(entry)
    assert Image.open(path).getpixel((0, 0)) == (255, 128, 0)
    assert "1" in cached(server.run(SHOWN))


def test_an_invalid_prompt_is_refused_with_its_reasons(server):
    wide = {**SHOWN, "1": {**EMPTY, "inputs": {**EMPTY["inputs"], "width": 0}}}
    assert "width" in server.refused(wide)["1"]
    with pytest.raises(AssertionError, match="1: Value 0 smaller than min of 1: width"):
        server.run(wide)


def test_a_failing_prompt_gives_its_error_and_its_traceback(server):
    wrong = {"string": "", "regex_pattern": "(", "replace": ""}
    prompt = {
        "1": {"class_type": "RegexReplace", "inputs": wrong},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    assert "missing )" in server.failed(prompt)
    with pytest.raises(AssertionError, match="in execute"):
        server.run(prompt)


def test_a_run_can_be_interrupted_and_the_next_one_works(server):
    blur = {
        f"b{i}": {"class_type": "ImageBlur", "inputs": {"image": [f"b{i - 1}", 0], "blur_radius": 31, "sigma": 9}}
        for i in range(1, 100)
    }
    blur["b1"]["inputs"]["image"] = ["1", 0]
    large = {**EMPTY, "inputs": {**EMPTY["inputs"], "width": 512, "height": 512}}
    server.interrupt(server.queue({"1": large, **blur, "2": {**PREVIEW, "inputs": {"images": ["b99", 0]}}}))
    server.run(SHOWN)


def test_the_browser_runs_a_graph_and_shows_its_image(page, tmp_path):
    page.load_prompt(SHOWN)
    assert page.prompt()["1"]["inputs"] == EMPTY["inputs"]
    page.load_workflow(page.workflow())
    page.run()
    page.screenshot(tmp_path / "graph.png")
    assert page.alerts() == []
    shot = Image.open(tmp_path / "graph.png").convert("RGB")
    assert (255, 128, 0) in [color for _, color in shot.getcolors(shot.width * shot.height)]
    unknown = page.workflow()
    unknown["nodes"][0]["type"] = "NoSuchNode"
    page.load_workflow(unknown)
    assert "NoSuchNode" in "".join(page.alerts())
