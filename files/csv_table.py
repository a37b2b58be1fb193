"""CSV files as spreadsheets write them: any separator, any Unicode; others are refused by name."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused

_MARKS = (  # the longer first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEPARATORS = (",", ";", "\t", "|")
_SAVE = "save it as UTF-8 (in a spreadsheet 'CSV UTF-8')"


@dataclass(frozen=True)
class Table:
    """columns: the header's names; rows: (line number in the file, {column: text, stripped}), blank lines left out."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]

    def column(self, name: str) -> str | None:
        """The column of that name, else the one that differs from it in case alone."""
        similar = [one for one in self.columns if one.casefold() == name.strip().casefold()]
        return name if name in self.columns else similar[0] if len(similar) == 1 else None


def read_table(path: str | Path, wanted: Sequence[str]) -> Table:
    """Read a CSV file with a header; the separator (comma, semicolon, tab or bar) is that which gives the most of the
    `wanted` columns, or the one that a first line such as `sep=;` names.

    Raises Refused about the file where its bytes are no Unicode, a column stands
    there twice, or a row has more cells than the header; OSError where it cannot be opened.
    """
    path = Path(path)
    lines = list(io.StringIO(_text(path), newline=""))
    skipped, separator = 0, None
    if lines and lines[0].strip().strip('"').lower().startswith("sep="):
        skipped, separator = 1, lines[0].strip().strip('"')[4:5].strip('"') or "\t"
    while skipped < len(lines) and not lines[skipped].strip(' \t\r\n,;|"'):
        skipped += 1
    found = [_columns(lines[skipped:], one) for one in ([separator] if separator else _SEPARATORS)]
    names = {name.casefold() for name in wanted}
    known = [len(names & {name.casefold() for name in columns}) for columns in found]
    best = max(range(len(found)), key=lambda place: (known[place], len(found[place])))
    columns = found[best]
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise Refused(path, f"two columns are named {twice[0]!r}", remedy="rename one")
    reader = csv.reader(lines[skipped:], delimiter=separator or _SEPARATORS[best])
    rows = []
    try:
        next(reader, None)
        for cells in reader:
            line = skipped + reader.line_num
            if any(cell.strip() for cell in cells[len(columns) :]):
                got = f"line {line} has {len(cells)} cells, the header {len(columns)}"
                raise Refused(path, got, remedy="put cells that hold the separator in quotes")
            if any(cell.strip() for cell in cells):
                filled = [cell.strip() for cell in cells] + [""] * (len(columns) - len(cells))
                rows.append((line, dict(zip(columns, filled, strict=False))))
    except csv.Error as error:
        raise Refused(path, f"it cannot be read as CSV ({error})", remedy=_SAVE) from error
    return Table(path, tuple(name for name in columns if name), tuple(rows))


def _columns(lines: Sequence[str], separator: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader(lines, delimiter=separator), [])]
    except csv.Error:
        return []


def _text(path: Path) -> str:
    data = path.read_bytes()
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Refused(path, f"line {line} is no {encoding.upper()} text ({error.reason})", remedy=_SAVE) from error
    if "\0" in text:
        raise Refused(path, "it holds zero bytes, as UTF-16 without its mark does", remedy=_SAVE)
    return text
