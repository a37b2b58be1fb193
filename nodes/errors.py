"""Errors of the rooms below, under the name of the node that the user sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def named(node: str) -> Iterator[None]:
    """Put the node's display name before a ValueError that does not begin with it."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(node):
            raise
        raise ValueError(f"{node}: {error}") from error
