"""Curves as a picture: ComfyUI shows pictures on a node, and has no plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SIZE = 15  # px of the letters
WIDTH, HEIGHT, MARGIN, GAP = 460, 260, 64, 28  # of a panel, and around it

TICKS = 4

# Okabe and Ito's colours, told apart by colour-blind eyes as well; a ninth line begins again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A00")
Line = Sequence[tuple[int, float]]


def picture(panels: Mapping[str, Mapping[str, Line]], notes: Sequence[str] = ()) -> Tensor:
    """[h, w, 3] in 0 .. 1: panels side by side, each from 0 up, with its lines' last values in words below.

    Args:
        panels: title to lines by name, each (step, value) in order of the steps; a panel may be empty.
        notes: sentences at the end.
    """
    font, step = ImageFont.load_default(size=SIZE), SIZE * 3 // 2
    words = max((len(lines) for lines in panels.values()), default=0) + len(notes)
    side = WIDTH + MARGIN + GAP
    width = max(side * len(panels) + GAP, *(int(font.getlength(note)) + 2 * GAP for note in notes), 1)
    sheet = Image.new("RGB", (width, HEIGHT + 4 * step + 2 * GAP + step * words), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (title, lines) in enumerate(panels.items()):
        left, top = place * side + MARGIN, GAP + step
        draw.text((left, GAP // 2), title, "black", font=font)
        _panel(draw, font, left, top, lines)
        for row, (name, line) in enumerate(lines.items()):
            y = top + HEIGHT + 2 * step + row * step
            draw.line((left, y + SIZE // 2, left + 18, y + SIZE // 2), COLOURS[row % len(COLOURS)], 3)
            draw.text((left + 26, y), f"{name}  {line[-1][1]:.3f}", "black", font=font)
    for row, note in enumerate(notes):
        draw.text((GAP, sheet.height - step * (len(notes) - row) - GAP // 2), note, "black", font=font)
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255)


def _panel(draw: ImageDraw.ImageDraw, font, left: int, top: int, lines: Mapping[str, Line]) -> None:
    last = max((line[-1][0] for line in lines.values()), default=1)
    high = max((value for line in lines.values() for _, value in line), default=1.0) or 1.0
    for tick in range(TICKS + 1):
        x, y = left + WIDTH * tick // TICKS, top + HEIGHT - HEIGHT * tick // TICKS
        draw.line((left, y, left + WIDTH, y), "#DDDDDD")
        draw.text((left - 8, y), f"{high * tick / TICKS:.3g}", "black", font=font, anchor="rm")
        draw.text((x, top + HEIGHT + 6), f"{last * tick // TICKS}", "black", font=font, anchor="ma")
    for row, line in enumerate(lines.values()):
        points = [(left + WIDTH * step / last, top + HEIGHT - HEIGHT * value / high) for step, value in line]
        colour = COLOURS[row % len(COLOURS)]
        draw.line(points, colour, 2)
        for x, y in points if len(points) < 40 else points[-1:]:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), colour)
