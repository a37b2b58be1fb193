"""Where a pair comes from, for the manifest: seeds, widgets and files, read from the graph that made it.

A seed widget is one number for a whole list. Item k of it, from 0, is sampled with the widget's seed where k is 0, else
with `derived_seed(seed, k, "list")`: (seed, k) alone decides. Inside of a batch item i adds i, as ever. k belongs to
the image and its mask: Defect Latent writes it into the LATENT, so that a list of settings over one latent keeps its
seed. A seed that another node computes is used as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from comfy_execution.utils import get_executing_context

from ..seeds import derived_seed

_KEPT = 256  # nodes whose seeds are remembered

# (what a node depends on, the node that ran) -> {place in the list: the seeds of its items}
_used: OrderedDict[tuple[str, str], dict[int, list[int]]] = OrderedDict()
SEED_INPUTS = ("seed", "noise_seed")
NOISE_NODES = ("RandomNoise", "SIAS_PerItemNoise", "SIAS_CutPaste", "SIAS_DRAEM", "SIAS_DrawDefects")
BASE_INPUTS = ("base_name", "ckpt_name", "unet_name")
ADAPTER_INPUTS = ("adapter_name",)
ADAPTER_LOADERS = {"fast": "SIAS_LoadFASTAdapter", "stage": "SIAS_LoadSTAGEAdapter"}


class GraphSeed(int):
    """A node's seed. computed: by another node; source: what the node depends on, "" outside of a graph."""

    computed: bool
    source: str

    def __new__(cls, seed: int, computed: bool = False, source: str = "") -> GraphSeed:
        made = super().__new__(cls, seed)
        made.computed, made.source = computed, source
        return made


def graph_seed(seed: int, graph: Any) -> GraphSeed:
    """A seed input's value with what the graph knows of it. graph: a node's `hidden`, with prompt and unique_id."""
    prompt, id = getattr(graph, "prompt", None) or {}, getattr(graph, "unique_id", None)
    if id not in prompt:  # called without a graph, or made by another node while the graph runs
        return GraphSeed(seed)
    given = prompt[id]["inputs"].get("seed")
    return GraphSeed(seed, given is not None and given_value(prompt, given) is None, source_of(prompt, id))


def listed_seed(seed: int, place: int) -> int:
    """The seed of the list's item at `place`; one that another node computes stays."""
    if place == 0 or getattr(seed, "computed", False):
        return int(seed)
    return derived_seed(int(seed), place, "list")


def list_place() -> int:
    """Which item of a list the node that runs is run for; 0 outside of a list."""
    context = get_executing_context()
    return (context.list_index or 0) if context else 0


def remember(seed: int, items: Sequence[int]) -> None:
    """Remember the seeds of the batch that the running node makes. `seed`: its own, of `graph_seed`."""
    source, context = getattr(seed, "source", ""), get_executing_context()
    if not source or not context:
        return
    key, place = (source, str(context.node_id)), list_place()
    # The first of a list begins anew: the list before may have been longer.
    kept = _used.pop(key, {}) if place else {}
    _used[key] = kept | {place: list(items)}
    while len(_used) > _KEPT:
        _used.popitem(last=False)


def remember_output(graph: Any, output: int, seeds: Sequence[int]) -> None:
    """Remember the seeds that the running node gives, one for each item of the list that comes out; for samplers that
    are not of this pack. graph: as in `graph_seed`."""
    prompt, id = getattr(graph, "prompt", None) or {}, getattr(graph, "unique_id", None)
    if id in prompt:
        _used[source_of(prompt, id), output_name(output)] = {place: [seed] for place, seed in enumerate(seeds)}


def used_seeds(prompt: Mapping[str, Any], source: str, runner: str, count: int) -> list[int] | None:
    """The seeds of the `count` items of the running node's batch, as `runner` used them; None where they are not known.

    source: the node that has the seed input, or that gives it, with `output_name` for `runner`. A list that became one
    batch on the way has its seeds one after the other.
    """
    kept = _used.get((source_of(prompt, source), runner), {})
    own = kept.get(list_place(), [])
    if len(own) == count:
        return own
    joined = [seed for place in sorted(kept) for seed in kept[place]]
    return joined if list_place() == 0 and len(joined) == count else None


def source_of(prompt: Mapping[str, Any], id: str) -> str:
    """16 hex digits of a node with all that it depends on: the same seeds are behind the same digits."""
    parts = {one: [node["class_type"], node["inputs"]] for one, node in upstream(prompt, id)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def upstream(prompt: Mapping[str, Any], node_id: str) -> Iterator[tuple[str, dict]]:
    """(id, node) of everything that `node_id` depends on, itself first, then nearest first."""
    waiting, seen = [node_id], {node_id}
    while waiting:
        current = waiting.pop(0)
        node = prompt.get(current)
        if node is None:
            continue
        yield current, node
        for value in node["inputs"].values():
            if _is_link(value) and value[0] not in seen:
                seen.add(value[0])
                waiting.append(value[0])


def settings(prompt: Mapping[str, Any], node_id: str) -> dict[str, dict]:
    """Every node that a pair depends on, with its widgets, secrets left out: {id: {"node": class, widget: value}}."""
    return {
        id: {"node": node["class_type"], **{k: v for k, v in node["inputs"].items() if _is_public(k, v)}}
        for id, node in upstream(prompt, node_id)
    }


def nearest(prompt: Mapping[str, Any], node_id: str, names: tuple[str, ...], kind: str | None = None) -> Any:
    """The value of the nearest widget among `names`; None where there is none, or where another node computes it.

    Args:
        kind: class of the nodes that are asked; None is all.
    """
    for _, node in upstream(prompt, node_id):
        for name in names:
            if name in node["inputs"] and kind in (None, node["class_type"]):
                return given_value(prompt, node["inputs"][name])
    return None


def sampling_seed(
    prompt: Mapping[str, Any], node_id: str, used: Callable[[str, str], Sequence[int] | None] = lambda *_: None
) -> Callable[[int], int | None]:
    """seed(item): what an item of the batch was sampled with, by the nearest sampler or noise node.

    Args:
        used: (node with the seed, node that sampled) -> the seeds that it used, None where that is not known. Then the
            node's widget is read: this pack's nodes use seed + item, core's draw one noise for the batch, from the seed
            alone.
    """
    seen = []
    for id, node in upstream(prompt, node_id):
        seen.append(id)
        own = node["class_type"].startswith("SIAS_")
        if "latent_image" not in node["inputs"] and node["class_type"] not in NOISE_NODES:
            continue  # a seed of something else: of a mask, or of a dataset
        for name in SEED_INPUTS:
            if name in node["inputs"]:
                given = node["inputs"][name]
                seed, known = given_value(prompt, given), used(id, _sampler_of(prompt, seen, id))
                if known is None and seed is None and _is_link(given):
                    known = used(given[0], output_name(given[1]))
                if known is not None:
                    return lambda item: known[item]
                return lambda item: None if seed is None else seed + item * own
    return lambda item: None


def output_name(output: int) -> str:
    """What a node's output is called where its seeds are remembered."""
    return f"output {output}"


def _sampler_of(prompt: Mapping[str, Any], seen: Sequence[str], id: str) -> str:
    """The nearest node that samples with a noise node, or the node itself."""
    users = (one for one in seen if _is_link(prompt[one]["inputs"].get("noise")))
    return next((one for one in users if prompt[one]["inputs"]["noise"][0] == id), id)


def given_value(prompt: Mapping[str, Any], given: Any) -> Any:
    """A widget's value, or what a link to a node that only holds a value brings; None for any other link."""
    if not _is_link(given):
        return given
    inputs = prompt.get(given[0], {"inputs": {}})["inputs"]
    value = inputs.get("value") if len(inputs) == 1 else None
    return None if _is_link(value) else value


def _is_public(name: str, value: Any) -> bool:
    """A widget's value that may stand in a manifest, which others will read."""
    return not _is_link(value) and not any(word in name.lower() for word in ("key", "token", "password", "secret"))


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
