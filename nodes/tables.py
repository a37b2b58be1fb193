"""A table as Markdown, and as a picture: ComfyUI shows pictures on a node, but no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from comfy_api.latest import io, ui
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..evaluation.report import tables as report

SIZE = 15  # px of the letters
RULE = (190, 190, 190)


@dataclass(frozen=True)
class Table:
    """head, rows: plain texts, the first column words and the others numbers; notes: sentences below."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=list)


def markdown(table: Table) -> str:
    head, *rows = [[report.escape(text) for text in line] for line in (table.head, *table.rows)]
    return "\n".join([report.table(head, rows), *map(report.escape, table.notes)])


def picture(table: Table, size: int = SIZE) -> Tensor:
    """[h, w, 3] in 0 .. 1; `size`: height of the letters in pixels."""
    font, step = ImageFont.load_default(size=size), size * 3 // 2
    gap, margin, lines = step, size, [table.head, *table.rows]
    widths = [max(font.getlength(line[place]) for line in lines) + gap for place in range(len(table.head))]
    ends = np.cumsum(widths) - gap + margin
    width = max([ends[-1], *(font.getlength(note) + margin for note in table.notes)]) + margin
    rule, height = margin + step, step * (len(lines) + len(table.notes)) + 3 * margin
    sheet = Image.new("RGB", (int(width), height), "white")
    draw = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        draw.text((margin, margin + row * step), line[0], "black", font=font)
        for place in range(1, len(line)):
            draw.text((ends[place], margin + row * step), line[place], "black", font=font, anchor="ra")
    draw.line((margin, rule, ends[-1], rule), RULE)
    for row, note in enumerate(table.notes):
        draw.text((margin, 2 * margin + (len(lines) + row) * step), note, "black", font=font)
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255)


def on_node(pictures: Tensor, text: str, node: type[io.ComfyNode]) -> dict:
    """What a node shows: pictures [B, h, w, 3] in 0 .. 1, and the text in the history for who queued by the API."""
    return ui.PreviewImage(pictures, cls=node).as_dict() | {"text": (text,)}
