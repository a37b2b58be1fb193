"""For nodes that run once: where a graph makes pairs one by one, each input comes as a list."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Refused


def single(node: str, **inputs: Sequence) -> list:
    """The one value of every input. Raises ValueError where a list holds different ones."""
    for name, values in inputs.items():
        others = [value for value in values if value != values[0]]
        if others:
            raise Refused(
                name,
                f"a list of different values ({values[0]}, {others[0]}, ...), but this node runs once",
                remedy="connect one value",
                door=node,
            )
    return [values[0] for values in inputs.values()]
