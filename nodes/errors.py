"""Errors of the rooms below, under the name of the node that the user sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps

from ..out_of_memory import NODE, in_words, out_of_memory

# How the rooms below begin their errors, and other nodes' glue that a node reuses.
_OTHERS = re.compile(
    r"(AIAS( grid| preset)?|Graded Diffusion|EMA Mask Schedule|MGA|Evaluate|split|Training( \([a-z]+\)| crops)?|"
    r"Load (Defect Dataset|Adapter)|Save Pairs|Compose Pair|FARM|Anomaly (Tokens|Conditioning)|"
    r"Train (FAST|STAGE) Adapter|(Measure Real Defects|Nearest Real Defect)|Latent mask): "
)


@contextmanager
def named(node: str) -> Iterator[None]:
    """Put the node's display name before a ValueError, in place of whatever room or node it names."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(node):
            raise
        raise ValueError(f"{node}: {_OTHERS.sub('', str(error), count=1)}") from error


def memory_checked(node: type) -> type:
    """The class of a node, whose `execute` says what to lower where memory is used up. Models are unloaded first, as
    ComfyUI does for its own such error."""
    inner = node.execute.__func__

    @wraps(inner)
    def execute(cls, *values, **inputs):
        try:
            return inner(cls, *values, **inputs)
        except Exception as error:
            if not out_of_memory(error):
                raise
            import comfy.model_management

            comfy.model_management.unload_all_models()
            raise ValueError(f"{cls.define_schema().display_name}: {in_words(error, NODE)}") from error

    node.execute = classmethod(execute)
    return node
