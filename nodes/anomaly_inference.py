"""Anomaly inference (STAGE, Eq. 1-6) as a patch on a MODEL, for samplers that know nothing of it."""

from __future__ import annotations

import comfy.utils
import torch
from torch import Tensor

from .latents import pooled_mask


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
        raise ValueError("Anomaly Inference: the latent is empty; connect Defect Latent, which knows image and mask.")
    channels = model.get_model_object("latent_format").latent_channels
    if samples.shape[1] != channels:
        raise ValueError(
            f"Anomaly Inference: the latent has {samples.shape[1]} channels, the model {channels}; make the latent "
            "with this model's VAE."
        )
    known = strength * (1 - mask)

    def composite(args: dict) -> Tensor:
        estimate = args["denoised"]
        background = args["model"].process_latent_in(samples).to(estimate)
        if background.shape[2:] != estimate.shape[2:]:
            raise ValueError(
                f"Anomaly Inference: its latent is {tuple(background.shape[2:])}, the sampled one "
                f"{tuple(estimate.shape[2:])} (height, width); make both from the same image."
            )
        background, weight = (comfy.utils.repeat_to_batch_size(t, len(estimate)) for t in (background, known))
        return torch.lerp(estimate, background, weight.to(estimate))

    patched = model.clone()
    patched.set_model_sampler_post_cfg_function(composite)  # core keeps the functions that are there
    return patched
