"""For nodes that run once: where a graph makes pairs one by one, each input comes as a list."""

from __future__ import annotations

from collections.abc import Sequence


def single(node: str, **inputs: Sequence) -> list:
    """The one value of every input. Raises ValueError where a list holds different ones."""
    for name, values in inputs.items():
        others = [value for value in values if value != values[0]]
        if others:
            raise ValueError(
                f"{node}: {name} is a list of different values ({values[0]}, {others[0]}, ...), but this node runs "
                "once; connect one value."
            )
    return [values[0] for values in inputs.values()]
