"""Errors of the rooms below, under the name of the node that the user sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps

import comfy.model_management

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


def door(node: type) -> type:
    """The class of a node, whose `execute` puts its display name before a refusal that has no door yet. Where memory is
    used up, it says what to lower and unloads the models, as ComfyUI does for its own such error."""
    inner = node.execute.__func__

    @wraps(inner)
    def execute(cls, *values, **inputs):
        try:
            return inner(cls, *values, **inputs)
        except Exception as error:
            name = cls.define_schema().display_name
            if out_of_memory(error):  # first: a refusal may have that as its cause
                comfy.model_management.unload_all_models()
                raise ValueError(f"{name}: {in_words(error, _MEMORY)}") from error
            if isinstance(error, Refused) and not error.door:
                raise error.at(name) from error
            raise

    node.execute = classmethod(execute)
    return node
