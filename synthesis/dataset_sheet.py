"""What a dataset holds as one picture: counts, mask areas and example defects per type, and what is wrong."""

from __future__ import annotations

import hashlib
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..datasets.inspection import SMALL, TINY, Inspected, Inspection, Masks
from ..datasets.sample import NORMAL, Sample
from ..files.untrusted_text import one_line
from ..images.pictures import Picture, write_picture
from .sheets import close_up, outlined

EXAMPLES, TILE, GAP = 5, 120, 6  # of a type; px
NAME, COUNT, AREA = 16, 226, 346  # px from the left: where the columns begin
AREA_WIDTH, BAR_WIDTH = 280, 50
PICTURES = AREA + AREA_WIDTH + 28
WIDTH = PICTURES + EXAMPLES * (TILE + GAP) + 10
ROWS, PROBLEMS = 80, 12  # at most
MARKS = (TINY, SMALL, 1_000, 10_000, 100_000, 1_000_000)  # px on the axis of mask areas
BODY, HEADING = (ImageFont.load_default(size=size) for size in (19, 23))
BLACK, GREY, LIGHT, BLUE, RED = "black", (110, 110, 110), (225, 225, 225), (70, 110, 170), (180, 20, 20)


class DatasetSheet:
    """Looks at every sample of an inspection as it passes, keeps few examples of each type, and draws the sheet.

    Which examples are kept depends on the files' names alone: the same folder gives the same picture, and memory does
    not grow with the number of images.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], list[tuple[bytes, Image.Image]]] = defaultdict(list)

    def look(self, sample: Sample, picture: Picture, mask: Tensor | None) -> None:
        """For `inspect_dataset(look=...)`."""
        kept, name = self._kept[sample.object, sample.type], sample.name.encode("utf-8", "surrogatepass")
        rank = hashlib.blake2b(name).digest()
        if len(kept) < EXAMPLES or rank < kept[-1][0]:
            insort(kept, (rank, _tile(picture, mask)), key=lambda entry: entry[0])
            del kept[EXAMPLES:]

    def picture(self, inspection: Inspection) -> Tensor:
        """uint8 [H, W, 3]: a row per type with its count, its masks by area, and examples with the mask's outline."""
        scale = _Scale(inspection)
        bands = [_headings(inspection), _columns(scale)]
        rows = islice(self._rows(inspection, scale), ROWS)
        bands += [band for row in rows for band in row]
        hidden = sum(1 + len(one.types) for one in inspection.objects.values()) - ROWS
        bands += [_text([f"and {hidden} more rows; the report lists all"], GREY)] if hidden > 0 else []
        return _stacked([*bands, *_problems(inspection)])

    def save(self, path: str | Path, inspection: Inspection) -> None:
        """Write the picture as PNG, whole or not at all."""
        write_picture(path, Picture(self.picture(inspection).numpy()))

    def _rows(self, inspection: Inspection, scale: _Scale):
        for name, one in inspection.objects.items():
            heading, normal = _text([_fitted(_object(name, one), WIDTH - 2 * NAME, HEADING)], font=HEADING), _band(TILE)
            _count(normal, "normal", sum(one.normal.values()), scale)
            yield heading, self._with_examples(normal, (name, NORMAL))
            for type, masks in one.types.items():
                band = _band(TILE)
                _count(band, type, masks.images, scale)
                _areas(band, masks, scale)
                yield (self._with_examples(band, (name, type)),)

    def _with_examples(self, band: Image.Image, kind: tuple[str, str]) -> Image.Image:
        for place, (_, tile) in enumerate(self._kept.get(kind, [])):
            band.paste(tile, (PICTURES + place * (TILE + GAP), 0))
        return band


class _Scale:
    """Where an area and a count lie, the same for all rows; areas by doublings."""

    def __init__(self, inspection: Inspection):
        kinds = [masks for one in inspection.objects.values() for masks in one.types.values()]
        areas = [area for masks in kinds for area in masks.area]
        normal = [sum(one.normal.values()) for one in inspection.objects.values()]
        self.most = max([*(masks.images for masks in kinds), *normal, 1])
        self.first = int(min(areas, default=1)).bit_length() - 1
        self.last = max(int(max(areas, default=1)).bit_length(), self.first + 1)

    def x(self, area: float) -> float:
        """Pixels from the left."""
        return AREA + AREA_WIDTH * (float(np.log2(area)) - self.first) / (self.last - self.first)


def _tile(picture: Picture, mask: Tensor | None) -> Image.Image:
    if mask is None:
        step = max(1, min(picture.size) // (2 * TILE))  # what a tile cannot show need not become floats
        small = Picture(picture.pixels[::step, ::step])
        return Image.fromarray(outlined(small.image().permute(1, 2, 0), None, TILE))
    return Image.fromarray(outlined(*close_up(picture, mask, TILE), TILE))


def _headings(inspection: Inspection) -> Image.Image:
    defective = sum(one.defective for one in inspection.objects.values())
    lines = [
        f"{Path(inspection.root).name}: {inspection.layout} layout, {inspection.images} images, {defective} with a "
        f"defect",
        f"groups: {inspection.groups}",
        *inspection.notes,
    ]
    return _text([_fitted(line, WIDTH - 2 * NAME) for line in lines])


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


def _object(name: str, one: Inspected) -> str:
    sizes = dict.fromkeys(f"{size[1]} x {size[0]}" for size in (one.smallest, one.largest) if size)
    parts = [f"{sum(one.normal.values())} normal", f"{one.defective} with a defect"]
    parts += [" to ".join(sizes) + " px"] if sizes else []
    return f"{name}: " + ", ".join([*parts, *one.formats])


def _count(band: Image.Image, words: str, count: int, scale: _Scale) -> None:
    draw, middle = ImageDraw.Draw(band), TILE // 2
    draw.text((NAME, middle), _fitted(words, COUNT - NAME - 8), BLACK, font=BODY, anchor="lm")
    draw.rectangle((COUNT, middle - 9, COUNT + round(BAR_WIDTH * count / scale.most), middle + 9), BLUE)
    draw.text((COUNT + BAR_WIDTH + 8, middle), f"{count:,}", BLACK, font=BODY, anchor="lm")


def _areas(band: Image.Image, masks: Masks, scale: _Scale) -> None:
    """A bar per doubling of the area; the tallest of every type is of one height."""
    draw, floor, tallest = ImageDraw.Draw(band), TILE - 34, TILE - 44
    for area in MARKS:
        if 2**scale.first < area < 2**scale.last:
            draw.line((scale.x(area), 4, scale.x(area), floor), LIGHT, 2)
    for doubling, count in enumerate(masks.doublings):
        if count:
            height = max(round(tallest * count / max(masks.doublings)), 1)
            left, right = scale.x(2**doubling), scale.x(2 ** (doubling + 1))
            draw.rectangle((left + 1, floor - height, right - 1, floor), BLUE)
    draw.line((AREA, floor, AREA + AREA_WIDTH, floor), GREY)
    words = "no mask could be read"
    if masks.area:
        least, _, median, _, most = masks.area
        words = f"{least:,.0f} to {most:,.0f}, median {median:,.0f}"
    draw.text((AREA, floor + 6), _fitted(words, AREA_WIDTH + 20), BLACK, font=BODY)


def _problems(inspection: Inspection) -> list[Image.Image]:
    """Those to be mended in red, then hints."""
    mend, look = ([p for p in inspection.problems if p.unusable == unusable] for unusable in (True, False))
    bands, left = [], PROBLEMS
    for title, found, colour in (("to be mended before it can be used", mend, RED), ("worth a look", look, BLACK)):
        shown = [_fitted(f"{problem.file}: {problem.what}", WIDTH - 2 * NAME - 20) for problem in found[:left]]
        more = [f"and {len(found) - len(shown)} more"] if len(found) > len(shown) else []
        if found:
            bands += [_text([f"{len(found)} {title}"], colour, HEADING), _text([*shown, *more], colour)]
        left -= len(shown)
    return bands or [_text(["no problems"], GREY)]


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


def _stacked(bands: Sequence[Image.Image]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.asarray(band) for band in [_band(4), *bands]]))
