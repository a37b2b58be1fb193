"""Train FAST Adapter and Train STAGE Adapter: a MODEL and its VAE, the training part of a dataset, an adapter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor, nn

from ..choices import HEADS
from ..errors import Refused
from ..modules.adapter_file import Adapter
from ..modules.adapter_modules import tokens_of
from ..modules.mga import SMALL
from ..modules.tokens import AnomalyTokens
from ..samplers.mask_schedule import MaskSchedule
from ..samplers.schedule import TIMESTEPS
from ..training.adapter import train_adapter
from ..training.defects import Defects, read_defects, types_of
from ..training.fast import FastTraining
from ..training.frozen import Latents
from ..training.settings import AdapterTraining
from ..training.stage import StageTraining
from . import sockets
from .adapters import LoadedAdapter, check_fit, fit_of, loaded
from .conditioning import Conditioning
from .frozen_model import base_tokens, frozen_model
from .latents import check_axes, check_channels
from .progress import passes
from .sockets import CATEGORY, DATA_SEED, widget
from .split_dataset import Dataset, temporary
from .training_record import curve_picture, in_words, previewer


class TrainFASTAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_TrainFASTAdapter",
            display_name="Train FAST Adapter",
            category=f"{CATEGORY}/training",
            description=(
                "Teaches a model your defects (FAST): a few anomaly tokens per type, and FARM, which rebuilds the "
                "anomaly from noise. The model itself stays as it is. A training that was cancelled goes on where it "
                "was, as long as ComfyUI is not restarted."
            ),
            inputs=[*_inputs(FastTraining), *_optional_widgets()],
            outputs=_outputs("For Save FAST Adapter, Apply FARM and Anomaly Tokens."),
        )

    @classmethod
    def execute(
        cls,
        model,
        vae,
        dataset,
        steps: int,
        batch: int,
        learning_rate: float,
        tokens: int,
        resolution: int,
        patience: int,
        seed: int,
        conditioning=None,
        checkpointing: str = "auto",
        look_every: int = 100,
    ) -> io.NodeOutput:
        settings = FastTraining(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            tokens=tokens,
            patience=patience,
            seed=seed,
            checkpointing=checkpointing,
            evaluate_every=look_every,
        )
        adapter = train(model, vae, dataset, settings, resolution, conditioning)
        return io.NodeOutput(adapter, in_words(adapter), curve_picture(adapter))


class TrainSTAGEAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_TrainSTAGEAdapter",
            display_name="Train STAGE Adapter",
            category=f"{CATEGORY}/training",
            description=(
                "Teaches a model your defects (STAGE): a few anomaly tokens per type, and two MGA heads, which correct "
                "the model's noise where the mask is. The model itself stays as it is. A training that was cancelled "
                "goes on where it was, as long as ComfyUI is not restarted."
            ),
            inputs=[
                *_inputs(StageTraining),
                sockets.Adapter.Input(
                    "tokens_of",
                    optional=True,
                    tooltip="An adapter of the same model, FAST's usually, whose tokens are kept (the widget tokens is "
                    "not read then): only the heads train, which is much quicker, as the model is asked once per draw "
                    "and not at every step, and both adapters serve together. Open: new tokens.",
                ),
                sockets.MaskSchedule.Input(
                    "mask_schedule",
                    optional=True,
                    tooltip="How the anomaly-aware head's mask closes as the noise falls: connect the "
                    "EMA Mask Schedule that you will sample with. Open: the paper's, linear, closed at t = 200.",
                ),
                *_optional_widgets(),
                widget(
                    StageTraining, "normalise", optional=True, label_on="over the mask", label_off="over all (paper)"
                ),
                io.Combo.Input(
                    "heads",
                    options=list(HEADS),
                    default="paper",
                    optional=True,
                    tooltip="Size of the MGA heads. paper (default): 2.7 M parameters each. small: 0.2 M, for a tenth "
                    "of the time, which is enough beside a compact base.",
                ),
            ],
            outputs=_outputs("For Save STAGE Adapter, Apply MGA and Anomaly Tokens."),
        )

    @classmethod
    def execute(
        cls,
        model,
        vae,
        dataset,
        steps: int,
        batch: int,
        learning_rate: float,
        tokens: int,
        resolution: int,
        patience: int,
        seed: int,
        conditioning=None,
        tokens_of=None,
        mask_schedule=None,
        checkpointing: str = "auto",
        look_every: int = 100,
        normalise: bool = True,
        heads: str = "paper",
    ) -> io.NodeOutput:
        settings = StageTraining(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            tokens=tokens,
            patience=patience,
            seed=seed,
            checkpointing=checkpointing,
            evaluate_every=look_every,
            normalise=normalise,
            **mask_settings(mask_schedule),
            **head_settings(heads),
        )
        adapter = train(model, vae, dataset, settings, resolution, conditioning, tokens_of)
        return io.NodeOutput(adapter, in_words(adapter), curve_picture(adapter))


def _inputs(method: type[AdapterTraining]) -> list[io.Input]:
    """What every training asks for."""
    return [
        io.Model.Input(
            "model",
            tooltip="What will make the anomalies: eps, v or flow; a compact base or a checkpoint. "
            "It must fit the device's memory as a whole.",
        ),
        io.Vae.Input("vae", tooltip="The model's own VAE."),
        sockets.Dataset.Input(
            "dataset",
            tooltip="From Split Defect Dataset; only the defects of its training part are read, "
            "and about a fifth of their groups is held out to choose the best weights.",
        ),
        widget(method, "steps", max=1_000_000),
        widget(method, "batch", max=256),
        widget(method, "learning_rate", min=1e-7, max=1.0, step=1e-6, round=False),
        widget(method, "tokens", max=64),
        io.Int.Input(
            "resolution",
            default=128,
            min=32,
            max=2048,
            step=8,
            tooltip="Side of the training crops in pixels. For a compact base connect Load Anomaly LDM's resolution "
            "(128, the default); 512 for SD 1.5, 1024 for SDXL and Flux. Crop to Mask wants the same.",
        ),
        widget(method, "patience", more="See look_every.", max=1000),
        widget(method, "seed", **DATA_SEED),
        io.Conditioning.Input(
            "conditioning",
            optional=True,
            tooltip="For checkpoints: Anomaly Conditioning's positive with CLIP, one line for all types, or one per "
            "type in sorted order of object and type. A compact base brings its own.",
        ),
    ]


def _optional_widgets() -> list[io.Input]:
    return [
        widget(AdapterTraining, "checkpointing", optional=True),
        widget(
            AdapterTraining,
            "evaluate_every",
            "look_every",
            more="Each gives a point of the curve and a new preview.",
            max=100_000,
            optional=True,
        ),
    ]


def _outputs(use: str) -> list[io.Output]:
    return [
        sockets.Adapter.Output("adapter", display_name="adapter", tooltip=use),
        io.String.Output(
            "record",
            display_name="record",
            tooltip="Types, steps, images, seconds, and the error on held-out defects, in words.",
        ),
        io.Image.Output(
            "curve",
            display_name="curve",
            tooltip="The loss, and the error on held-out defects per type, over the training.",
        ),
    ]


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
        Refused: no defect in the training part, a conditioning or a VAE that is not the model's, a resolution that
            the VAE cannot take, an adapter of another model or without one of the types, too little memory, a loss that
            is no longer finite.
    """
    try:
        if keep:
            check_fit(keep, model)
            tokens_of(keep.adapter, types_of(dataset.train))  # a type that it lacks is better known now
        with passes():
            defects = read_defects(
                dataset.train,
                dataset.split.groups,
                _encoder(model, vae, resolution),
                resolution,
                settings.seed,
                settings.steps * settings.batch,
                comfy.model_management.throw_exception_if_processing_interrupted,
            )
        # The host runs its nodes in inference mode, in which nothing can be trained.
        with torch.inference_mode(False), torch.enable_grad():
            adapter = _train(model, _copied(defects), settings, dataset.split.digest, resolution, conditioning, keep)
    except comfy.model_management.OOM_EXCEPTION as error:
        raise Refused(
            "device",
            f"too little memory for a batch of {settings.batch} at {resolution} px with gradients",
            remedy="lower batch or resolution, switch checkpointing on, or train on a smaller model",
        ) from error
    return loaded("trained here", adapter)


def mask_settings(schedule: MaskSchedule | None) -> dict:
    """The settings of `StageTraining` for a schedule; none is the paper's. Raises Refused for one of another T."""
    if schedule is None:
        return {}
    if schedule.timesteps != TIMESTEPS:
        raise Refused(
            "mask_schedule",
            f"made for {schedule.timesteps} levels",
            f"a schedule of {TIMESTEPS}, since heads read levels from 0 to {TIMESTEPS - 1} of every model",
            f"connect a schedule of {TIMESTEPS}",
        )
    return {"t_s": schedule.t_s, "shape": schedule.shape}


def head_settings(heads: str) -> dict:
    """The settings of `StageTraining` for heads of a size: "paper", which is its own, or "small"."""
    return {"widths": SMALL} if heads == "small" else {}


def _train(
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


def _encoder(model, vae, resolution: int) -> Callable[[Tensor], Tensor]:
    """Crops to latents in the model's own scale."""
    ratio = vae.spacial_compression_encode()
    if resolution % ratio:
        raise Refused(
            "resolution",
            resolution,
            f"a multiple of {ratio}, by which this VAE reduces",
            f"choose {max(1, round(resolution / ratio)) * ratio}",
        )

    def encode(image: Tensor) -> Tensor:
        latent = vae.encode(image.movedim(1, -1))
        check_axes(latent)
        check_channels(latent, model)
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


NODES = [TrainFASTAdapter, TrainSTAGEAdapter]
