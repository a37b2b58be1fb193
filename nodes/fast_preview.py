"""The live preview of FAST's training: real defects that were held out, and what FARM makes in their masks."""

from __future__ import annotations

from collections.abc import Callable

import latent_preview
import torch
from PIL import Image
from torch import Tensor

from ..modules.fast import FastModules
from ..training.defects import Defects
from ..training.farm_alone import made_by_farm
from ..training.frozen import Frozen, Latents

COUNT, TILE, GAP = 4, 128, 4  # pairs at most, and px of each

Preview = tuple[str, Image.Image, int]  # as the host's progress bar takes it


def previewer(base: Frozen, defects: Defects, latent_format) -> Callable[[FastModules], Preview | None]:
    """preview(modules): a row of real defects over a row of what FARM makes in the same places; None for a model whose
    latents the host knows no colours of.

    Held-out defects, one per type, where there are any; else those that train.
    """
    if latent_format.latent_rgb_factors is None:
        return lambda modules: None
    shown = _one_per_type(defects.held_out if len(defects.held_out) else defects.fitting)

    def preview(modules: FastModules) -> Preview:
        made = made_by_farm(base, modules, shown).cpu()
        sheet = Image.new("RGB", (len(shown) * (TILE + GAP) - GAP, 2 * TILE + GAP), "white")
        for row, latents in enumerate((shown.x0, made)):
            for column, latent in enumerate(latents):
                tile = _coloured(latent_format, latent[None]).resize((TILE, TILE), Image.Resampling.BICUBIC)
                sheet.paste(tile, (column * (TILE + GAP), row * (TILE + GAP)))
        return "JPEG", sheet, max(sheet.size)

    return preview


def _coloured(latent_format, latent: Tensor) -> Image.Image:
    """A latent [1, C, h, w] in the host's coarse colours; its own class for this differs between versions."""
    reshape = getattr(latent_format, "latent_rgb_factors_reshape", None)
    latent = (reshape(latent) if reshape else latent)[0].movedim(0, -1)
    bias = getattr(latent_format, "latent_rgb_factors_bias", None)
    colours = latent @ torch.tensor(latent_format.latent_rgb_factors).to(latent)
    return latent_preview.preview_to_image(colours if bias is None else colours + torch.tensor(bias).to(latent))


def _one_per_type(latents: Latents) -> Latents:
    """The first of every type that has one, COUNT at most, spread over the types."""
    rows = latents.row.unique()
    rows = rows[torch.linspace(0, len(rows) - 1, min(COUNT, len(rows))).long()]
    first = [int((latents.row == row).nonzero()[0, 0]) for row in rows]
    return latents.take(torch.tensor(first))
