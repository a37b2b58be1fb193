"""Refusals of the rooms below, under the name of the node that the user sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import comfy.model_management

from ..errors import Refused, in_words, out_of_memory

_MEMORY = (
    "lower the batch (fewer images or masks at once, Load Defect Dataset's count), Crop to Mask's resolution, or the "
    "batch, crop or widths of training, or close other programs"
)


def door(node: type) -> type:
    """The class of a node, whose `execute` puts its display name before every refusal, in place of an inner node's
    whose glue it calls. Where memory is used up, it says what to lower and unloads the models, as ComfyUI does for its
    own such error."""
    inner = node.execute.__func__

    @wraps(inner)
    def execute(cls, *values, **inputs):
        try:
            return inner(cls, *values, **inputs)
        except Exception as error:
            if out_of_memory(error):  # first: a refusal may have that as its cause
                comfy.model_management.unload_all_models()
                raise ValueError(f"{_name(cls)}: {in_words(error, _MEMORY)}") from error
            if isinstance(error, Refused):
                raise error.at(_name(cls)) from error
            raise

    node.execute = classmethod(execute)
    return node


def answer(node: type, check: Callable[..., object], *values: object) -> bool | str:
    """What a node's `validate_inputs` returns: True, or why `check(*values)` refuses them.

    A value that another node computes is None: the check is left to `execute`, which knows it.
    """
    try:
        if all(value is not None for value in values):
            check(*values)
    except Refused as error:
        return str(error.at(_name(node)))
    return True


@contextmanager
def named(node: str) -> Iterator[None]:
    """For what a node leaves to run later, such as a SAMPLER: its display name before every refusal in the block."""
    try:
        yield
    except Refused as error:
        raise error.at(node) from error


def _name(node: type) -> str:
    return node.define_schema().display_name
