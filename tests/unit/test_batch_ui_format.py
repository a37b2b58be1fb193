"""Graphs as the page saves them become the prompts that it would send; ambiguous graphs are refused."""

import copy

import pytest

pytest.importorskip("aiohttp")

from anomaly_synthesis.batch.ui_format import is_ui_format, to_api

from .refusals import refused
from .simulated_server import OBJECT_INFO, PROMPT

INFO = {
    **OBJECT_INFO,
    "Sampler": {
        "input": {
            "required": {
                "latent": ["LATENT", {}],
                "noise_seed": ["INT", {}],
                "steps": ["INT", {}],
                "kind": [["a", "b"], {}],
            },
            "optional": {"mask": ["MASK", {}], "text": ["STRING", {}], "wire": ["INT", {"forceInput": True}]},
        },
        "input_order": {"required": ["latent", "noise_seed", "steps", "kind"], "optional": ["mask", "text", "wire"]},
        "output": ["LATENT"],
        "name": "Sampler",
    },
    "Growing": {"input": {"required": {"x": ["COMFY_AUTOGROW_V3", {}]}}, "output": [], "name": "Growing"},
}


def _node(id, type, widgets=None, inputs=(), outputs=(), **more):
    return {
        "id": id,
        "type": type,
        "widgets_values": widgets,
        "inputs": [{"name": name, "type": kind, "link": link} for name, kind, link in inputs],
        "outputs": [{"name": kind, "type": kind} for kind in outputs],
        **more,
    }


def _graph(*nodes, links=()):
    return {"nodes": list(nodes), "links": [list(link) for link in links]}


MAKE = _node(1, "MakePair", [0, "randomize", 24, "scratch", "small.safetensors"], outputs=["IMAGE", "MASK", "IMAGE"])
SAVE = _node(2, "SaveImage", ["x"], [("images", "IMAGE", 7)], title="Result")


def test_a_graph_becomes_its_prompt():
    graph = _graph(MAKE, SAVE, _node(3, "Note", ["words"]), links=[(7, 1, 0, 2, 0, "IMAGE")])
    assert is_ui_format(graph) and not is_ui_format(PROMPT)
    prompt = to_api(graph, INFO)
    assert {id: {**node, "_meta": None} for id, node in prompt.items()} == {
        id: {**node, "_meta": None} for id, node in PROMPT.items()
    }
    assert prompt["1"]["_meta"]["title"] == "Make Pair" and prompt["2"]["_meta"]["title"] == "Result"


def test_reroutes_primitives_and_converted_widgets():
    graph = _graph(
        copy.deepcopy(MAKE) | {"inputs": [{"name": "size", "type": "INT", "link": 8}]},
        _node(4, "PrimitiveNode", [48, "fixed"], outputs=["INT"]),
        _node(5, "Reroute", None, [("", "*", 9)], ["IMAGE"]),
        SAVE,
        links=[(7, 5, 0, 2, 0, "IMAGE"), (9, 1, 2, 5, 0, "IMAGE"), (8, 4, 0, 1, 0, "INT")],
    )
    prompt = to_api(graph, INFO)
    assert set(prompt) == {"1", "2"} and prompt["1"]["inputs"]["size"] == 48
    assert prompt["2"]["inputs"]["images"] == ["1", 2]


def test_muted_nodes_are_left_out_and_bypassed_ones_passed_through():
    blur = _node(6, "Sampler", None, [("latent", "MASK", None), ("x", "IMAGE", 9)], ["IMAGE"], mode=4)
    links = [(7, 6, 0, 2, 0, "IMAGE"), (9, 1, 0, 6, 1, "IMAGE")]
    assert to_api(_graph(MAKE, blur, SAVE, links=links), INFO)["2"]["inputs"]["images"] == ["1", 0]
    muted = {**MAKE, "mode": 2}
    prompt = to_api(_graph(muted, blur, SAVE, links=links), INFO)
    assert set(prompt) == {"2"} and "images" not in prompt["2"]["inputs"]


def test_widgets_follow_the_definition_with_what_the_page_adds():
    def inputs(widgets, **more):
        return to_api(_graph(_node(1, "Sampler", widgets, **more)), INFO)["1"]["inputs"]

    whole = {"noise_seed": 5, "steps": 20, "kind": "b", "text": "words"}
    assert inputs([5, "fixed", 20, "b", "words"]) == whole
    assert inputs([5, 20, "b", "words"]) == whole, "files saved before the control existed"
    assert inputs([5, "fixed", 20, "b"]) == {key: value for key, value in whole.items() if key != "text"}
    named = {"text": "words", "kind": "b", "steps": 20, "noise_seed": 5, "control_after_generate": "fixed"}
    assert inputs(named) == whole
    assert inputs([5, "fixed", 20, "b", "words"], widgets_values_named={**named, "steps": 1}) == whole
    picture = to_api(_graph(_node(1, "LoadImage", ["a.png", "image"])), INFO)["1"]["inputs"]
    assert picture == {"image": "a.png"}


@pytest.mark.parametrize(
    ("graph", "subject", "got", "remedy"),
    [
        (_graph(_node(1, "Nothing")), "workflow", "the server has no node Nothing", "install what brings it"),
        (
            _graph(_node(1, "SaveImage", ["x", 5])),
            r"^node 1 \(SaveImage\)$",
            "^1 more widget values",
            r"Export \(API\)",
        ),
        (_graph(_node(1, "workflow>mine")), "^node 1 ", "subgraph", "Export"),
        (
            {**_graph(_node(1, "abc-def")), "definitions": {"subgraphs": [{"id": "abc-def"}]}},
            "^node 1 ",
            "subgraph",
            "Export",
        ),
        (_graph(_node(1, "Growing")), "^Growing$", "x changes with other widgets", "Export"),
        ({"nodes": [{"type": "x"}], "links": []}, "workflow", "damaged", "Export"),
        ({"nodes": [], "links": [[1]]}, "workflow", "damaged", "Export"),
    ],
    ids=["unknown", "widgets", "group node", "subgraph", "autogrow", "no id", "short link"],
)
def test_what_is_not_certain_is_refused(graph, subject, got, remedy):
    with refused(subject=subject, got=got, remedy=remedy):
        to_api(graph, INFO)


def test_a_ring_of_reroutes_ends():
    graph = _graph(
        _node(5, "Reroute", None, [("", "*", 9)], ["IMAGE"]),
        _node(6, "Reroute", None, [("", "*", 7)], ["IMAGE"]),
        _node(2, "SaveImage", ["x"], [("images", "IMAGE", 7)]),
        links=[(7, 5, 0, 6, 0, "*"), (9, 6, 0, 5, 0, "*")],
    )
    assert to_api(graph, INFO)["2"]["inputs"] == {"filename_prefix": "x"}
