"""Errors of the rooms below, under the name of the node that the user sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

_ENGINE = re.compile(r"AIAS( grid| preset)?: ")


@contextmanager
def named(node: str) -> Iterator[None]:
    """Put the node's display name before a ValueError, in place of the engine's own."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(node):
            raise
        raise ValueError(f"{node}: {_ENGINE.sub('', str(error), count=1)}") from error
