"""Anomaly inference (STAGE, Eq. 1-6) as a patch on a MODEL, for samplers that know nothing of it."""

from __future__ import annotations

import comfy.utils
import torch
from torch import Tensor

from ..errors import Refused
from .latents import check_channels, pooled_mask


def anomaly_inference(model, latent: dict, strength: float):
    """A clone of `model` whose clean estimate is W x0hat + (1 - W) x_back, W the latent's mask.

    Args:
        latent: the normal image's latent with its mask, from Defect Latent.
        strength: 0 changes nothing, 1 replaces the estimate outside the mask wholly.

    Raises:
        ValueError: a latent without a usable mask (see `pooled_mask`), without an image, or of another model.
    """
    samples = latent["samples"]
    mask = pooled_mask("Anomaly Inference", latent)
    if mask is None:
        raise Refused(
            "latent", "empty", remedy="connect Defect Latent, which knows image and mask", door="Anomaly Inference"
        )
    check_channels("Anomaly Inference", samples, model)
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
