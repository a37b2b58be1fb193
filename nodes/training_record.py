"""What one sees of an adapter's training: a live preview of held-out defects, and the record in words and as curves."""

from __future__ import annotations

from collections.abc import Callable

import latent_preview
import torch
from PIL import Image
from torch import Tensor

from ..images.drawing import curves, named_rows
from ..modules.fast import FastModules
from ..modules.stage import StageModules
from ..samplers.mask_schedule import MaskSchedule
from ..training.defects import Defects
from ..training.frozen import Frozen, Latents
from ..training.previews import branch_estimates, made_by_farm
from ..training.settings import AdapterTraining
from .adapters import LoadedAdapter

COUNT, TILE = 4, 128  # pairs at most, and px of each
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
        images = {
            name: [_coloured(latent_format, latent[None]) for latent in latents.cpu()] for name, latents in rows.items()
        }
        sheet = named_rows(images, TILE)
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


# What the error on held-out defects is, of every method.
LEFT = {
    "fast": "FARM leaves {:.0%} of the defects' power unexplained",
    "stage": "both heads' noise has {:.0%} of the error of the model alone",
}

ERRORS = {
    "fast": "The error is FARM's, squared, inside the masks, over the defects' own; 1 is what an empty answer gets.",
    "stage": "The error is that of both heads' noise inside the masks, over the model's own; 1 is no adapter.",
}


def in_words(adapter: LoadedAdapter) -> str:
    """The record in words."""
    notes, method = adapter.adapter.training, adapter.adapter.method
    curve = [(step, sum(errors.values()) / len(errors)) for step, errors in notes["curve"]]
    steps = curve[-1][0] if curve else notes["settings"]["steps"]
    best = min(curve, key=lambda point: point[1], default=None)
    kept = (
        f"Kept are the weights of step {best[0]}: inside the masks of {notes['held_out_images']} held-out images "
        f"{LEFT[method].format(best[1])}; at the end it was {curve[-1][1]:.0%}."
        if best
        else "Kept are the last weights: the training part has too few groups with defects to hold one out."
    )
    types = ", ".join(" / ".join(type) for type in notes["types"])
    memory, spared = notes["memory"]["bytes"] / 1e9, notes["memory"]["checkpointing"]
    return (
        f"{types}: {steps} steps on {notes['training_images']} images in {notes['seconds']:.0f} s; a step keeps about "
        f"{memory:.2f} GB for its gradients{', with checkpointing' if spared else ''}. {kept}{_of_tokens(adapter)}"
    )


def curve_picture(adapter: LoadedAdapter) -> Tensor:
    """[1, h, w, 3] in 0 .. 1: the loss, and the error on held-out defects per type, over the training."""
    notes = adapter.adapter.training
    names = dict.fromkeys(name for _, errors in notes["curve"] for name in errors)
    held_out = {name: [(step, errors[name]) for step, errors in notes["curve"] if name in errors] for name in names}
    panels = {"loss in training": {"mean since the last look": notes["losses"]}, "error on held-out defects": held_out}
    return curves(panels, [ERRORS[adapter.adapter.method]])[None]


def _of_tokens(adapter: LoadedAdapter) -> str:
    """Whose tokens were kept, and what follows where those know other images."""
    kept = adapter.adapter.training["tokens"]
    if kept is None:
        return ""
    warning = (
        ""
        if adapter.adapter.split
        else " Warning: they were trained under another split, and may know images that this one holds back; the "
        "adapter therefore names no split, and the command line refuses it where figures depend on that."
    )
    return f" The tokens are those of {kept}.{warning}"
