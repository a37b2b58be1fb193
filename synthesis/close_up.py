"""A defect close up: the part of an image around a mask, so that ten pixels of a large image are seen."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..images.masks import mask_box
from ..images.pictures import Picture
from ..images.windows import Window, context_side, cut_mask, cut_picture, place_window


def close_up(picture: Picture, mask: Tensor, tile: int) -> tuple[Tensor, Tensor]:
    """The square around a mask with context: image [tile, tile, 3] in 0 .. 1 and mask bool [tile, tile].

    mask: bool [H, W] of the picture's size, not empty. `close_up_window` tells how much is shown.
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
