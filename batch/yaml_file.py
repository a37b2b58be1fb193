"""A YAML file as plain values, with the line of every key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from ..errors import Refused, reason

Keys = tuple[str | int, ...]
_LIST, _MAPPING = "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"
_ACCEPTED = "a text without zero bytes and halves of characters (lone surrogates)"
_MOST = 1_000_000  # bytes; a job is a page of text


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):  # a few of them can stand for gigabytes
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not accepted; write it out", problem_mark=mark)
        return super().compose_node(parent, index)


class YamlFile:
    """`data`, the file's mapping, and `where(keys)`, which gives line and key for an error's subject.

    Raises Refused for a file that is no YAML, holds no mapping, or has a key twice; OSError if it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lines: dict[Keys, int] = {}
        raw = self.path.read_bytes()
        if len(raw) > _MOST:
            raise Refused(
                path, f"{len(raw)} bytes", f"a job file of at most {_MOST}", "look whether this is the right file"
            )
        try:
            loader = _Loader(raw.decode("utf-8-sig"))
            node = loader.get_single_node()
            self.data = {} if node is None else self._value(loader, node, ())
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            raise Refused(f"{path}{line}", f"not YAML ({getattr(error, 'problem', None) or reason(error)})") from error
        if not isinstance(self.data, dict):
            raise Refused(f"{path}, line 1", f"{self.data!r:.40}", "a mapping of keys to values")

    def where(self, keys: Keys) -> str:
        """'job.yaml, line 7, results.image': of the key itself, or of the nearest around it."""
        line = self.line(keys)
        place = f"{self.path}, line {line}" if line else str(self.path)
        return place + (f", {'.'.join(map(str, keys))}" if keys else "")

    def line(self, keys: Keys) -> int:
        """The line of the key, or of the nearest around it; 0 in an empty file."""
        known = keys
        while known not in self._lines and known:
            known = known[:-1]
        return self._lines.get(known, 0)

    def _value(self, loader: _Loader, node: yaml.Node, keys: Keys) -> Any:
        self._lines.setdefault(keys, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            try:
                value = loader.construct_object(node)
            except ValueError as error:  # a whole number of thousands of digits, a day that there is not
                raise Refused(self.where(keys), f"{node.value:.40}", "a plain value") from error
            if not _whole(node.value):
                raise Refused(self.where(keys), f"{node.value!r:.40}", _ACCEPTED)
            if isinstance(value, float) and not math.isfinite(value):
                raise Refused(self.where(keys), value, "a finite number")
            return value if isinstance(value, str | int | float | None) else node.value  # a date is a text here
        if node.tag not in (_LIST, _MAPPING):
            raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not accepted", problem_mark=node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, child, (*keys, place)) for place, child in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise Refused(f"{self.path}, line {line}", "a key must be one word or text")
            if not _whole(key_node.value):
                raise Refused(f"{self.path}, line {line}", f"{key_node.value!r:.40}", _ACCEPTED)
            key = key_node.value  # as it is written: a node's id may be 7, and 7 and "7" are the same
            if key in found:
                name = ".".join(map(str, (*keys, key)))
                raise Refused(f"{self.path}, line {line}, {name}", "this key is there twice")
            self._lines[(*keys, key)] = line
            found[key] = self._value(loader, child, (*keys, key))
        return found


def _whole(text: str) -> bool:
    """Whether a text can be stored, sent and part of a path."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
