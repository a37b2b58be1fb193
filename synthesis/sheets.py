"""Sheets of pairs: all of a run side by side, and the worst close up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import Refused
from ..files.progress import tracked
from ..images.drawing import blocks, close_up, labelled_row, tiled
from ..images.mask_files import read_mask
from ..images.pictures import Picture, read_picture, write_picture
from ..images.windows import Window, cut_mask, cut_picture
from .worst import Worst, value, words

TITLES = ("normal", "mask", "result", "difference x 4")
CLOSE_UP, FONT = 224, 18  # px of a worst pair's images, and of its scores


def contact_sheet(root: str | Path, records: Sequence[dict], columns: int = 2) -> Image.Image:
    """The pairs of `records` (manifest lines of the folder `root`), `columns` pairs side by side.

    Every pair is shown by the window that its largest piece was made in, so that a 10-pixel defect of a large image
    is seen.
    """
    rows = ((_tiles(Path(root), record), _label(record)) for record in tracked("drawing pairs", records))
    return blocks(TITLES, rows, len(records), columns)


def save_sheet(path: str | Path, root: str | Path, records: Sequence[dict], columns: int = 2) -> None:
    """Write the contact sheet as PNG, whole or not at all."""
    write_picture(path, Picture(np.asarray(contact_sheet(root, records, columns))))


def worst_sheet(worst: Worst) -> Tensor:
    """Every pair close up as normal, result, result with the mask's outline, and its scores: uint8 [H, W, 3].

    Raises Refused or OSError, which name the file, where one can no longer be read.
    """
    rows = [_close_up(worst, line) for line in tracked("drawing pairs", worst.pairs)]
    return tiled(rows, 1 if len(rows) < 4 else 2)


def save_worst_sheet(path: str | Path, worst: Worst) -> None:
    """Write `worst_sheet` as PNG, whole or not at all."""
    write_picture(path, Picture(worst_sheet(worst).numpy()))


def _tiles(root: Path, record: dict) -> list[np.ndarray]:
    window = Window(**{key: record["windows"][0][key] for key in ("top", "left", "side", "resolution")})
    normal, result = (cut_picture(read_picture(root / record[key]), window) for key in ("normal", "image"))
    mask = cut_mask(read_mask(root / record["mask"]), window).float().expand(3, -1, -1)
    difference = 0.5 + 4 * (result - normal)
    return [
        (image.clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        for image in (normal, mask, result, difference)
    ]


def _label(record: dict) -> str:
    shown = "" if record["visible"] else "  NOT VISIBLE"
    excess = "" if record.get("excess") is None else f"  excess {record['excess']:.2f}"
    return f"{record['object']}  {record['type']}  visibility {record['visibility']:.2f}{excess}{shown}"


def _close_up(worst: Worst, line: dict[str, Any]) -> Tensor:
    mask = read_mask(worst.root / line["mask"])
    normal, result = (read_picture(worst.root / line[key]) for key in ("normal", "image"))
    for picture, key in ((normal, "normal"), (result, "image")):
        if picture.size != tuple(mask.shape):
            raise Refused(
                worst.root / line[key],
                f"{picture.size[0]} x {picture.size[1]}, the mask {mask.shape[0]} x {mask.shape[1]} (height x width)",
                remedy="remove this pair",
            )
    (normal, shown), (result, _) = (close_up(picture, mask, CLOSE_UP) for picture in (normal, result))
    return labelled_row([(normal, None), (result, None), (result, shown)], _scores(worst, line), CLOSE_UP, FONT)


def _scores(worst: Worst, line: dict[str, Any]) -> str:
    others = [score for score in worst.scores if score != worst.by]
    flag = "" if line["visible"] in (True, None) else "  NOT VISIBLE"
    values = ", ".join(f"{words(score)} {value(line, score)}" for score in others)
    name = f"{line['index']}  {line['object']} / {line['type']}"
    return f"{name}, {words(worst.by)} {value(line, worst.by)}{flag}\n{values}".rstrip()
