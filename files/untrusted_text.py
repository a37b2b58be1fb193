"""Text that others wrote (servers, file names, manifests, workflows), made safe to show: on terminals, in logs, CSV."""

from __future__ import annotations

import logging
import re
import unicodedata
from typing import Any

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, format marks (bidi), half surrogate pairs, line separators
_JOINERS = "\u200c\u200d"  # format marks that Persian, Indic scripts and emoji are written with
_PLAIN = re.compile(r"[ -~]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# A cell starts with the text, and after what a spreadsheet may take for the end of a cell or a line. Before the formula
# may be white space, quotes and characters that do not show.
_FORMULA = re.compile(r"""(^|[;|\t\r\n])(?=[\s"'`´‘’“”«»\u200c\u200d]*[=+\-@＝＋－﹢﹣＠﹫−|%\t\r])""")


def one_line(value: Any, most: int | None = None) -> str:
    """The text without characters that move a terminal's cursor, change its colours, start a line or turn the writing
    direction: each becomes its escape, such as \\x1b. `most`: characters, with "..." where there are more."""
    text = value if isinstance(value, str) else str(value)
    if most is not None and len(text) > most:
        text = text[:most] + "..."
    return text if _PLAIN.fullmatch(text) else "".join(map(_shown, text))


def lines_of(value: Any) -> str:
    """As `one_line`, but line ends and tabs stay: for text that is ours, with parts that others wrote."""
    text = value if isinstance(value, str) else str(value)
    if _PLAIN.fullmatch(text):
        return text
    return "".join(character if character in "\n\t" else _shown(character) for character in text)


def csv_cell(value: Any) -> Any:
    """A value for a cell of a CSV file: a spreadsheet shows a text that it would run as a formula, after a '.

    Numbers stay numbers, also those in a text; None stays.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _FORMULA.sub(r"\1'", lines_of(value))


class LineFormatter(logging.Formatter):
    """A log record is one line, whatever its message holds; a traceback below it keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return lines_of(super().format(record))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")
