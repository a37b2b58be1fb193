"""FAST's training inside the host: a MODEL and its VAE, the training part of a dataset, an adapter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor, nn

from ..modules.adapter_file import Adapter
from ..training.defects import Defects, read_defects
from ..training.fast import FastTraining
from ..training.fast_adapter import train_adapter
from ..training.frozen import Latents
from .adapters import LoadedAdapter, fit_of, loaded
from .conditioning import Conditioning
from .curves import picture
from .errors import named
from .fast_preview import previewer
from .frozen_model import NODE, base_tokens, frozen_model
from .latents import check_axes, check_channels
from .split_dataset import Dataset, temporary


def train(
    model, vae, dataset: Dataset, settings: FastTraining, resolution: int, conditioning: Conditioning | None
) -> LoadedAdapter:  # fmt: skip
    """Train on the dataset's training part; `adapter.training` of the result is the record.

    A training that was cancelled goes on where it was, at most a minute back, when the same is asked for again.

    Raises:
        ValueError: no defect in the training part, a conditioning or a VAE that is not the model's, a resolution that
            the VAE cannot take, too little memory, a loss that is no longer finite.
    """
    try:
        with named(NODE):
            defects = read_defects(
                dataset.train, dataset.split.groups, _encoder(model, vae, resolution), resolution, settings.seed,
                settings.steps * settings.batch, comfy.model_management.throw_exception_if_processing_interrupted,
            )  # fmt: skip
            # The host runs its nodes in inference mode, in which nothing can be trained.
            with torch.inference_mode(False), torch.enable_grad():
                adapter = _trained(model, _copied(defects), settings, dataset.split.digest, resolution, conditioning)
    except comfy.model_management.OOM_EXCEPTION as error:
        raise ValueError(
            f"{NODE}: the device has too little memory for a batch of {settings.batch} at {resolution} px with "
            "gradients; lower batch or resolution, switch checkpointing on, or train on a smaller model."
        ) from error
    return loaded(NODE, "trained here", adapter)


def told(adapter: LoadedAdapter) -> str:
    """The record in words."""
    notes = adapter.adapter.training
    curve = [(step, sum(errors.values()) / len(errors)) for step, errors in notes["curve"]]
    steps = curve[-1][0] if curve else notes["settings"]["steps"]
    best = min(curve, key=lambda point: point[1], default=None)
    kept = (
        f"Kept are the weights of step {best[0]}: inside the masks of {notes['held_out_images']} held-out images FARM "
        f"leaves {best[1]:.0%} of the defects' power unexplained; at the end it was {curve[-1][1]:.0%}."
        if best
        else "Kept are the last weights: the training part has too few groups with defects to hold one out."
    )
    types = ", ".join(" / ".join(type) for type in notes["types"])
    memory, spared = notes["memory"]["bytes"] / 1e9, notes["memory"]["checkpointing"]
    return (
        f"{types}: {steps} steps on {notes['training_images']} images in {notes['seconds']:.0f} s; a step keeps about "
        f"{memory:.2f} GB for its gradients{', with checkpointing' if spared else ''}. {kept}"
    )


def curve_picture(adapter: LoadedAdapter) -> Tensor:
    """[1, h, w, 3] in 0 .. 1: the loss, and the error on held-out defects per type, over the training."""
    notes = adapter.adapter.training
    names = dict.fromkeys(name for _, errors in notes["curve"] for name in errors)
    held_out = {name: [(step, errors[name]) for step, errors in notes["curve"] if name in errors] for name in names}
    panels = {"loss in training": {"mean since the last look": notes["losses"]}, "error on held-out defects": held_out}
    told = "The error is FARM's, squared, inside the masks, over the defects' own; 1 is what an empty answer gets."
    return picture(panels, [told])[None]


def _trained(model, defects: Defects, settings: FastTraining, split: str, resolution: int, conditioning) -> Adapter:
    tokens, extras = base_tokens(model, defects.types, conditioning)
    bar, shape = comfy.utils.ProgressBar(settings.steps), (settings.batch, *defects.fitting.x0.shape[1:])
    asked = {"aware": getattr(model.model, "aware", False), "resolution": resolution}
    fit = fit_of(model, tokens.shape[-1])
    _check_width(tokens, fit.token_channels)
    with frozen_model(model, tokens, extras, shape) as frozen:
        run = _identity(settings, defects.types, fit, defects.fitting, tokens, frozen.network)
        preview = previewer(frozen, defects, model.get_model_object("latent_format"))
        state = temporary() / f"fast-{run[:24]}.state"
        adapter = train_adapter(
            frozen, defects, settings, fit, split, asked, state=state, run=run, device=model.load_device,
            free=int(comfy.model_management.get_free_memory(model.load_device)),
            check_interrupt=comfy.model_management.throw_exception_if_processing_interrupted,
            report=lambda _, step, *__: bar.update_absolute(step),
            show=lambda step, modules: bar.update_absolute(step, preview=preview(modules)),
        )  # fmt: skip
    state.unlink()
    return adapter


def _encoder(model, vae, resolution: int) -> Callable[[Tensor], Tensor]:
    """Crops to latents in the model's own scale."""
    ratio = vae.spacial_compression_encode()
    if resolution % ratio:
        raise ValueError(
            f"resolution {resolution} is no multiple of {ratio}, by which this VAE reduces; choose "
            f"{max(1, round(resolution / ratio)) * ratio}."
        )

    def encode(image: Tensor) -> Tensor:
        latent = vae.encode(image.movedim(1, -1))
        check_axes(NODE, latent)
        check_channels(NODE, latent, model)
        return model.model.process_latent_in(latent)

    return encode


def _copied(defects: Defects) -> Defects:
    """Without the host's inference mode, in which they were made."""
    fitting, held_out = (
        Latents(*(getattr(part, field.name).clone() for field in fields(part)))
        for part in (defects.fitting, defects.held_out)
    )
    return replace(defects, fitting=fitting, held_out=held_out)


def _check_width(tokens: Tensor, wanted: int) -> None:
    if tokens.shape[-1] != wanted:
        raise ValueError(
            f"conditioning has tokens of {tokens.shape[-1]} channels, and the model reads {wanted}: it was made for "
            "another kind of model. Encode the text with the CLIP of this checkpoint."
        )


def _identity(settings: FastTraining, types, fit, latents: Latents, tokens: Tensor, network: nn.Module) -> str:
    """Names a run by all that it depends on; of the network a few values of every weight."""
    weights = torch.cat([weight.detach().flatten()[:16].float().cpu() for weight in network.parameters()])
    digest = hashlib.sha256(json.dumps([asdict(settings), list(types), asdict(fit)]).encode())
    for tensor in (latents.x0, latents.mask, latents.row, tokens, weights):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
