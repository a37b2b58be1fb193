"""What a user sees: the templates, the help pages, and the workflows opened and run in ComfyUI's page."""

import json
import re
import urllib.parse
import urllib.request

import pytest
from PIL import Image

from .conftest import REPOSITORY, skip_without_metrics
from .server import PACK

pytestmark = pytest.mark.host
WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))
PREVIEW = "SIAS_PreviewPair"
# The view fitted to the graph must not be so small that ComfyUI leaves out the words.
VIEW = {"width": 2250, "height": 1330}


def _get(server, path: str) -> bytes:
    return urllib.request.urlopen(server.url + urllib.parse.quote(path), timeout=30).read()


def _without_titles(prompt: dict) -> dict:
    return {id: {key: node[key] for key in ("class_type", "inputs")} for id, node in prompt.items()}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_opens_is_its_prompt_runs_and_shows_its_pair(host, server, page, path, tmp_path):
    skip_without_metrics(host, path.read_text())
    page.tab.set_viewport_size(VIEW)
    page.load_workflow(json.loads(path.read_text()), path.stem)
    twin = json.loads((REPOSITORY / "tests" / "prompts" / path.name).read_text())
    assert _without_titles(page.prompt()) == _without_titles(twin)
    entry = page.run()
    (preview,) = [id for id, node in twin.items() if node["class_type"] == PREVIEW]
    assert entry["outputs"][preview]["images"]
    page.screenshot(tmp_path / "graph.png")
    assert page.alerts() == []
    assert Image.open(tmp_path / "graph.png").size == tuple(VIEW.values())


def test_every_workflow_is_a_template_with_a_thumbnail(server):
    offered = json.loads(_get(server, "/api/workflow_templates"))[PACK]
    assert sorted(offered) == [path.stem for path in WORKFLOWS]
    for path in WORKFLOWS:
        served = f"/api/workflow_templates/{PACK}/{path.stem}"
        assert json.loads(_get(server, served + ".json")) == json.loads(path.read_text())
        assert _get(server, served + ".jpg")[:3] == b"\xff\xd8\xff"


def test_every_node_has_a_help_page_whose_pictures_are_served(server):
    nodes = [id for id in server.object_info() if id.startswith("SIAS_")]
    assert len(nodes) >= 14
    for id in nodes:
        page = _get(server, f"/extensions/{PACK}/docs/{id}.md").decode()
        pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)
        assert pictures, f"{id}: no picture"
        for picture in pictures:
            assert _get(server, f"/extensions/{PACK}/docs/{picture}")


def test_the_help_panel_shows_the_page(page):
    page.load_prompt({"1": {"class_type": "SIAS_PerItemNoise", "inputs": {"seed": 0}}})
    shown = page.open_help("1").inner_text()
    assert "Per-Item Noise" in shown and "item 7" in shown
