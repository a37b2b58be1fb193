"""A workflow as the page saves it (UI format), made into what a server runs (API format).

The page does this itself ("Export (API)"); here it is done from the server's own node definitions, for graphs of plain
nodes, reroutes, primitive nodes and notes. What cannot be converted with certainty is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Refused, reason
from ..files.untrusted_json import JsonValue
from ..files.untrusted_text import one_line
from .definitions import Definition, Input, definition_of

_ASK = "save the workflow with 'Export (API)' in the page's menu and give that file"
_NOTES = {"Note", "MarkdownNote"}
_MUTED, _BYPASSED = 2, 4
_WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
_CONTROLS = ("fixed", "increment", "decrement", "randomize")
_UPLOADS = ("image_upload", "audio_upload", "video_upload")


def is_ui_format(raw: Any) -> bool:
    """Whether the JSON is a graph with places and links, not a prompt."""
    return isinstance(raw, dict) and isinstance(raw.get("nodes"), list) and isinstance(raw.get("links"), list)


def to_api(raw: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, dict]:
    """The prompt of a graph.

    Args:
        raw: the file's JSON.
        info: a server's /object_info.

    Raises:
        Refused: a graph of another form, nodes that the server does not know, subgraphs, group nodes, widgets of an
            unknown form.
    """
    return _Graph(raw, info).prompt()


class _Graph:
    def __init__(self, raw: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        graph = JsonValue(raw, "the graph")
        try:
            self.nodes = {node["id"]: node for node in map(_checked, graph.at("nodes").each())}
            self.links = dict(map(_link, graph.at("links").each()))
            definitions = graph.get("definitions")
            listed = None if definitions is None else definitions.get("subgraphs")
            subgraphs = {inner.at("id").of(str, int) for inner in (listed.each() if listed else ())}
        except ValueError as error:
            raise Refused("workflow", f"its nodes or links are damaged ({reason(error)})", remedy=_ASK) from error
        self.info = info
        self._definitions: dict[str, Definition | None] = {}
        for node in self.nodes.values():
            if node["type"] in subgraphs or node["type"].startswith(("workflow>", "workflow/")):
                raise Refused(_named(node), "a subgraph, which only the page can take apart", remedy=_ASK)

    def prompt(self) -> dict[str, dict]:
        runs = [
            node
            for node in self.nodes.values()
            if node.get("mode", 0) not in (_MUTED, _BYPASSED)
            and node["type"] not in _NOTES | {"Reroute", "PrimitiveNode"}
        ]
        unknown = sorted({one_line(node["type"], 100) for node in runs if node["type"] not in self.info})
        if unknown:
            missing = f"the server has no node {', '.join(unknown)}"
            raise Refused("workflow", missing, remedy="install what brings it, or remove it")
        return {str(node["id"]): self._node(node) for node in runs}

    def _node(self, node: dict) -> dict:
        inputs = self._widgets(node)
        for slot in node.get("inputs") or []:
            if slot.get("link") is None:
                continue
            source = self._source(slot["link"], slot.get("type"))
            if isinstance(source, _Primitive):
                inputs[slot["name"]] = source.value
            elif source is not None:
                inputs[slot["name"]] = [str(source[0]), source[1]]
        title = node.get("title") or self._definition(node).display_name or node["type"]
        return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}

    def _definition(self, node: dict) -> Definition:
        type = node["type"]
        if type not in self._definitions:
            self._definitions[type] = definition_of(self.info, type)
        return self._definitions[type]

    def _source(self, link: Any, wanted: Any) -> tuple[Any, int] | _Primitive | None:
        """Where a link's value is made, through reroutes and bypassed nodes; None where that is nowhere."""
        seen: set = set()
        while link is not None and link in self.links and link not in seen:
            seen.add(link)
            origin, slot = self.links[link]
            node = self.nodes.get(origin)
            if node is None or node.get("mode", 0) == _MUTED:
                return None
            if node["type"] == "PrimitiveNode":
                values = node.get("widgets_values")
                return _Primitive(values[0] if isinstance(values, list) and values else None)
            inputs = node.get("inputs") or []
            if node["type"] == "Reroute":
                link = inputs[0].get("link") if inputs else None
            elif node.get("mode", 0) == _BYPASSED:
                link = _passed(node, slot, wanted)
            else:
                return origin, slot
        return None

    def _widgets(self, node: dict) -> dict[str, Any]:
        values = node.get("widgets_values")
        # Some files have `widgets_values_named`, too; the page does not read it, and it may be of an older graph.
        defined = _defined(node["type"], self._definition(node))
        if isinstance(values, dict):
            return {name: _value(values[name]) for name in defined if name in values}
        values, found = list(values or []), {}
        for name, (kind, options) in defined.items():
            if not values:
                break  # widgets that came later than the file: the server has their defaults
            found[name] = _value(values.pop(0))
            seed = options.get("control_after_generate") or (kind == "INT" and name in ("seed", "noise_seed"))
            if seed and values and values[0] in _CONTROLS:  # the page's own widget; very old files lack it
                values.pop(0)
            if any(options.get(key) for key in _UPLOADS) and values:
                values.pop(0)  # the upload button
        if values:
            raise Refused(
                _named(node),
                f"{len(values)} more widget values ({values!r:.60}) than the server's node has widgets",
                remedy=_ASK,
            )
        return found


class _Primitive:
    def __init__(self, value: Any) -> None:
        self.value = value


def _checked(node: JsonValue) -> dict:
    """A node of the graph, of the form that is read here. Raises ValueError."""
    node.at("id").of(int, str)
    node.at("type").of(str)
    for key, kinds in (("mode", (int,)), ("title", (str,)), ("widgets_values", (list, dict))):
        value = node.get(key)
        if value is not None:
            value.of(*kinds)
    slots = node.get("inputs")
    for slot in slots.each() if slots else ():
        link = slot.get("link")
        if link is not None:
            link.of(int, str)
            slot.at("name").of(str)
    outputs = node.get("outputs")
    for output in outputs.each() if outputs else ():
        output.of(dict)
    return node.value


def _link(link: JsonValue) -> tuple[Any, tuple[Any, int]]:
    """Its id, and the node and output that it comes from. Raises ValueError."""
    id, node, slot = (link.at(key) for key in (("id", "origin_id", "origin_slot") if link.is_a(dict) else (0, 1, 2)))
    return id.of(int, str), (node.of(int, str), slot.of(int))


def _passed(node: dict, slot: int, wanted: Any) -> Any:
    """The link that a bypassed node hands on, as the page does: the input in the output's own place first, else the
    first of its type."""
    inputs, outputs = node.get("inputs") or [], node.get("outputs") or []
    given = outputs[slot].get("type", wanted) if 0 <= slot < len(outputs) else wanted
    for place in sorted(range(len(inputs)), key=lambda place: place != slot):
        if inputs[place].get("type") in (given, "*") and inputs[place].get("link") is not None:
            return inputs[place]["link"]
    return None


def _defined(type: str, definition: Definition) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The widgets of a node in the order of its definition: name -> (type, options)."""
    found = {}
    for name in definition.order:
        given: Input = definition.inputs[name]
        if given.kind in _WIDGETS and not given.options.get("forceInput"):
            found[name] = (given.kind, given.options)
        elif given.kind.startswith(("COMFY_DYNAMIC", "COMFY_AUTOGROW")):
            raise Refused(type, f"its input {one_line(name, 100)} changes with other widgets", remedy=_ASK)
    return found


def _value(value: Any) -> Any:
    """A list would be read as a link, so the API format wraps it."""
    return {"__value__": value} if isinstance(value, list) else value


def _named(node: Mapping[str, Any]) -> str:
    return one_line(f"node {node['id']} ({node.get('title') or node['type']})", 200)
