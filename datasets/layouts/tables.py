"""CSV tables that come with a dataset."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from .found import Found

_LONGEST = 10**8  # characters of a cell: the run lengths of one image


def table_rows(path: Path, columns: Sequence[str], found: Found) -> Iterator[tuple[str, dict[str, str]]]:
    """("line 2", {column: text}) of every row, columns stripped; a missing cell is "".

    Commas, semicolons and tabs separate cells, and spaces after them do not count. A file that is no such table, or
    lacks one of `columns`, becomes a problem of `found`, and so does a row with other cells than the head.
    """
    text = text_of(path, found)
    if text is None:
        return
    separator = next((one for one in ",;\t" if one in text.split("\n", 1)[0]), ",")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    before = csv.field_size_limit(_LONGEST)
    try:
        head = [name.strip() for name in next(rows, [])]
        missing = [name for name in columns if name not in head]
        if missing:
            found.problem(
                path, f"no column {', '.join(missing)}; it has {', '.join(head) or 'none'}",
                f"give it the columns {', '.join(columns)}",
            )  # fmt: skip
            return
        for row in rows:
            if len(row) > len(head):
                what = f"line {rows.line_num} has {len(row)} cells, the head has {len(head)}; left out"
                found.problem(path, what, "correct the line", False)
            elif any(cell.strip() for cell in row):
                cells = [*(cell.strip() for cell in row), *[""] * (len(head) - len(row))]
                yield f"line {rows.line_num}", dict(zip(head, cells, strict=True))
    except csv.Error as error:
        found.problem(path, f"it cannot be read as CSV after line {rows.line_num} ({error})", "correct it")
    finally:
        csv.field_size_limit(before)


def text_of(path: Path, found: Found, unusable: bool = True) -> str | None:
    """A text file's content; one that is not UTF-8, or cannot be opened, becomes a problem, and None is returned."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"it is no UTF-8 text ({error.reason} at byte {error.start})"
        found.problem(path, what, "save it as UTF-8 text", unusable)
    except OSError as error:
        found.problem(path, f"it cannot be opened ({error.strerror})", "restore it", unusable)
    return None
