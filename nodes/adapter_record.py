"""The record of an adapter's training, in words and as curves."""

from __future__ import annotations

from torch import Tensor

from .adapters import LoadedAdapter
from .curves import picture

# What the error on held-out defects is, of every method.
LEFT = {
    "fast": "FARM leaves {:.0%} of the defects' power unexplained",
    "stage": "both heads' noise has {:.0%} of the error of the model alone",
}
ERRORS = {
    "fast": "The error is FARM's, squared, inside the masks, over the defects' own; 1 is what an empty answer gets.",
    "stage": "The error is that of both heads' noise inside the masks, over the model's own; 1 is no adapter.",
}


def told(adapter: LoadedAdapter) -> str:
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
    return picture(panels, [ERRORS[adapter.adapter.method]])[None]


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
