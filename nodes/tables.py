"""A table as Markdown, and what a node shows of a picture and a text."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor

from ..evaluation.report import tables as report
from ..images.drawing import Table


def markdown(table: Table) -> str:
    head, *rows = [[report.escape(text) for text in line] for line in (table.head, *table.rows)]
    return "\n".join([report.table(head, rows), *map(report.escape, table.notes)])


def on_node(pictures: Tensor, text: str, node: type[io.ComfyNode]) -> dict:
    """What a node shows: pictures [B, h, w, 3] in 0 .. 1, and the text in the history for who queued by the API."""
    return ui.PreviewImage(pictures, cls=node).as_dict() | {"text": (text,)}
