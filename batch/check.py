"""What is wrong with a job on a server, in one list before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..datasets.batch_plan import PlanItem
from ..errors import reason
from ..files.untrusted_text import one_line
from .definitions import Input
from .job import Job
from .values import Files
from .workflow import Workflow

_TYPES = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}
_LOOKED_AT = 2000  # items whose values are checked (the kinds and rounds of most jobs), and choices that are compared


def add_results(job: Job, workflow: Workflow) -> list[str]:
    """Let the workflow end with the job's results; the problems."""
    problems = []
    for name, source in job.sources.items():
        kind = "picture" if name in job.pictures else "text"
        try:
            if source.input is not None:
                if (workflow.find(source.node), source.input) not in file_inputs(job, workflow):
                    problems.append(f"results.{name}: no files are given to {source.node}, input {source.input}")
            else:
                workflow.add_result(name, source, kind)
        except ValueError as error:
            problems.append(f"results.{name}: {reason(error)}")
    if not workflow.targets and not problems:
        problems.append("results: no result comes from a node; at least the image must")
    return problems


def file_inputs(job: Job, workflow: Workflow) -> set[tuple[str, str]]:
    """(id, input) of what gets files."""
    return {(workflow.find(node), name) for (node, name), value in job.inputs.items() if isinstance(value, Files)}


def problems_of(job: Job, workflow: Workflow) -> list[str]:
    """All problems of the workflow with the job's values on the server that it was built for; none: it can run."""
    problems = _of_inputs(job, workflow)
    set_inputs = set()
    for node, name in job.inputs:
        try:
            set_inputs.add((workflow.find(node), name))
        except ValueError:
            continue  # in the list already
    for id, node in workflow.nodes.items():
        problems += _of_node(workflow, id, node, set_inputs)
    return problems


def _of_inputs(job: Job, workflow: Workflow) -> list[str]:
    problems, placed = [], {}
    for (node, name), value in job.inputs.items():
        try:
            id = workflow.find(node)
        except ValueError as error:
            problems.append(f"inputs.{node}: {reason(error)}")
            continue
        definition = workflow.definition(id)
        known = definition.inputs if definition else {}
        if known and name not in known and name not in workflow.nodes[id]["inputs"]:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {one_line(', '.join(known), 500)}"
            problems.append(f"inputs.{node}.{name}: {workflow.title(id)} has no such input{hint}")
        elif (id, name) in placed:
            problems.append(f"inputs.{node}.{name}: the same input as {placed[id, name]}; name it once")
        elif isinstance(value, Files):
            empty = [kind for kind in job.plan.kinds if not value.listed(kind)]
            problems += [
                f"inputs.{node}.{name}: no file matches for {' / '.join(kind.values()) or 'the pattern'}"
                for kind in empty[:5]
            ]
        elif name in known:
            problems += _of_values(f"inputs.{node}.{name}", value, known[name], job)
        placed[id, name] = f"inputs.{node}.{name}"
    return problems


def _of_values(where: str, value: Any, known: Input, job: Job) -> list[str]:
    found: dict[str, None] = {}  # in order, each once
    for index in range(min(len(job.plan), _LOOKED_AT)):
        problem = _of_value(value.of(job.plan.item(index)), known.kind, known.options)
        if problem:
            found.setdefault(problem)
    return [f"{where}: {problem}" for problem in list(found)[:5]]


def _of_node(workflow: Workflow, id: str, node: Mapping[str, Any], set_inputs: set[tuple[str, str]]) -> list[str]:
    title, class_type = f"node {one_line(id, 100)} ({workflow.title(id)})", node["class_type"]
    definition = workflow.definition(id)
    if definition is None:
        return [f"{title}: the server has no node {one_line(class_type, 100)}; install what brings it"]
    problems = []
    for name, known in definition.inputs.items():
        where, value = f"{title}, {one_line(name, 100)}", node["inputs"].get(name)
        if (id, name) in set_inputs or known.kind.startswith("COMFY_"):
            continue
        if name not in node["inputs"]:
            if known.required:
                problems.append(f"{where}: missing; connect it, or set it under inputs")
        elif _is_link(value):
            problems += [f"{where}: {problem}" for problem in _of_link(workflow, value, known.kind)]
        elif problem := _of_value(value, known.kind, known.options):
            problems.append(f"{where}: {problem}")
    return problems


def _of_link(workflow: Workflow, link: list, kind: str) -> list[str]:
    id, slot = link
    if id not in workflow.nodes:
        return [f"connected to node {one_line(id, 100)}, which is not in the workflow"]
    definition = workflow.definition(id)
    if definition is None:
        return []  # an unknown node, which is a problem of its own
    outputs = definition.outputs
    if not 0 <= slot < len(outputs):
        return [f"connected to output {slot} of {workflow.title(id)}, which has {len(outputs)}"]
    given = outputs[slot]
    wanted, have = set(kind.split(",")), set(given.split(","))
    fits = wanted & have or "*" in wanted | have or any("MATCHTYPE" in one for one in wanted | have)
    return [] if fits else [one_line(f"wants {kind}, but {workflow.title(id)} gives {given}", 500)]


def _of_value(value: Any, kind: str, options: Mapping[str, Any]) -> str | None:
    if kind == "COMBO":
        choices = options.get("options")
        if not isinstance(choices, list) or options.get("remote") or value in choices or options.get("multiselect"):
            return None
        texts = [one_line(choice, 300) for choice in choices[:_LOOKED_AT]]
        near = difflib.get_close_matches(one_line(value, 300), texts, 1)
        listed = ", ".join(texts[:8]) + (f" and {len(choices) - 8} more" if len(choices) > 8 else "")
        return f"the server has no {value!r:.300}; it has {listed or 'nothing'}" + (f"; {near[0]}?" if near else "")
    if kind not in _TYPES:
        return None
    wrong = not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "BOOLEAN")
    if wrong:
        return f"{value!r:.40} is no {kind}"
    if kind in ("INT", "FLOAT"):
        low, high = (limit if isinstance(limit, int | float) else None for limit in map(options.get, ("min", "max")))
        if (low is not None and value < low) or (high is not None and value > high):
            return f"{value!r:.60} is not in {low!r:.60} .. {high!r:.60}"
    return None


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def placed(job: Job, workflow: Workflow, item: PlanItem) -> dict[tuple[str, str], Any]:
    """The item's values by (id, input); a Path is a file to send."""
    return {(workflow.find(node), name): value for (node, name), value in job.values(item).items()}


def local_file(job: Job, workflow: Workflow, name: str, item: PlanItem) -> Path | None:
    """The file of this machine that a result is, where it is one."""
    source = job.sources[name]
    if source.input is None:
        return None
    return placed(job, workflow, item)[workflow.find(source.node), source.input]
