"""A server's node definitions (/object_info): inputs, widgets and outputs of the node classes that a workflow uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..files.untrusted_json import JsonValue

_GROUPS = ("required", "optional")


@dataclass(frozen=True)
class Input:
    """An input of a node class. kind: its type, COMBO for a list of choices, which are the option "options"."""

    kind: str
    options: Mapping[str, Any]
    required: bool


@dataclass(frozen=True)
class Definition:
    """A node class.

    inputs: by name, the required ones first; order: their names as the page shows them; outputs: types, COMBO for
    choices; output_names: one for each type.
    """

    display_name: str | None
    output_node: bool
    inputs: Mapping[str, Input]
    order: tuple[str, ...]
    outputs: tuple[str, ...]
    output_names: tuple[str, ...]


def definition_of(info: Mapping[str, Any], class_type: str) -> Definition | None:
    """A class of /object_info; None where the server has none of that name. Raises ValueError for another form."""
    if class_type not in info:
        return None
    node = JsonValue(info, "/object_info").at(class_type)
    inputs: dict[str, Input] = {}
    order: list[str] = []
    for group in _GROUPS:
        listed = _get(node, "input", group)
        names = [name for name, _ in listed.items()] if listed else []
        inputs |= {name: _input(listed.at(name), group == "required") for name in names}
        ordered = _get(node, "input_order", group)
        for place in ordered.each() if ordered else ():
            if place.of(str) not in names:
                raise place.wrong(f"a name of ['input'][{group!r}]")
        order += ordered.value if ordered and ordered.value else names
    name, outputs = node.get("display_name"), node.get("output")
    types = [one.of(str, list) for one in outputs.each()] if outputs else []
    outputs = tuple(one if isinstance(one, str) else "COMBO" for one in types)
    given = node.get("output_name")
    names = tuple(str(one.value) for one in given.each()) if given else ()
    return Definition(
        name.value if name and name.is_a(str) else None,
        node.value.get("output_node") is True,
        inputs,
        tuple(dict.fromkeys(order)),
        outputs,
        names if len(names) == len(outputs) else outputs,
    )


def _get(node: JsonValue, *keys: str) -> JsonValue | None:
    """As `JsonValue.get`, where also what is above may be missing."""
    for key in keys:
        node = node.get(key) if node is not None else None
    return node


def _input(given: JsonValue, required: bool) -> Input:
    kind = given.at(0).of(str, list)
    options = given.value[1] if len(given.value) > 1 and isinstance(given.value[1], dict) else {}
    if isinstance(kind, list):
        return Input("COMBO", {**options, "options": kind}, required)
    return Input(kind, options, required)
