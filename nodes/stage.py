"""Apply MGA, for the graded samplers, and Anomaly Inference (STAGE, Eq. 1-6), for samplers that know nothing of it."""

from __future__ import annotations

from collections.abc import Callable

import comfy.utils
import torch
from comfy.model_patcher import create_model_options_clone
from comfy_api.latest import io
from torch import Tensor

from ..errors import Refused
from ..modules.mga import MGA
from ..samplers.graded import Change
from . import sockets
from .adapters import LoadedAdapter, check_fit, check_method
from .latents import check_channels, pooled_mask
from .sockets import CATEGORY

MGA_KEY = "sias_stage"  # of the additional models
WRAPPER = "model_function_wrapper"  # the host's name of its one hook around the model


class ApplyMGA(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_ApplyMGA",
            display_name="Apply MGA",
            category=f"{CATEGORY}/training",
            description=(
                "Lets STAGE's trained MGA heads guide the model by the mask while the graded diffusion nodes sample. "
                "It only attaches: all other samplers do as before. Use it together with Anomaly Tokens."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that the adapter was trained on; it is not changed, a copy with MGA comes out.",
                ),
                sockets.Adapter.Input("adapter", tooltip="From Train STAGE Adapter or Load STAGE Adapter."),
            ],
            outputs=[
                io.Model.Output(
                    "patched", display_name="model", tooltip="The model with MGA, for the graded diffusion nodes."
                )
            ],
        )

    @classmethod
    def execute(cls, model, adapter) -> io.NodeOutput:
        return io.NodeOutput(apply_mga(model, adapter))


class AnomalyInference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_AnomalyInference",
            display_name="Anomaly Inference",
            category=f"{CATEGORY}/sampling",
            description=(
                "STAGE's anomaly inference for any sampler: at every step the model's estimate is kept inside the mask "
                "and replaced by the normal image outside it, so that the defect grows into its surroundings. Give the "
                "sampler a latent without mask (VAE Encode): where it has one, ComfyUI's samplers and the AIAS nodes "
                "replace the background by themselves, and this adds nothing."
            ),
            inputs=[
                io.Model.Input("model", tooltip="Any model; it is not changed, a patched copy comes out."),
                io.Latent.Input(
                    "latent",
                    tooltip="From Defect Latent: normal image and mask. The sampler gets the "
                    "same image from VAE Encode.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 (default): wholly the normal image outside the mask. 0: no effect.",
                ),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with anomaly inference.")],
        )

    @classmethod
    def execute(cls, model, latent, strength: float) -> io.NodeOutput:
        return io.NodeOutput(anomaly_inference(model, latent, strength))


def apply_mga(model, adapter: LoadedAdapter):
    """A clone of the MODEL that the graded samplers run with the adapter's heads; the host loads and offloads them.

    Raises:
        Refused: an adapter of another method, or of another model.
    """
    check_method(adapter.adapter, "stage")
    check_fit(adapter, model)
    clone = model.clone()
    clone.set_additional_models(MGA_KEY, [adapter.patcher.clone()])
    return clone


def heads_of(patcher) -> tuple[MGA, MGA] | None:
    """The heads (aware, only) that Apply MGA left on a MODEL; None without."""
    found = patcher and patcher.get_additional_models_with_key(MGA_KEY)
    return found[0].model.branches if found else None


def headed(model_wrap) -> Callable[[Change], Callable[..., Tensor]]:
    """The `headed` of `sample_graded` for the host's guider: what the model answers to every conditioning, the
    unconditional one too, passes the change before the guider mixes them."""

    def with_change(change: Change) -> Callable[..., Tensor]:
        def model(x: Tensor, sigma: Tensor, **extra_args) -> Tensor:
            options = create_model_options_clone(extra_args["model_options"])
            before = options.get(WRAPPER)

            def answer(apply_model: Callable[..., Tensor], args: dict) -> Tensor:
                _check_whole(args["input"], x)
                if before:
                    return change(args["input"], before(apply_model, args))
                return change(args["input"], apply_model(args["input"], args["timestep"], **args["c"]))

            options[WRAPPER] = answer
            return model_wrap(x, sigma, **extra_args | {"model_options": options})

        return model

    return with_change


def _check_whole(part: Tensor, x: Tensor) -> None:
    if part.shape[1:] != x.shape[1:]:
        raise Refused(
            "conditioning",
            f"for an area of {part.shape[-2]} x {part.shape[-1]} cells, and the heads read the whole latent of "
            f"{x.shape[-2]} x {x.shape[-1]}",
            remedy="remove Conditioning (Set Area), or use Conditioning (Set Mask)",
        )


def anomaly_inference(model, latent: dict, strength: float):
    """A clone of `model` whose clean estimate is W x0hat + (1 - W) x_back, W the latent's mask.

    Args:
        latent: the normal image's latent with its mask, from Defect Latent.
        strength: 0 changes nothing, 1 replaces the estimate outside the mask wholly.

    Raises:
        Refused: a latent without a usable mask (see `pooled_mask`), without an image, or of another model.
    """
    samples = latent["samples"]
    mask = pooled_mask(latent)
    if mask is None:
        raise Refused("latent", "empty", remedy="connect Defect Latent, which knows image and mask")
    check_channels(samples, model)
    known = strength * (1 - mask)
    background = model.model.process_latent_in(samples)

    def composite(args: dict) -> Tensor:
        estimate = args["denoised"]
        if background.shape[2:] != estimate.shape[2:] or len(estimate) % len(background):
            raise Refused(
                "latent",
                f"{list(background.shape)}, the sampled one {list(estimate.shape)}",
                remedy="make both from the same images, and the same part of the batch",
                door="Anomaly Inference",
            )
        around, weight = (comfy.utils.repeat_to_batch_size(t, len(estimate)) for t in (background, known))
        return torch.lerp(estimate, around.to(estimate), weight.to(estimate))

    patched = model.clone()
    patched.set_model_sampler_post_cfg_function(composite)  # core keeps the functions that are there
    return patched


NODES = [ApplyMGA, AnomalyInference]
