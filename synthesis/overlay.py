"""A pair as the eye should check it: normal, result with the mask's outline, and its scores in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GAP, LONGEST = 4, 512
OUTLINE = (0, 255, 170)  # no surface has it


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
