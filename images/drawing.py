"""Sheets, tables and curves as pictures, by Pillow: ComfyUI shows pictures on a node, and has no plotting library.

A sheet is white. Where one is returned as a tensor, it is [h, w, 3] in 0 .. 1 unless the docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .masks import mask_box
from .pictures import Picture
from .windows import Window, context_side, cut_mask, cut_picture, place_window

GAP = 4  # px between images
LONGEST = 512
OUTLINE = (0, 255, 170)  # no surface has it
TILE, LABEL = 160, 18  # px of a block's images, and of the text below them
LETTERS = 15  # px, in tables and curves
RULE = (190, 190, 190)
PANEL_WIDTH, PANEL_HEIGHT, PANEL_LEFT, PANEL_GAP = 460, 260, 64, 28  # px of a panel of curves, and around it
TICKS = 4
# Okabe and Ito's colours, distinct for colour-blind readers too; a ninth line begins again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A00")

Line = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Table:
    """head, rows: plain texts, the first column words and the others numbers; notes: sentences below."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=list)


def outlined(image: Tensor, mask: Tensor | None, longest: int) -> np.ndarray:
    """An image [H, W, 3] in 0 .. 1 with the outline of its mask (bool [H, W] or None), as uint8 [h, w, 3].

    longest: px of the longer side, at most; small images are enlarged by a whole number.
    """
    scale = longest / max(image.shape[:2])
    scale = max(int(scale), 1) if scale > 1 else scale
    size = [max(round(n * scale), 1) for n in image.shape[:2]]
    tile = _tile(image, size)
    if mask is not None:
        tile[_outline(mask, size)] = OUTLINE
    return tile


def close_up(picture: Picture, mask: Tensor, tile: int) -> tuple[Tensor, Tensor]:
    """The square around a mask with context: image [tile, tile, 3] in 0 .. 1 and mask bool [tile, tile].

    mask: bool [H, W] of the picture's size, not empty. `close_up_window` decides how much is shown.
    """
    window = close_up_window(mask, tile)
    image, cut = cut_picture(picture, window)[None], cut_mask(mask, window)[None, None].float()
    if window.resolution < tile:
        whole = tile % window.resolution == 0  # then every pixel of the picture is a square
        image = F.interpolate(image, (tile, tile), mode="nearest" if whole else "bilinear")
        cut = F.interpolate(cut, (tile, tile), mode="nearest")
    return image[0].permute(1, 2, 0), cut[0, 0] > 0


def close_up_window(mask: Tensor, tile: int) -> Window:
    """Half a tile's pixels for small defects (they are then shown twice as large), a tile's for others, and more,
    reduced, where defect and context need it; never more than the image's longer side."""
    top, left, height, width = mask_box(mask)
    most = max(mask.shape)
    least = min(tile // 2, most)
    side = context_side(mask, least)
    side = side if side == least else min(max(side, tile), most)
    return place_window((top + height / 2, left + width / 2), side, tuple(mask.shape), min(side, tile))


def overlay(normal: Tensor, result: Tensor, mask: Tensor, label: str) -> Tensor:
    """Normal, result and outlined result side by side with a line of text, [h, w, 3] in 0 .. 1.

    Args:
        normal, result: [H, W, 3] in 0 .. 1; shown at most 512 px wide or high each, small ones enlarged.
        mask: bool [H, W]; its outline is drawn around it, so that even a single pixel's defect stays to be seen.
        label: the text below.
    """
    return labelled_row([(normal, None), (result, None), (result, mask)], label)


def labelled_row(
    tiles: Sequence[tuple[Tensor, Tensor | None]], label: str, longest: int = LONGEST, font_size: int | None = None
) -> Tensor:
    """Images of one size [H, W, 3], each with the outline of its mask (bool [H, W] or None), and a text below.

    Args:
        label: the text, of one line or several.
        longest: pixels that an image's longer side is shown at, at most.
        font_size: of the text in px; None is legible where a node shows the whole at a third.
    """
    shown = [outlined(image, mask, longest) for image, mask in tiles]
    size = shown[0].shape[:2]
    width = len(tiles) * (size[1] + GAP) - GAP
    font = ImageFont.load_default(size=font_size or max(13, width // 45))
    lines, step = label.split("\n"), font.size * 3 // 2
    longest_line = int(max(map(font.getlength, lines))) + 4
    sheet = Image.new("RGB", (max(width, longest_line), size[0] + step * len(lines)), "white")
    for place, tile in enumerate(shown):
        sheet.paste(Image.fromarray(tile), (place * (size[1] + GAP), 0))
    for place, line in enumerate(lines):
        ImageDraw.Draw(sheet).text((2, size[0] + place * step), line, "black", font=font)
    return _tensor(sheet)


def tiled(tiles: Sequence[Tensor], columns: int) -> Tensor:
    """Tiles [h, w, 3] in 0 .. 1 of any sizes, `columns` side by side on white, as uint8 [H, W, 3]."""
    lines = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    width = max(tile.shape[1] for tile in tiles) + 2 * GAP
    sheets = []
    for line in lines:
        height = max(tile.shape[0] for tile in line) + 2 * GAP
        padded = [F.pad(tile, (0, 0, 0, width - tile.shape[1], 0, height - tile.shape[0]), value=1) for tile in line]
        padded += [torch.ones(height, width, 3)] * (columns - len(line))
        sheets.append(torch.cat(padded, 1))
    return (torch.cat(sheets) * 255).round().to(torch.uint8)


def blocks(
    titles: Sequence[str], rows: Iterable[tuple[Sequence[np.ndarray], str]], count: int, columns: int
) -> Image.Image:
    """`count` blocks, `columns` side by side, each a row of square images with a label below.

    Args:
        titles: of a block's images, written once above.
        rows: (images [h, w, 3] in uint8, as many as titles, label) of every block; taken one by one.
    """
    width, height = len(titles) * (TILE + GAP) + 3 * GAP, TILE + LABEL + GAP
    sheet = Image.new("RGB", (columns * width, -(-count // columns) * height + LABEL), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column in range(columns):
        for place, title in enumerate(titles):
            draw.text((column * width + place * (TILE + GAP) + GAP, 2), title, "black", font=font)
    for index, (images, label) in enumerate(rows):
        left, top = index % columns * width + GAP, index // columns * height + LABEL
        for place, image in enumerate(images):
            tile = Image.fromarray(image).resize((TILE, TILE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (left + place * (TILE + GAP), top))
        draw.text((left, top + TILE + 2), label, "black", font=font)
    return sheet


def named_rows(rows: Mapping[str, Sequence[Image.Image]], tile: int) -> Image.Image:
    """Rows of images, shown at `tile` px, each with its name on its first image."""
    width, height = (count * (tile + GAP) - GAP for count in (max(map(len, rows.values())), len(rows)))
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(rows.items()):
        for column, image in enumerate(images):
            shown = image.resize((tile, tile), Image.Resampling.BICUBIC)
            sheet.paste(shown, (column * (tile + GAP), row * (tile + GAP)))
        draw.text((4, row * (tile + GAP) + 2), name, "white", stroke_width=2, stroke_fill="black")
    return sheet


def captioned(tiles: Sequence[Tensor], captions: Sequence[str], columns: int, space: int, width: int) -> Tensor:
    """Grey tiles [h, w] in 0 .. 1 of one size, `columns` in a row of `width` px, framed, each with its caption below.

    space: px that a tile takes, with the gap to the next one.
    """
    size = tiles[0].shape
    step = size[0] + 2 * LETTERS
    sheet = Image.new("RGB", (width, step * -(-len(tiles) // columns) + PANEL_GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=LETTERS)
    for place, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        row, column = divmod(place, columns)
        left, top = PANEL_GAP + column * space, row * step
        sheet.paste(Image.fromarray((tile * 255).round().byte().numpy()).convert("RGB"), (left, top))
        draw.rectangle((left - 1, top, left + size[1], top + size[0]), outline="#888888")
        draw.text((left, top + size[0] + 3), caption, "black", font=font)
    return _tensor(sheet)


def table_picture(table: Table, size: int = LETTERS) -> Tensor:
    """A table with its notes below; `size`: px of the letters."""
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
    return _tensor(sheet)


def curves(panels: Mapping[str, Mapping[str, Line]], notes: Sequence[str] = ()) -> Tensor:
    """Panels side by side, each from 0 up, with its lines' last values in words below.

    Args:
        panels: title to lines by name, each (step, value) in order of the steps; a panel may be empty.
        notes: sentences at the end.
    """
    font, step = ImageFont.load_default(size=LETTERS), LETTERS * 3 // 2
    words = max((len(lines) for lines in panels.values()), default=0) + len(notes)
    side = PANEL_WIDTH + PANEL_LEFT + PANEL_GAP
    width = max(side * len(panels) + PANEL_GAP, *(int(font.getlength(note)) + 2 * PANEL_GAP for note in notes), 1)
    sheet = Image.new("RGB", (width, PANEL_HEIGHT + 4 * step + 2 * PANEL_GAP + step * words), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (title, lines) in enumerate(panels.items()):
        left, top = place * side + PANEL_LEFT, PANEL_GAP + step
        draw.text((left, PANEL_GAP // 2), title, "black", font=font)
        _panel(draw, font, left, top, lines)
        for row, (name, line) in enumerate(lines.items()):
            y = top + PANEL_HEIGHT + 2 * step + row * step
            draw.line((left, y + LETTERS // 2, left + 18, y + LETTERS // 2), COLOURS[row % len(COLOURS)], 3)
            draw.text((left + 26, y), f"{name}  {line[-1][1]:.3f}", "black", font=font)
    for row, note in enumerate(notes):
        draw.text((PANEL_GAP, sheet.height - step * (len(notes) - row) - PANEL_GAP // 2), note, "black", font=font)
    return _tensor(sheet)


def _panel(draw: ImageDraw.ImageDraw, font, left: int, top: int, lines: Mapping[str, Line]) -> None:
    """Axes from 0 up with their numbers, and the lines."""
    last = max((line[-1][0] for line in lines.values()), default=1)
    high = max((value for line in lines.values() for _, value in line), default=1.0) or 1.0
    for tick in range(TICKS + 1):
        x, y = left + PANEL_WIDTH * tick // TICKS, top + PANEL_HEIGHT - PANEL_HEIGHT * tick // TICKS
        draw.line((left, y, left + PANEL_WIDTH, y), "#DDDDDD")
        draw.text((left - 8, y), f"{high * tick / TICKS:.3g}", "black", font=font, anchor="rm")
        draw.text((x, top + PANEL_HEIGHT + 6), f"{last * tick // TICKS}", "black", font=font, anchor="ma")
    for row, line in enumerate(lines.values()):
        points = [
            (left + PANEL_WIDTH * step / last, top + PANEL_HEIGHT - PANEL_HEIGHT * value / high) for step, value in line
        ]
        colour = COLOURS[row % len(COLOURS)]
        draw.line(points, colour, 2)
        for x, y in points if len(points) < 40 else points[-1:]:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), colour)


def _tile(image: Tensor, size: list[int]) -> np.ndarray:
    pixels = (image.float().clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)
    kind = Image.Resampling.NEAREST if size[0] >= image.shape[0] else Image.Resampling.BOX
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), kind))


def _outline(mask: Tensor, size: list[int]) -> np.ndarray:
    """The ring of shown pixels around the mask, bool [h, w]."""
    known = mask[None, None].float()
    shrinks = size[0] < mask.shape[0]
    shown = F.adaptive_max_pool2d(known, size) if shrinks else F.interpolate(known, size, mode="nearest")
    near = F.max_pool2d(shown, 3, stride=1, padding=1)
    return ((F.max_pool2d(near, 3, stride=1, padding=1) > 0) & (near == 0))[0, 0].numpy()


def _tensor(sheet: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255)
