"""data.yaml of a YOLO dataset: the few keys that say where images lie and what classes are called.

Not a YAML reader: PyYAML is no requirement of this package. Top-level keys with a text, a list or a mapping in either
of YAML's two styles are understood, which is all that such a file has.
"""

from __future__ import annotations

import re
from collections.abc import Container

from ...errors import Refused

Value = str | list[str] | dict[str, str]
_KEY = re.compile(r"""("[^"]*"|'[^']*'|[^\s:#"'\[{][^:#]*?)\s*:(?:\s+(.*))?""")
_ITEM = re.compile(r"-(?:\s+(.*))?")
_PAIR = "'key: value'"
_BEFORE = " \t[{,:"  # what a quotation mark follows where a quoted text begins
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


def read_keys(text: str, wanted: Container[str]) -> dict[str, Value]:
    """{key: its text, list or mapping} of the wanted ones among the top-level keys.

    Raises Refused with the line of a value that is none of these, or of a top-level line that is no key.
    """
    found: dict[str, Value] = {}
    numbered = enumerate(text.splitlines(), 1)
    lines = [(number, line) for number, line in numbered if _bare(line).strip() not in ("", "---")]
    place = 0
    while place < len(lines):
        number, line = lines[place]
        match = _KEY.fullmatch(_bare(line).rstrip())
        if match is None or line[:1].isspace():
            raise _not(_PAIR, number, line)
        block, place = [], place + 1
        while place < len(lines) and (
            lines[place][1][:1] in " \t"
            or _ITEM.fullmatch(_bare(lines[place][1]).strip())
            or lines[place][1][:1] in "]}"
        ):
            block.append(lines[place])
            place += 1
        if _plain(match[1]) in wanted:
            found[_plain(match[1])] = _value(_bare(match[2] or "").strip(), block, number)
    return found


def _value(inline: str, block: list[tuple[int, str]], number: int) -> Value:
    if inline[:1] in ("[", "{"):
        return _flow(" ".join([inline, *(_bare(line).strip() for _, line in block)]), number)
    if inline or not block:
        return _plain(inline)
    first = _bare(block[0][1]).strip()
    if first[:1] in ("[", "{"):
        return _flow(" ".join(_bare(line).strip() for _, line in block), number)
    return _listed(block) if _ITEM.fullmatch(first) else _mapped(block)


def _listed(block: list[tuple[int, str]]) -> list[str]:
    items = []
    for number, line in block:
        match = _ITEM.fullmatch(_bare(line).strip())
        if match is None:
            raise _not("'- value'", number, line)
        items.append(_plain(match[1] or ""))
    return items


def _mapped(block: list[tuple[int, str]]) -> dict[str, str]:
    depth = len(block[0][1]) - len(block[0][1].lstrip())
    items = {}
    for number, line in block:
        if len(line) - len(line.lstrip()) > depth:
            continue  # of a mapping deeper down, such as kpt_names
        match = _KEY.fullmatch(_bare(line).strip())
        if match is None:
            raise _not(_PAIR, number, line)
        items[_plain(match[1])] = _plain(match[2] or "")
    return items


def _not(accepted: str, number: int, line: str) -> Refused:
    return Refused("value", f"line {number} is {line.strip()[:40]!r}", accepted)


def _flow(text: str, number: int) -> list[str] | dict[str, str]:
    """[a, 'b', ...] or {0: a, 1: 'b', ...}"""
    close = {"[": "]", "{": "}"}[text[0]]
    if not text.endswith(close):
        raise Refused("value", f"line {number}: there is no {close} that closes it")
    cells = [cell for cell in _split(text[1:-1], ",") if cell.strip()]
    if close == "]":
        return [_plain(cell) for cell in cells]
    pairs = [_split(cell, ":") for cell in cells]
    if any(len(pair) < 2 for pair in pairs):
        raise Refused("value", f"line {number} is no mapping", "{0: name, 1: name}")
    return {_plain(key): _plain(":".join(rest)) for key, *rest in pairs}


def _split(text: str, at: str) -> list[str]:
    """The text's pieces between `at`, but for what stands in quotes or brackets."""
    pieces, quote, depth, escaped = [""], "", 0, False
    for place, character in enumerate(text):
        if quote:
            closes = character == quote and not escaped
            escaped = quote == '"' and character == "\\" and not escaped
            quote = "" if closes else quote
        elif character in "\"'" and (place == 0 or text[place - 1] in _BEFORE):
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        if character == at and not quote and not depth:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def _bare(line: str) -> str:
    """The line without its comment: from a # on that is not in quotes and stands after a space."""
    quote, escaped = "", False
    for place, character in enumerate(line):
        before = line[place - 1] if place else " "
        if quote:
            closes = character == quote and not escaped
            escaped = quote == '"' and character == "\\" and not escaped
            quote = "" if closes else quote
        elif character in "\"'" and before in _BEFORE:
            quote = character
        elif character == "#" and before in " \t":
            return line[:place]
    return line


def _plain(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", _unescaped, text[1:-1])
    return text


def _unescaped(match: re.Match) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "ux" and len(code) > 1 else _ESCAPES.get(code, code)
