"""A YAML file as plain values, with the line of every key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

Keys = tuple[str | int, ...]
_LIST, _MAPPING = "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"
_ACCEPTED = "accepted is a text without zero bytes and halves of characters (lone surrogates)"
_MOST = 1_000_000  # bytes; a job is a page of text


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):  # a few of them can stand for gigabytes
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not accepted; write it out", problem_mark=mark)
        return super().compose_node(parent, index)


class YamlFile:
    """`data`, the file's mapping, and `where(keys)`, which tells line and key for an error's first words.

    Raises ValueError for a file that is no YAML, holds no mapping, or has a key twice; OSError if it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lines: dict[Keys, int] = {}
        raw = self.path.read_bytes()
        if len(raw) > _MOST:
            raise ValueError(f"{path}: {len(raw)} bytes; a job file has at most {_MOST}; is this the right file?")
        try:
            loader = _Loader(raw.decode("utf-8-sig"))
            node = loader.get_single_node()
            self.data = {} if node is None else self._value(loader, node, ())
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or error
            raise ValueError(f"{path}{line}: not YAML ({problem})") from error
        if not isinstance(self.data, dict):
            raise ValueError(f"{path}, line 1: {self.data!r:.40}; accepted is a mapping of keys to values")

    def where(self, keys: Keys) -> str:
        """'job.yaml, line 7, results.image': of the key itself, or of the nearest around it."""
        known = keys
        while known not in self._lines and known:
            known = known[:-1]
        line = f", line {self._lines[known]}" if known in self._lines else ""
        return f"{self.path}{line}" + (f", {'.'.join(map(str, keys))}" if keys else "")

    def _value(self, loader: _Loader, node: yaml.Node, keys: Keys) -> Any:
        self._lines.setdefault(keys, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            try:
                value = loader.construct_object(node)
            except ValueError as error:  # a whole number of thousands of digits, a day that there is not
                raise ValueError(f"{self.where(keys)}: {node.value:.40}; accepted is a plain value") from error
            if not _whole(node.value):
                raise ValueError(f"{self.where(keys)}: {node.value!r:.40}; {_ACCEPTED}")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{self.where(keys)}: {value}; accepted is a finite number")
            return value if isinstance(value, str | int | float | None) else node.value  # a date is a text here
        if node.tag not in (_LIST, _MAPPING):
            raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not accepted", problem_mark=node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, child, (*keys, place)) for place, child in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ValueError(f"{self.path}, line {line}: a key must be one word or text")
            if not _whole(key_node.value):
                raise ValueError(f"{self.path}, line {line}: {key_node.value!r:.40}; {_ACCEPTED}")
            key = key_node.value  # as it is written: a node's id may be 7, and 7 and "7" are the same
            if key in found:
                name = ".".join(map(str, (*keys, key)))
                raise ValueError(f"{self.path}, line {line}, {name}: this key is there twice")
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
