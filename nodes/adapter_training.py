"""The training of adapters inside the host: a MODEL and its VAE, the training part of a dataset, an adapter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor, nn

from ..errors import Refused
from ..modules.adapter_file import Adapter
from ..modules.adapter_modules import tokens_of
from ..modules.mga import SMALL
from ..modules.tokens import AnomalyTokens
from ..samplers.mask_schedule import MaskSchedule
from ..samplers.schedule import TIMESTEPS
from ..training.adapter import train_adapter
from ..training.defects import Defects, read_defects, types_of
from ..training.frozen import Latents
from ..training.settings import AdapterTraining
from .adapter_preview import previewer
from .adapters import LoadedAdapter, check_fit, fit_of, loaded
from .conditioning import Conditioning
from .errors import named
from .frozen_model import base_tokens, frozen_model
from .latents import check_axes, check_channels
from .progress import passes
from .split_dataset import Dataset, temporary


def train(
    model,
    vae,
    dataset: Dataset,
    settings: AdapterTraining,
    resolution: int,
    conditioning: Conditioning | None,
    keep: LoadedAdapter | None = None,
) -> LoadedAdapter:
    """Train on the dataset's training part; `adapter.training` of the result is the record.

    A training that was cancelled goes on where it was, at most a minute back, when the same is asked for again.

    Args:
        settings: of the method that is wanted.
        keep: for STAGE, an adapter of this model whose tokens stay, so that only the heads train. Where it was trained
            under another split, the result names none: it may know what this one holds back.

    Raises:
        ValueError: no defect in the training part, a conditioning or a VAE that is not the model's, a resolution that
            the VAE cannot take, an adapter of another model or without one of the types, too little memory, a loss that
            is no longer finite.
    """
    node = f"Train {settings.method.upper()} Adapter"
    try:
        with named(node):
            if keep:
                check_fit(node, keep, model)
                tokens_of(keep.adapter, types_of(dataset.train))  # a type that it lacks is better known now
            with passes():
                defects = read_defects(
                    dataset.train,
                    dataset.split.groups,
                    _encoder(node, model, vae, resolution),
                    resolution,
                    settings.seed,
                    settings.steps * settings.batch,
                    comfy.model_management.throw_exception_if_processing_interrupted,
                )
            # The host runs its nodes in inference mode, in which nothing can be trained.
            with torch.inference_mode(False), torch.enable_grad():
                adapter = _trained(
                    model, _copied(defects), settings, dataset.split.digest, resolution, conditioning, keep
                )
    except comfy.model_management.OOM_EXCEPTION as error:
        raise Refused(
            "device",
            f"too little memory for a batch of {settings.batch} at {resolution} px with gradients",
            remedy="lower batch or resolution, switch checkpointing on, or train on a smaller model",
            door=node,
        ) from error
    return loaded(node, "trained here", adapter)


def told_mask(schedule: MaskSchedule | None) -> dict:
    """The settings of `StageTraining` for a schedule; none is the paper's. Raises ValueError for one of another T."""
    if schedule is None:
        return {}
    if schedule.timesteps != TIMESTEPS:
        raise Refused(
            "mask_schedule",
            f"made for {schedule.timesteps} levels",
            f"a schedule of {TIMESTEPS}, since heads read levels from 0 to {TIMESTEPS - 1} of every model",
            f"connect a schedule of {TIMESTEPS}",
            "Train STAGE Adapter",
        )
    return {"t_s": schedule.t_s, "shape": schedule.shape}


def sized(heads: str) -> dict:
    """The settings of `StageTraining` for heads of a size: "paper", which is its own, or "small"."""
    return {"widths": SMALL} if heads == "small" else {}


def _trained(
    model,
    defects: Defects,
    settings: AdapterTraining,
    split: str,
    resolution: int,
    conditioning,
    keep: LoadedAdapter | None,
) -> Adapter:
    tokens, extras = base_tokens(model, defects.types, conditioning)
    bar, shape = comfy.utils.ProgressBar(settings.steps), (settings.batch, *defects.fitting.x0.shape[1:])
    asked = {"aware": getattr(model.model, "aware", False), "resolution": resolution, "tokens": keep and keep.name}
    fit = fit_of(model, tokens.shape[-1])
    _check_width(tokens, fit.token_channels)
    kept = keep and tokens_of(keep.adapter, defects.types)
    options = {"tokens": kept, "denoising": bar.update_absolute} if keep else {}
    with frozen_model(model, tokens, extras, shape) as frozen:
        run = _identity(settings, defects, fit, tokens, kept, frozen.network)
        preview = previewer(frozen, defects, settings, model.get_model_object("latent_format"))
        state = temporary() / f"{settings.method}-{run[:24]}.state"
        adapter = train_adapter(
            frozen,
            defects,
            settings,
            fit,
            split if not keep or keep.adapter.split == split else "",
            asked,
            state=state,
            run=run,
            device=model.load_device,
            free=int(comfy.model_management.get_free_memory(model.load_device)),
            check_interrupt=comfy.model_management.throw_exception_if_processing_interrupted,
            report=lambda _, step, *__: bar.update_absolute(step, settings.steps),
            show=lambda step, modules: bar.update_absolute(step, settings.steps, preview(modules)),
            **options,
        )
    state.unlink()
    return adapter


def _encoder(node: str, model, vae, resolution: int) -> Callable[[Tensor], Tensor]:
    """Crops to latents in the model's own scale."""
    ratio = vae.spacial_compression_encode()
    if resolution % ratio:
        raise Refused(
            "resolution",
            resolution,
            f"a multiple of {ratio}, by which this VAE reduces",
            f"choose {max(1, round(resolution / ratio)) * ratio}",
            node,
        )

    def encode(image: Tensor) -> Tensor:
        latent = vae.encode(image.movedim(1, -1))
        check_axes(node, latent)
        check_channels(node, latent, model)
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
        raise Refused(
            "conditioning",
            f"tokens of {tokens.shape[-1]} channels, for another kind of model: this one reads {wanted}",
            remedy="encode the text with the CLIP of this checkpoint",
        )


def _identity(
    settings: AdapterTraining, defects: Defects, fit, tokens: Tensor, kept: AnomalyTokens | None, network: nn.Module
) -> str:
    """Names a run by all that it depends on; of the network a few values of every weight."""
    weights = torch.cat([weight.detach().flatten()[:16].float().cpu() for weight in network.parameters()])
    digest = hashlib.sha256(json.dumps([asdict(settings), list(defects.types), asdict(fit)]).encode())
    latents, rows = defects.fitting, [] if kept is None else [kept.rows.detach()]
    for tensor in (latents.x0, latents.mask, latents.row, tokens, weights, *rows):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
