"""What a network says of a whole image, at native scale, in tiles that fade into each other."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn

from ...errors import Refused

TILE, OVERLAP = 512, 64  # pixels


@torch.inference_mode()
def predict(network: nn.Module, image: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
    """The probability of anomaly of every pixel.

    Args:
        network: in evaluation mode; the scores are computed on its device and returned on the image's.
        image: [3, H, W] in 0 .. 1. Axes longer than `tile` are cut into tiles of that length that overlap by at least
            `overlap` pixels, over which one fades into the next.

    Returns:
        [H, W] float32 in 0 .. 1.

    Raises:
        Refused: an overlap as long as a tile.
    """
    if not 0 <= overlap < tile:
        raise Refused("overlap", f"{overlap} px for tiles of {tile} px", "0 or more, and less than a tile")
    device, (height, width) = next(network.parameters()).device, image.shape[1:]
    rows, columns = _tiles(height, tile, overlap), _tiles(width, tile, overlap)
    total, weights = image.new_zeros(2, height, width)
    for top, row_weight in rows:
        for left, column_weight in columns:
            here = slice(top, top + len(row_weight)), slice(left, left + len(column_weight))
            scores = network(image[(slice(None), *here)][None].to(device))[0, 0].float().sigmoid().to(image.device)
            weight = row_weight[:, None] * column_weight
            total[here] += scores * weight
            weights[here] += weight
    return (total / weights).clamp(max=1)  # rounding may leave a score just above it


def _tiles(length: int, tile: int, overlap: int) -> list[tuple[int, Tensor]]:
    """(start, weights [tile]) of evenly spaced tiles along an axis; weights rise over `overlap` where another joins."""
    tile = min(tile, length)
    count = 1 if tile == length else ceil((length - overlap) / (tile - overlap))
    starts = [round(index * (length - tile) / max(1, count - 1)) for index in range(count)]
    rise = (torch.arange(1, tile + 1) / (overlap + 1)).clamp(max=1)
    whole = torch.ones(tile)
    # The image's own border is no seam: there a tile knows as much as the whole image would.
    return [
        (start, (rise if start else whole) * (rise.flip(0) if start + tile < length else whole)) for start in starts
    ]
