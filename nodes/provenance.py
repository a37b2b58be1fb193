"""Where a pair comes from, read off the prompt that made it: for the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

SEED_INPUTS = ("seed", "noise_seed")
NOISE_NODES = ("RandomNoise", "SIAS_PerItemNoise", "SIAS_CutPaste", "SIAS_DRAEM")
BASE_INPUTS = ("base_name", "ckpt_name", "unet_name")
ADAPTER_INPUTS = ("adapter_name",)
ADAPTER_LOADERS = {"fast": "SIAS_LoadFASTAdapter", "stage": "SIAS_LoadSTAGEAdapter"}


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
        id: {"node": node["class_type"], **{k: v for k, v in node["inputs"].items() if _is_told(k, v)}}
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


def _is_told(name: str, value: Any) -> bool:
    """A widget's value that may stand in a manifest, which others will read."""
    return not _is_link(value) and not any(word in name.lower() for word in ("key", "token", "password", "secret"))


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
