"""JSON that others wrote: servers, shared workflows, files that may have been edited. Read by place and type."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import Refused
from .untrusted_text import one_line

_MOST_VALUES = 4_000_000  # some 400 MB once parsed; the largest /object_info that we know has about 200,000
_MOST_LEVELS = 200  # of lists and objects; well below Python's own recursion limit
_DEEP, _ACCEPTED = f"nested more than {_MOST_LEVELS} levels deep", "JSON"
_MISSING = object()
_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}


class NotJson(Refused):
    """Bytes that are not JSON, or more of it than is read; got: why."""


class JsonValue:
    """A value with its place, so that what does not fit is an error that names it.

        /history: ['outputs']['9']['images'][0] is a number (5); accepted is an object.

    value: as `json.loads` gives it; where: the file or the address, the subject of every error. All methods that raise
    Refused raise it about that.
    """

    __slots__ = ("_path", "value", "where")

    def __init__(self, value: Any, where: str, path: tuple[str | int, ...] = ()) -> None:
        self.value, self.where, self._path = value, where, path

    def is_a(self, *kinds: type) -> bool:
        """Whether the value is of one of the types; true is no whole number, and a whole number is a number."""
        if isinstance(self.value, bool):
            return bool in kinds
        return isinstance(self.value, (*kinds, int) if float in kinds else kinds)

    def of(self, *kinds: type) -> Any:
        """The value, of one of the types dict, list, str, bool, int, float (finite) and NoneType. Raises Refused."""
        if not self.is_a(*kinds) or (isinstance(self.value, float) and not math.isfinite(self.value)):
            raise self.wrong(" or ".join(_NAMES[kind] for kind in kinds))
        if float in kinds and isinstance(self.value, int) and abs(self.value) > sys.float_info.max:
            raise self.wrong("a number that fits a float")
        return self.value

    def text(self) -> str:
        """The value, a text that can be stored and sent. Raises Refused for others and for halves of characters."""
        try:
            self.of(str).encode()
        except UnicodeEncodeError as error:
            raise self.wrong("a text without halves of characters (lone surrogates)") from error
        return self.value

    def at(self, *keys: str | int) -> JsonValue:
        """The value below: a str is an object's key, an int a list's place. Raises Refused if it is missing."""
        found = self
        for key in keys:
            inside = found.of(list if isinstance(key, int) else dict)
            below = JsonValue(_MISSING, self.where, (*found._path, key))
            if isinstance(key, int) and not 0 <= key < len(inside):
                raise below.wrong("a value")
            below.value = inside[key] if isinstance(key, int) else inside.get(key, _MISSING)
            if below.value is _MISSING:
                raise below.wrong("a value")
            found = below
        return found

    def get(self, *keys: str | int) -> JsonValue | None:
        """As `at`; None where the last key is missing or its value is null."""
        parent = self.at(*keys[:-1])
        inside, key = parent.of(list if isinstance(keys[-1], int) else dict), keys[-1]
        missing = not 0 <= key < len(inside) if isinstance(key, int) else inside.get(key) is None
        below = None if missing else parent.at(key)
        return None if below is None or below.value is None else below

    def items(self) -> Iterator[tuple[str, JsonValue]]:
        """Keys and values of an object. Raises Refused for anything else."""
        for key in self.of(dict):
            yield key, self.at(key)

    def each(self) -> Iterator[JsonValue]:
        """The values of a list. Raises Refused for anything else."""
        for place in range(len(self.of(list))):
            yield self.at(place)

    def wrong(self, accepted: str) -> Refused:
        """The error for this value: what it is, and what is accepted."""
        place = one_line("".join(f"[{key!r:.100}]" for key in self._path[-20:]), 300) or "the whole"
        if self.value is _MISSING:
            return Refused(self.where, f"{place} is missing", accepted)
        return Refused(self.where, f"{place} is {described(self.value)}", accepted)


def parse_json(data: bytes | str, where: str) -> JsonValue:
    """Parse JSON of any origin.

    Raises NotJson (a Refused) for what is no JSON, nested too deep, of too many values, or has a number of more
    digits than Python reads.
    """
    marks = (b",", b"[", b"{") if isinstance(data, bytes) else (",", "[", "{")
    if sum(map(data.count, marks)) > _MOST_VALUES:
        raise NotJson(where, f"more than {_MOST_VALUES} values", _ACCEPTED)
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise NotJson(where, _DEEP, _ACCEPTED) from error
    except ValueError as error:
        raise NotJson(where, one_line(error, 200), _ACCEPTED) from error
    level, depth = [value], 0
    while level:
        level = [below for above in level if isinstance(above, dict | list) for below in _inside(above)]
        depth += 1
        if depth > _MOST_LEVELS:
            raise NotJson(where, _DEEP, _ACCEPTED)
    return JsonValue(value, where)


def _inside(value: dict | list) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def described(value: Any) -> str:
    """What a JSON value is, with as much of it as fits a line."""
    if isinstance(value, dict | list):
        return f"{_NAMES[type(value)]} of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    kind = "a number" if isinstance(value, int | float) else "a text"
    return f"{kind} ({one_line(repr(value), 40)})"
