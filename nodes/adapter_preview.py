"""The live preview of an adapter's training: real defects that were held out, over what has been learnt of them."""

from __future__ import annotations

from collections.abc import Callable

import latent_preview
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..samplers.mask_schedule import MaskSchedule
from ..training.branch_estimates import branch_estimates
from ..training.defects import Defects
from ..training.farm_alone import made_by_farm
from ..training.frozen import Frozen, Latents
from ..training.settings import AdapterTraining

COUNT, TILE, GAP = 4, 128, 4  # pairs at most, and px of each

Preview = tuple[str, Image.Image, int]  # as the host's progress bar takes it


def previewer(
    base: Frozen, defects: Defects, settings: AdapterTraining, latent_format
) -> Callable[[FastModules | StageModules], Preview | None]:
    """preview(modules): a row of real defects over rows of what was learnt; None for a model whose latents the host
    knows no colours of.

    Held-out defects, one per type, where there are any; else those that train. Of FAST one row: what FARM makes in the
    same places from pure noise. Of STAGE three: what the base alone finds in them under noise, and what the
    anomaly-aware and the anomaly-only branch find. Heads correct an estimate, so it is against the base's own that
    their part can be seen; sampling whole images would take a hundred times as long, and hide it in the draw.
    """
    if latent_format.latent_rgb_factors is None:
        return lambda modules: None
    shown = _one_per_type(defects.held_out if len(defects.held_out) else defects.fitting)

    def learnt(modules: FastModules | StageModules) -> dict[str, Tensor]:
        if isinstance(modules, StageModules):
            names = "base alone", "anomaly-aware", "anomaly-only"
            return dict(
                zip(
                    names,
                    branch_estimates(base, modules, shown, MaskSchedule(settings.t_s, shape=settings.shape)),
                    strict=True,
                )
            )
        return {"FARM": made_by_farm(base, modules, shown)}

    def preview(modules: FastModules | StageModules) -> Preview:
        rows = {"real": shown.x0} | learnt(modules)
        width, height = (count * (TILE + GAP) - GAP for count in (len(shown), len(rows)))
        sheet = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(sheet)
        for row, (name, latents) in enumerate(rows.items()):
            for column, latent in enumerate(latents.cpu()):
                tile = _coloured(latent_format, latent[None]).resize((TILE, TILE), Image.Resampling.BICUBIC)
                sheet.paste(tile, (column * (TILE + GAP), row * (TILE + GAP)))
            draw.text((4, row * (TILE + GAP) + 2), name, "white", stroke_width=2, stroke_fill="black")
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
