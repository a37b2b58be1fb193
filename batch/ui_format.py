"""A workflow as the page saves it (UI format), made into what a server runs (API format).

The page does this itself ("Export (API)"); here it is done from the server's own node definitions, for graphs of plain
nodes, reroutes, primitive nodes and notes. What cannot be converted with certainty is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ASK = "save the workflow with 'Export (API)' in the page's menu and give that file"
_NOTES = {"Note", "MarkdownNote"}
_MUTED, _BYPASSED = 2, 4
_WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
_CONTROLS = {"fixed", "increment", "decrement", "randomize"}


def is_ui_format(raw: Any) -> bool:
    """Whether the JSON is a graph with places and links, not a prompt."""
    return isinstance(raw, dict) and isinstance(raw.get("nodes"), list) and isinstance(raw.get("links"), list)


def to_api(raw: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, dict]:
    """The prompt of a graph.

    Args:
        raw: the file's JSON.
        info: a server's /object_info.

    Raises:
        ValueError: nodes that the server does not know, subgraphs, group nodes, widgets of an unknown form.
    """
    return _Graph(raw, info).prompt()


class _Graph:
    def __init__(self, raw: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        try:
            self.nodes = {node["id"]: node for node in raw["nodes"]}
            self.links = {link[0]: (link[1], link[2]) for link in map(_link, raw["links"])}
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"the workflow's nodes or links are damaged ({error!r}); {_ASK}") from error
        self.info = info
        subgraphs = {graph.get("id") for graph in (raw.get("definitions") or {}).get("subgraphs", [])}
        for node in self.nodes.values():
            if node["type"] in subgraphs or str(node["type"]).startswith(("workflow>", "workflow/")):
                raise ValueError(f"{_named(node)} is a subgraph, which only the page can take apart; {_ASK}")

    def prompt(self) -> dict[str, dict]:
        runs = [node for node in self.nodes.values() if node.get("mode", 0) not in (_MUTED, _BYPASSED)
                and node["type"] not in _NOTES | {"Reroute", "PrimitiveNode"}]  # fmt: skip
        unknown = sorted({str(node["type"]) for node in runs if node["type"] not in self.info})
        if unknown:
            raise ValueError(f"the server has no node {', '.join(unknown)}; install what brings it, or remove it")
        return {str(node["id"]): self._node(node) for node in runs}

    def _node(self, node: dict) -> dict:
        inputs = self._widgets(node)
        for slot in node.get("inputs") or []:
            if slot.get("link") is None:
                continue
            source = self._source(slot["link"], slot.get("type"), set())
            if isinstance(source, _Primitive):
                inputs[slot["name"]] = source.value
            elif source is not None:
                inputs[slot["name"]] = [str(source[0]), source[1]]
        title = node.get("title") or self.info[node["type"]].get("display_name") or node["type"]
        return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}

    def _source(self, link: int, wanted: Any, seen: set) -> tuple[int, int] | _Primitive | None:
        """Where a link's value is made, through reroutes and bypassed nodes; None where that is nowhere."""
        if link is None or link not in self.links or link in seen:
            return None
        seen.add(link)
        origin, slot = self.links[link]
        node = self.nodes.get(origin)
        if node is None or node.get("mode", 0) == _MUTED:
            return None
        if node["type"] == "PrimitiveNode":
            return _Primitive((node.get("widgets_values") or [None])[0])
        inputs = node.get("inputs") or []
        if node["type"] == "Reroute":
            return self._source(inputs[0].get("link"), wanted, seen) if inputs else None
        if node.get("mode", 0) != _BYPASSED:
            return origin, slot
        # As the page does: the input in the output's own place first, else the first of its type.
        given = (node.get("outputs") or [])[slot].get("type", wanted)
        for place in sorted(range(len(inputs)), key=lambda place: place != slot):
            if inputs[place].get("type") in (given, "*") and inputs[place].get("link") is not None:
                return self._source(inputs[place]["link"], wanted, seen)
        return None

    def _widgets(self, node: dict) -> dict[str, Any]:
        values = node.get("widgets_values")
        # Some files have `widgets_values_named`, too; the page does not read it, and it may be of an older graph.
        defined = _defined(self.info[node["type"]])
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
            if any(options.get(key) for key in ("image_upload", "audio_upload", "video_upload")) and values:
                values.pop(0)  # the upload button
        if values:
            raise ValueError(
                f"{_named(node)} has {len(values)} more widget values ({values!r:.60}) than the server's node has "
                f"widgets; {_ASK}"
            )
        return found


class _Primitive:
    def __init__(self, value: Any) -> None:
        self.value = value


def _defined(info: Mapping[str, Any]) -> dict[str, tuple[str, dict]]:
    """The widgets of a node in the order of its definition: name -> (type, options)."""
    found = {}
    for group in ("required", "optional"):
        inputs = (info.get("input") or {}).get(group) or {}
        for name in (info.get("input_order") or {}).get(group) or inputs:
            kind, options = type_of(inputs[name])
            if kind in _WIDGETS and not options.get("forceInput"):
                found[name] = (kind, options)
            elif kind.startswith("COMFY_DYNAMIC") or kind.startswith("COMFY_AUTOGROW"):
                raise ValueError(f"{info.get('name')}: its input {name} changes with other widgets; {_ASK}")
    return found


def type_of(definition: Any) -> tuple[str, dict]:
    """(type, options) of an input in /object_info; a list of choices is a COMBO with `options`."""
    kind, options = definition[0], definition[1] if len(definition) > 1 and isinstance(definition[1], dict) else {}
    if isinstance(kind, list):
        return "COMBO", {**options, "options": kind}
    return str(kind), options


def _value(value: Any) -> Any:
    """A list would be taken for a link; the API marks it."""
    return {"__value__": value} if isinstance(value, list) else value


def _link(link: Any) -> list:
    if isinstance(link, dict):
        return [link["id"], link["origin_id"], link["origin_slot"]]
    return link


def _named(node: Mapping[str, Any]) -> str:
    return f"node {node['id']} ({node.get('title') or node['type']})"
