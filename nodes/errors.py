"""Errors of the rooms below, under the name of the node that the user sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps

from ..errors import Refused, in_words, out_of_memory

_MEMORY = (
    "lower the batch (fewer images or masks at once, Load Defect Dataset's count), Crop to Mask's resolution, or the "
    "batch, crop or widths of training, or close other programs"
)


@contextmanager
def named(node: str) -> Iterator[None]:
    """Put the node's display name before an error about input, in place of an inner node's whose glue it calls."""
    try:
        yield
    except Refused as error:
        raise error.at(node) from error
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error


def memory_checked(node: type) -> type:
    """The class of a node, whose `execute` says what to lower where memory is used up. Models are unloaded first, as
    ComfyUI does for its own such error."""
    inner = node.execute.__func__

    @wraps(inner)
    def execute(cls, *values, **inputs):
        try:
            return inner(cls, *values, **inputs)
        except Exception as error:
            if isinstance(error, Refused) and not error.door:
                raise error.at(cls.define_schema().display_name) from error
            if not out_of_memory(error):
                raise
            import comfy.model_management

            comfy.model_management.unload_all_models()
            raise ValueError(f"{cls.define_schema().display_name}: {in_words(error, _MEMORY)}") from error

    node.execute = classmethod(execute)
    return node
