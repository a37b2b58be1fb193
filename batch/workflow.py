"""The workflow of a job: its nodes by title or id, the prompt of an item, and what is read from a run's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files.untrusted_json import NotJson, parse_json
from ..files.untrusted_text import one_line
from .definitions import Definition, definition_of
from .job import Source
from .ui_format import is_ui_format, to_api

_OURS = "anomaly-synthesis"  # the ids of nodes that are added begin so
_MOST = 64 << 20  # bytes; a workflow is some hundred kB


class Workflow:
    """A prompt in API format with the batch's own result nodes.

    nodes: id -> node; targets: ids of the nodes that are run for, all else in the file is left out of the run.
    """

    def __init__(self, nodes: Mapping[str, dict], info: Mapping[str, Any]) -> None:
        self.nodes = dict(nodes)
        self.info = info
        self.targets: dict[str, str] = {}
        self._definitions: dict[str, Definition | None] = {}

    def find(self, reference: str) -> str:
        """The id of the node with that id, title or name. Raises ValueError for none and for several."""
        if reference in self.nodes:
            return reference
        for name_of in (self.title, self._display_name, self._type):
            found = [id for id in self.nodes if name_of(id) == reference]
            if len(found) == 1:
                return found[0]
            if found:
                raise ValueError(f"{len(found)} nodes are {reference!r}: {', '.join(found)}; give the id of one")
        titles = ", ".join(sorted({f"{self.title(id)} ({id})" for id in self.nodes if not id.startswith(_OURS)}))
        raise ValueError(f"the workflow has no node {reference!r}; it has {titles}")

    def title(self, id: str) -> str:
        """What the page shows above a node, as one line."""
        meta = self.nodes[id].get("_meta")
        given = meta.get("title") if isinstance(meta, dict) else None
        return one_line(given if given and isinstance(given, str) else self._display_name(id) or self._type(id), 200)

    def definition(self, id: str) -> Definition | None:
        """The class of a node on the server; None where the server has none. Raises ValueError for another form."""
        type = self._type(id)
        if type not in self._definitions:
            self._definitions[type] = definition_of(self.info, type)
        return self._definitions[type]

    def add_result(self, name: str, source: Source, kind: str) -> None:
        """Let runs end with a result: a picture (kind "picture") or a text ("text") that the server keeps for us.

        Raises ValueError for a node or an output that is not there, or of another type.
        """
        id = self.find(source.node)
        definition = self.definition(id)
        if source.output is None and definition and definition.output_node:
            self.targets[name] = id
            return
        slot, given = self._output(id, source.output, kind)
        if kind == "text":
            self.targets[name] = self._add(f"{name}", "PreviewAny", {"source": [id, slot]})
            return
        if given not in ("IMAGE", "MASK"):
            raise ValueError(f"output {slot} of {self.title(id)} is {given}; accepted is IMAGE or MASK")
        if given == "MASK":
            id, slot = self._add(f"{name}-picture", "MaskToImage", {"mask": [id, slot]}), 0
        self.targets[name] = self._add(name, "PreviewImage", {"images": [id, slot]})

    def prompt(self, values: Mapping[tuple[str, str], Any]) -> dict[str, dict]:
        """The prompt with the values of an item: (id, input) -> value."""
        prompt = dict(self.nodes)
        for (id, name), value in values.items():
            prompt[id] = {**prompt[id], "inputs": {**prompt[id]["inputs"], name: value}}
        return prompt

    def _type(self, id: str) -> str:
        return str(self.nodes[id]["class_type"])

    def _display_name(self, id: str) -> str | None:
        definition = self.definition(id)
        return definition.display_name if definition else None

    def _output(self, id: str, wanted: str | int | None, kind: str) -> tuple[int, str]:
        definition = self.definition(id)
        types, names = (definition.outputs, definition.output_names) if definition else ((), ())
        listed = ", ".join(f"{name} ({type})" for name, type in zip(names, types, strict=False)) or "none"
        if isinstance(wanted, int):
            places = [wanted] if 0 <= wanted < len(types) else []
        elif wanted is None:
            places = [place for place, type in enumerate(types) if kind == "text" or type in ("IMAGE", "MASK")]
        else:
            places = [place for place, name in enumerate(names) if name == wanted]
        if len(places) != 1:
            what = f"output {wanted!r}" if wanted is not None else "output to take without being told which"
            raise ValueError(
                f"{self.title(id)} has {len(places) or 'no'} {what}; its outputs are {one_line(listed, 1000)}"
            )
        return places[0], types[places[0]]

    def _add(self, name: str, class_type: str, inputs: dict) -> str:
        id = f"{_OURS}-{name}"
        self.nodes[id] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": f"batch: {name}"}}
        return id


def read_workflow(path: Path) -> dict:
    """A workflow file's JSON, of either format. Raises ValueError for anything else, OSError."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: not a file; accepted is what the page's 'Save' or 'Export (API)' writes")
    size = path.stat().st_size
    if size > _MOST:
        raise ValueError(f"{path}: {size} bytes; a workflow has at most {_MOST}; is this the right file?")
    try:
        raw = parse_json(path.read_text(encoding="utf-8-sig"), str(path))
    except ValueError as error:
        reason = error.got if isinstance(error, NotJson) else error
        raise ValueError(f"{path}: not a workflow (JSON is expected: {reason})") from error
    if is_ui_format(raw.value):
        return raw.value
    prompt = raw.at("prompt") if raw.is_a(dict) and "prompt" in raw.value else raw
    if not prompt.is_a(dict) or not prompt.value:
        raise ValueError(f"{path}: not a workflow; accepted is what the page's 'Save' or 'Export (API)' writes")
    for id, node in prompt.items():
        if not node.is_a(dict) or not {"class_type", "inputs"} <= node.value.keys():
            id = one_line(id, 100)
            raise ValueError(f"{path}: node {id} has no class_type and inputs; save it again with 'Export (API)'")
        node.at("class_type").of(str)
        node.at("inputs").of(dict)
    return prompt.value


def build(raw: dict, info: Mapping[str, Any], path: Path) -> Workflow:
    """The workflow on a server of that /object_info. Raises ValueError for a graph that cannot be converted."""
    try:
        return Workflow(to_api(raw, info) if is_ui_format(raw) else raw, info)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
