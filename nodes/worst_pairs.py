"""The worst pairs of a folder below the host's output, as a sheet and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..synthesis.worst import Worst, summary, value, words, worst_pairs, worst_sheet
from .errors import named
from .images import to_batch
from .progress import passes
from .saved_pairs import needed_root
from .tables import Table

NODE = "Worst Pairs"


def worst(names: Sequence[str], by: str, count: int) -> tuple[Tensor, Table, list[int]]:
    """The sheet [1, h, w, 3] in 0 .. 1, the table, and the pairs' indices in the manifest, the worst first.

    Raises:
        ValueError: several folders, none, or one that holds no pairs with this score.
    """
    root = needed_root(NODE, names)
    with named(NODE), passes():
        found = worst_pairs(root, by, count)
        sheet = worst_sheet(found)
    return to_batch([sheet / 255]), _table(found), [line["index"] for line in found.pairs]


def _table(found: Worst) -> Table:
    head = ["file", "index", "object / type", *map(words, found.scores), "visible"]
    told = {True: "yes", False: "no", None: "-"}
    rows = [
        [
            line["image"],
            str(line["index"]),
            f"{line['object']} / {line['type']}",
            *(value(line, score) for score in found.scores),
            told.get(line["visible"], "-"),
        ]
        for line in found.pairs
    ]
    return Table(head, rows, summary(found))
