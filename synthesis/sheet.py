"""A labelled contact sheet: normal, mask, result, difference x 4 of each pair, as the eye should see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..files.progress import tracked
from ..images.mask_files import read_mask
from ..images.pictures import Picture, read_picture, write_picture
from ..images.windows import Window, cut_mask, cut_picture

TILE, GAP, LABEL = 160, 4, 18
TITLES = ("normal", "mask", "result", "difference x 4")


def contact_sheet(root: str | Path, records: Sequence[dict], columns: int = 2) -> Image.Image:
    """The pairs of `records` (manifest lines of the folder `root`), `columns` pairs side by side.

    Every pair is shown by the window that its largest piece was made in, so that a 10-pixel defect of a large image
    is seen.
    """
    rows = -(-len(records) // columns)
    block = (len(TITLES) * (TILE + GAP) + 3 * GAP, TILE + LABEL + GAP)
    sheet = Image.new("RGB", (columns * block[0], rows * block[1] + LABEL), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column in range(columns):
        for place, title in enumerate(TITLES):
            draw.text((column * block[0] + place * (TILE + GAP) + GAP, 2), title, "black", font=font)
    for index, record in enumerate(tracked("drawing pairs", records)):
        left, top = index % columns * block[0] + GAP, index // columns * block[1] + LABEL
        for place, tile in enumerate(_tiles(Path(root), record)):
            sheet.paste(tile.resize((TILE, TILE), Image.Resampling.BICUBIC), (left + place * (TILE + GAP), top))
        draw.text((left, top + TILE + 2), _label(record), "black", font=font)
    return sheet


def save_sheet(path: str | Path, root: str | Path, records: Sequence[dict], columns: int = 2) -> None:
    """Write the contact sheet as PNG, whole or not at all."""
    write_picture(path, Picture(np.asarray(contact_sheet(root, records, columns))))


def _tiles(root: Path, record: dict) -> list[Image.Image]:
    window = Window(**{key: record["windows"][0][key] for key in ("top", "left", "side", "resolution")})
    normal, result = (cut_picture(read_picture(root / record[key]), window) for key in ("normal", "image"))
    mask = cut_mask(read_mask(root / record["mask"]), window).float().expand(3, -1, -1)
    difference = 0.5 + 4 * (result - normal)
    return [
        Image.fromarray((image.clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
        for image in (normal, mask, result, difference)
    ]


def _label(record: dict) -> str:
    shown = "" if record["visible"] else "  NOT VISIBLE"
    excess = "" if record.get("excess") is None else f"  excess {record['excess']:.2f}"
    return f"{record['object']}  {record['type']}  visibility {record['visibility']:.2f}{excess}{shown}"
