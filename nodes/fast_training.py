"""FAST's training inside the host: a MODEL and its VAE, the training part of a dataset, an adapter."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import nan

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor, nn

from ..datasets.hold_out import hold_out
from ..datasets.mvtec import Sample
from ..modules.fast import to_adapter
from ..training.fast import FastTraining, train_fast
from ..training.fast_run import FITTING, HELD_OUT
from ..training.frozen import Latents
from ..training.frozen_compact import encoded_defects, types_of
from .conditioning import Conditioning
from .errors import named
from .fast_adapter import FastAdapter, fast_adapter, fit_of
from .frozen_model import NODE, base_tokens, frozen_model
from .latents import check_axes, check_channels
from .split_dataset import Dataset, temporary
from .tables import Table, picture

ROWS = 20  # of the curve's table

Curve = Sequence[tuple[int, Mapping[str, float]]]


def train(
    model, vae, dataset: Dataset, settings: FastTraining, resolution: int, conditioning: Conditioning | None
) -> FastAdapter:  # fmt: skip
    """Train on the dataset's training part; `adapter.training` of the result is the record.

    A training that was cancelled goes on where it was, at most a minute back, when the same is asked for again.

    Raises:
        ValueError: no defect in the training part, a conditioning or a VAE that is not the model's, a resolution that
            the VAE cannot take, too little memory, a loss that is no longer finite.
    """
    started = time.monotonic()
    try:
        with named(NODE):
            types = types_of(dataset.train)
            parts = _parts(dataset, types, settings.seed)
            latents = [_latents(model, vae, part, types, count, settings.seed, resolution)
                       for part, count in zip(parts, _counts(settings), strict=True)]  # fmt: skip
            # The host runs its nodes in inference mode, in which nothing can be trained.
            with torch.inference_mode(False), torch.enable_grad():
                trained, curve, fit = _trained(model, types, *map(_copied, latents), settings, conditioning)
    except comfy.model_management.OOM_EXCEPTION as error:
        raise ValueError(
            f"{NODE}: the device has too little memory for a batch of {settings.batch} at {resolution} px with "
            "gradients; lower batch or resolution, or train on a smaller model."
        ) from error
    notes = {
        "settings": asdict(settings), "aware": getattr(model.model, "aware", False), "base": fit.digest,
        "split": dataset.split.digest, "types": types, "resolution": resolution,
        "training_images": len(parts[0]), "held_out_images": len(parts[1]), "curve": curve,
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    return fast_adapter(NODE, "trained here", to_adapter(trained.cpu(), fit, dataset.split.digest, notes))


def told(adapter: FastAdapter) -> str:
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
    return f"{types}: {steps} steps on {notes['training_images']} images in {notes['seconds']:.0f} s. {kept}"


def curve_picture(adapter: FastAdapter) -> Tensor:
    """[1, h, w, 3] in 0 .. 1: the error per type over the training, as a table."""
    curve = adapter.adapter.training["curve"]
    every = max(1, -(-len(curve) // ROWS))
    shown = [point for place, point in enumerate(curve) if (place + 1) % every == 0 or place + 1 == len(curve)]
    names = list(dict.fromkeys(name for _, errors in curve for name in errors))
    rows = [[str(step), *(f"{errors.get(name, nan):.3f}" for name in names)] for step, errors in shown]
    notes = ["FARM's squared error inside the masks of held-out defects, over the defects' own square; 1 is no use."]
    return picture(Table(["step", *names], rows, notes if curve else [told(adapter)]))[None]


def _trained(model, types, latents: Latents, held_out: Latents, settings: FastTraining, conditioning):
    """(modules, curve, what they fit)."""
    device, stop = model.load_device, comfy.model_management.throw_exception_if_processing_interrupted
    tokens, extras = base_tokens(model, types, conditioning)
    bar, shape = comfy.utils.ProgressBar(settings.steps), (settings.batch, *latents.x0.shape[1:])
    fit = fit_of(model, tokens.shape[-1])
    _check_width(tokens, fit.token_channels)
    with frozen_model(model, tokens, extras, shape) as frozen:
        run = _identity(settings, types, fit, latents, tokens, frozen.inner.diffusion_model)
        state = temporary() / f"fast-{run[:24]}.state"
        modules, curve = train_fast(
            frozen, types, latents, held_out, settings, state=state, run=run, device=device, check_interrupt=stop,
            report=lambda _, step, *__: bar.update_absolute(step),
        )  # fmt: skip
    state.unlink()
    return modules, curve, fit


def _parts(dataset: Dataset, types: Sequence[tuple[str, str]], seed: int) -> tuple[list[Sample], list[Sample]]:
    """(what trains, what the curve is measured on)."""
    if not types:
        raise ValueError(f"the training part's {len(dataset.train)} images show no defect; choose another split.")
    return hold_out([sample for sample in dataset.train if sample.mask is not None], dataset.split.groups, seed)


def _counts(settings: FastTraining) -> tuple[int, int]:
    """Crops to encode; no more than the steps will draw."""
    drawn = settings.steps * settings.batch
    return min(FITTING, drawn), min(HELD_OUT, drawn)


def _latents(model, vae, samples, types, count: int, seed: int, resolution: int) -> Latents:
    """Crops in the model's own scale, on the CPU."""
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

    stop = comfy.model_management.throw_exception_if_processing_interrupted
    return encoded_defects(encode, resolution, samples, types, count, seed, stop)


def _copied(latents: Latents) -> Latents:
    """Without the host's inference mode, in which they were made."""
    return Latents(latents.x0.clone(), latents.mask.clone(), latents.row.clone())


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
