"""What a user sees: the templates, the help pages, and the workflows opened in ComfyUI's page."""

import json
import re
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from .conftest import REPOSITORY
from .server import PACK

pytestmark = pytest.mark.host
WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))
PREVIEW = "SIAS_PreviewPair"
RUN_IN_PAGE = ("aias-synthesis", "aias-advanced")  # quick ones: test_graph runs the prompts of all workflows
# The view fitted to the graph must not be so small that ComfyUI hides the texts.
VIEW = {"width": 2250, "height": 1330}


def _get(server, path: str) -> bytes:
    return urllib.request.urlopen(server.url + urllib.parse.quote(path), timeout=30).read()


def _without_titles(prompt: dict) -> dict:
    return {id: {key: node[key] for key in ("class_type", "inputs")} for id, node in prompt.items()}


def _opened(page, path: Path) -> dict:
    """Opens a workflow; its twin in the API's format, which test_graph runs."""
    page.tab.set_viewport_size(VIEW)
    page.load_workflow(json.loads(path.read_text()), path.stem)
    twin = json.loads((REPOSITORY / "tests" / "prompts" / path.name).read_text())
    assert _without_titles(page.prompt()) == _without_titles(twin)
    return twin


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_opens_without_messages_and_is_the_prompt_that_is_run(page, path, tmp_path):
    _opened(page, path)
    page.screenshot(tmp_path / "graph.png")
    assert page.alerts() == []
    assert Image.open(tmp_path / "graph.png").size == tuple(VIEW.values())


@pytest.mark.parametrize("name", RUN_IN_PAGE)
def test_a_workflow_runs_in_the_page_and_shows_its_pair(page, name, tmp_path):
    twin = _opened(page, REPOSITORY / "workflows" / f"{name}.json")
    entry = page.run()
    (preview,) = [id for id, node in twin.items() if node["class_type"] == PREVIEW]
    assert entry["outputs"][preview]["images"]
    page.screenshot(tmp_path / "graph.png")
    assert page.alerts() == []


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
