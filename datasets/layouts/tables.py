"""Tables and texts that come with a dataset: what cannot be read becomes a problem of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...files.csv_table import read_table
from ..sample import refusal
from .found import Found


def table_rows(path: Path, columns: Sequence[str], found: Found) -> Iterator[tuple[str, dict[str, str]]]:
    """("line 2", {column: text, stripped}) of every row of a CSV file.

    A file that is no such table, or lacks one of `columns`, becomes a problem of `found`.
    """
    try:
        table = read_table(path, columns)
    except (ValueError, OSError) as error:
        refused = refusal(error, path)
        found.problem(path, refused.what, refused.remedy)
        return
    there = {name: table.column(name) for name in columns}
    missing = [name for name, column in there.items() if column is None]
    if missing:
        what = f"no column {', '.join(missing)}; it has {', '.join(table.columns) or 'none'}"
        found.problem(path, what, f"give it the columns {', '.join(columns)}")
        return
    for number, row in table.rows:
        yield f"line {number}", {name: row[column] for name, column in there.items()}


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
