"""A mask schedule as a picture: its curve, and a mask at some levels of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..samplers.mask_schedule import MaskSchedule
from .curves import GAP, SIZE, picture
from .images import mask_batch

TILE, SPACE, COLUMNS = 100, 6, 5  # px of a mask and between two, masks per row


def schedule_picture(node: str, schedule: MaskSchedule, mask: Tensor | None, levels: Sequence[float]) -> Tensor:
    """[1, h, w, 3] in 0 .. 1: zeta over t, and below it Mp of the first mask at every level, where there is a mask.

    Args:
        mask: MASK, see `images.mask_batch`.
        levels: in t of 0 .. 1000.

    Raises:
        ValueError: a mask of another shape, or not finite.
    """
    curve = [(t, schedule.zeta(t)) for t in range(schedule.timesteps + 1)]
    title = f"zeta(t): how far the mask is open ({schedule.shape}, t_s = {schedule.t_s:g})"
    sheet = picture({title: {"at pure noise": curve}})
    if mask is None:
        return sheet[None]
    shown = _row(_first(node, mask), schedule, levels, sheet.shape[1])
    return torch.cat([sheet, shown])[None]


def _first(node: str, mask: Tensor) -> Tensor:
    """The first mask of a batch, [H, W] in 0 .. 1 on the CPU."""
    return mask_batch(node, mask)[0].detach().float().cpu().clamp(0, 1)


def _row(mask: Tensor, schedule: MaskSchedule, levels: Sequence[float], width: int) -> Tensor:
    """Mp at the levels, COLUMNS beside each other, each with its t below: [h, width, 3]."""
    height = round(TILE * mask.shape[0] / max(mask.shape)) or 1
    size = height, round(TILE * mask.shape[1] / max(mask.shape)) or 1
    small = F.adaptive_max_pool2d(mask[None, None], size)[0, 0]  # a defect of one pixel stays
    step = height + 2 * SIZE
    sheet = Image.new("RGB", (width, step * -(-len(levels) // COLUMNS) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=SIZE)
    for place, t in enumerate(levels):
        row, column = divmod(place, COLUMNS)
        left, top = GAP + column * (TILE + SPACE), row * step
        tile = Image.fromarray((schedule(small, t) * 255).round().byte().numpy())
        sheet.paste(tile.convert("RGB"), (left, top))
        draw.rectangle((left - 1, top, left + size[1], top + height), outline="#888888")
        draw.text((left, top + height + 3), f"t = {t:g}", "black", font=font)
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255)
