"""A dataset as one picture: a row per type with its count, its masks by area and examples, then what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..files.untrusted_text import one_line

EXAMPLES, TILE, GAP = 5, 120, 6  # of a type; px
NAME, COUNT, AREA = 16, 226, 346  # px from the left: where the columns begin
AREA_WIDTH, BAR_WIDTH = 280, 50
PICTURES = AREA + AREA_WIDTH + 28
WIDTH = PICTURES + EXAMPLES * (TILE + GAP) + 10
ROWS, PROBLEMS = 80, 12  # at most
MARKS = (16, 100, 1_000, 10_000, 100_000, 1_000_000)  # px on the axis of mask areas
BODY, HEADING = (ImageFont.load_default(size=size) for size in (19, 23))
BLACK, GREY, LIGHT, BLUE, RED = "black", (110, 110, 110), (225, 225, 225), (70, 110, 170), (180, 20, 20)


@dataclass(frozen=True)
class Row:
    """One type. images: how many show it; area: the masks' in px, five ascending quantiles from the least to the most,
    empty where none could be read, None for normal images; doublings: masks with an area of 2^i up to 2^(i + 1);
    examples: at most EXAMPLES images [TILE or less, TILE or less, 3] in uint8."""

    name: str
    images: int
    area: Sequence[float] | None
    doublings: Sequence[int]
    examples: Sequence[np.ndarray]


@dataclass(frozen=True)
class Section:
    """One object: a heading above its rows, of which there is at least one."""

    heading: str
    rows: Sequence[Row]


def overview(head: Sequence[str], sections: Sequence[Section], problems: Sequence[tuple[str, Sequence[str]]]) -> Tensor:
    """The picture, uint8 [H, W, 3]: at most ROWS rows and PROBLEMS problems, whatever the dataset's size.

    Args:
        head: lines at the top.
        problems: (title, lines) of each severity, the worst first and in red; a severity may have none.
    """
    rows = [row for section in sections for row in section.rows]
    scale = _Scale(rows)
    bands = [_text([_fitted(line, WIDTH - 2 * NAME) for line in head]), _columns(scale)]
    bands += [band for drawn in islice(_rows(sections, scale), ROWS) for band in drawn]
    hidden = len(rows) - ROWS
    bands += [_text([f"and {hidden} more rows; the report lists all"], GREY)] if hidden > 0 else []
    bands += _problems(problems) or [_text(["no problems"], GREY)]
    return torch.from_numpy(np.concatenate([np.asarray(band) for band in [_band(4), *bands]]))


class _Scale:
    """Where an area and a count lie, the same for all rows; areas by doublings."""

    def __init__(self, rows: Sequence[Row]):
        areas = [area for row in rows for area in row.area or ()]
        self.most = max([*(row.images for row in rows), 1])
        self.first = int(min(areas, default=1)).bit_length() - 1
        self.last = max(int(max(areas, default=1)).bit_length(), self.first + 1)

    def x(self, area: float) -> float:
        """Pixels from the left."""
        return AREA + AREA_WIDTH * (float(np.log2(area)) - self.first) / (self.last - self.first)


def _rows(sections: Sequence[Section], scale: _Scale) -> Iterator[list[Image.Image]]:
    """The bands of every row; a section's first row comes with the heading."""
    for section in sections:
        heading = [_text([_fitted(section.heading, WIDTH - 2 * NAME, HEADING)], font=HEADING)]
        for row in section.rows:
            band = _band(TILE)
            _count(band, row.name, row.images, scale)
            if row.area is not None:
                _areas(band, row, scale)
            for place, tile in enumerate(row.examples):
                band.paste(Image.fromarray(tile), (PICTURES + place * (TILE + GAP), 0))
            yield [*heading, band]
            heading = []


def _columns(scale: _Scale) -> Image.Image:
    """The heads of the columns, and the marks of the areas' axis."""
    band = _band(50)
    draw = ImageDraw.Draw(band)
    for left, head in ((NAME, "type"), (COUNT, "images"), (AREA, "mask area in px"), (PICTURES, "examples")):
        draw.text((left, 0), head, GREY, font=BODY)
    end = -float("inf")
    for area in MARKS:
        words = f"{area:,}"
        if 2**scale.first <= area <= 2**scale.last and scale.x(area) - BODY.getlength(words) / 2 > end:
            draw.text((scale.x(area), 24), words, GREY, font=BODY, anchor="ma")
            end = scale.x(area) + BODY.getlength(words) / 2 + 8
    return band


def _count(band: Image.Image, words: str, count: int, scale: _Scale) -> None:
    draw, middle = ImageDraw.Draw(band), TILE // 2
    draw.text((NAME, middle), _fitted(words, COUNT - NAME - 8), BLACK, font=BODY, anchor="lm")
    draw.rectangle((COUNT, middle - 9, COUNT + round(BAR_WIDTH * count / scale.most), middle + 9), BLUE)
    draw.text((COUNT + BAR_WIDTH + 8, middle), f"{count:,}", BLACK, font=BODY, anchor="lm")


def _areas(band: Image.Image, row: Row, scale: _Scale) -> None:
    """A bar per doubling of the area; the tallest of every type is of one height."""
    draw, floor, tallest = ImageDraw.Draw(band), TILE - 34, TILE - 44
    for area in MARKS:
        if 2**scale.first < area < 2**scale.last:
            draw.line((scale.x(area), 4, scale.x(area), floor), LIGHT, 2)
    for doubling, count in enumerate(row.doublings):
        if count:
            height = max(round(tallest * count / max(row.doublings)), 1)
            left, right = scale.x(2**doubling), scale.x(2 ** (doubling + 1))
            draw.rectangle((left + 1, floor - height, right - 1, floor), BLUE)
    draw.line((AREA, floor, AREA + AREA_WIDTH, floor), GREY)
    words = "no mask could be read"
    if row.area:
        least, _, median, _, most = row.area
        words = f"{least:,.0f} to {most:,.0f}, median {median:,.0f}"
    draw.text((AREA, floor + 6), _fitted(words, AREA_WIDTH + 20), BLACK, font=BODY)


def _problems(problems: Sequence[tuple[str, Sequence[str]]]) -> list[Image.Image]:
    bands, left = [], PROBLEMS
    for place, (title, lines) in enumerate(problems):
        colour = BLACK if place else RED
        shown = [_fitted(line, WIDTH - 2 * NAME - 20) for line in lines[:left]]
        more = [f"and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
        if lines:
            bands += [_text([title], colour, HEADING), _text([*shown, *more], colour)]
        left -= len(shown)
    return bands


def _text(lines: Sequence[str], colour=BLACK, font=BODY) -> Image.Image:
    step = font.size * 3 // 2
    band = _band(step * len(lines) + 8)
    for place, line in enumerate(lines):
        ImageDraw.Draw(band).text((NAME, 4 + place * step), line, colour, font=font)
    return band


def _fitted(words: str, width: int, font=BODY) -> str:
    """On one line of `width` px, cut where it is longer."""
    words = one_line(" ".join(words.split()))
    if font.getlength(words) <= width:
        return words
    length = len(words)
    while length and font.getlength(words[:length] + " ...") > width:
        length -= max(length // 20, 1)
    return words[:length] + " ..."


def _band(height: int) -> Image.Image:
    return Image.new("RGB", (WIDTH, height + GAP), "white")
