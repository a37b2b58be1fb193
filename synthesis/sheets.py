"""Pictures of pairs for the eye: contact sheets, a pair with its mask's outline, and a defect close up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..files.progress import tracked
from ..images.mask_files import read_mask
from ..images.masks import mask_box
from ..images.pictures import Picture, read_picture, write_picture
from ..images.windows import Window, context_side, cut_mask, cut_picture, place_window

TILE, GAP, LABEL = 160, 4, 18
TITLES = ("normal", "mask", "result", "difference x 4")
LONGEST = 512
OUTLINE = (0, 255, 170)  # no surface has it


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

    Returns:
        [h, w, 3] in 0 .. 1.
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
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255)


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
