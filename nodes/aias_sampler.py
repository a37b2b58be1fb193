"""AIAS as ComfyUI's samplers: the host's model, latent and mask given to `samplers.aias.sample_aias`."""

from __future__ import annotations

import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import latent_preview
import torch
from torch import Tensor

from ..samplers.aias import sample_aias
from ..samplers.grid import aias_grid, grid_sigmas
from ..samplers.noise import initial_noise
from ..samplers.presets import preset
from .latents import ItemSeeds, item_seeds, pooled_mask


class AIASSampler(comfy.samplers.Sampler):
    """SAMPLER with the keywords of `sample_aias`."""

    def __init__(self, options: dict):
        self.options = options

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """The clean latent, in the model's own scale, as ComfyUI's guiders call it."""
        check_conditioning(model_wrap, len(noise))
        sampling = model_wrap.inner_model.model_sampling
        alpha = flow_alpha(sampling)
        full = self.max_denoise(model_wrap, sigmas)
        options = dict(self.options)
        options["pure_start"] = options.get("pure_start", False) and full and alpha is None
        if denoise_mask is None:
            x, mask = sampling.noise_scaling(sigmas[0], noise.clone(), latent_image, full), None
        else:
            mask = denoise_mask[:, :1]
            if tuple(mask.shape[2:]) != tuple(noise.shape[2:]):
                raise ValueError("AIAS Sampler: the mask is not of latent size; make the latent with Defect Latent.")
            known = latent_image * (1 - mask) if full else latent_image
            sigma = float(sigmas[0])
            x = (alpha(sigma) if alpha else 1.0) * known + sigma * noise

        def report(state: dict) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            if callback is not None:
                callback(state["i"], state["denoised"], state["x"], len(sigmas) - 1)

        scheduled = extra_args["model_options"].get("denoise_mask_function")
        model = model_wrap
        if mask is not None and scheduled:
            model = _with_mask_schedule(model_wrap, scheduled, sigmas, denoise_mask, latent_image)
            mask = (mask > 0).to(mask)
        seeds = getattr(extra_args.get("seed"), "items", None)
        return sample_aias(
            model, x, sigmas, extra_args, report, mask=mask, background=None if mask is None else latent_image,
            alpha=alpha, seeds=seeds, **options,
        )  # fmt: skip


def sample_latent(model, seed, steps, cfg, preset_name, positive, negative, latent, denoise) -> dict:
    """The LATENT that KSampler (AIAS) gives; see that node."""
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    latent = latent | {"samples": samples}
    mask = pooled_mask("KSampler (AIAS)", latent)
    grid, options = preset(preset_name, steps)
    sigmas = aias_sigmas("KSampler (AIAS)", model, steps, grid["kind"], grid["refine"], denoise)
    seeds = ItemSeeds(seed, item_seeds(latent, seed))
    noise = initial_noise(samples.cpu(), seeds.items)
    callback = latent_preview.prepare_callback(model, len(sigmas) - 1)
    made = comfy.sample.sample_custom(
        model, noise, cfg, AIASSampler(options), sigmas, positive, negative, samples, noise_mask=mask,
        callback=callback, seed=seeds,
    )  # fmt: skip
    return latent | {"samples": made}


def aias_sigmas(node: str, model, steps: int, kind: str, refine: int, denoise: float = 1.0) -> Tensor:
    """The model's noise levels that a run visits, descending, the last 0; none where `denoise` is 0.

    `denoise` below 1 keeps the last `steps` levels of a run of steps / denoise, as ComfyUI's KSampler does.

    Raises:
        ValueError: see `aias_grid`; a kind that the model's schedule does not allow; a model without a sigma table.
    """
    if denoise <= 0:
        return torch.FloatTensor([])
    sampling = model.get_model_object("model_sampling")
    table = getattr(sampling, "sigmas", None)
    if table is None:
        raise ValueError(f"{node}: this model has no table of noise levels ({type(sampling).__name__}).")
    if flow_alpha(sampling) and kind in ("lambda", "half"):
        raise ValueError(
            f"{node}: levels {kind!r} (preset fast) are made for eps and v models, and this is a flow model; choose "
            "quadratic or uniform (preset recommended or paper)."
        )
    table = table.detach().float().cpu()
    total = int(steps / denoise)
    try:
        grid = aias_grid(total, kind, refine, timesteps=len(table), sigmas=table)
    except ValueError as error:
        tail = f" {steps} steps at denoise {denoise:g} are the end of a run of {total}." if denoise < 1 else ""
        raise ValueError(f"{node}: {error}{tail}") from error
    return grid_sigmas(grid[-steps:], table)


def flow_alpha(sampling):
    """alpha(sigma) of a flow model; None for eps and v models, whose alpha is 1."""
    return (lambda sigma: 1 - sigma) if isinstance(sampling, comfy.model_sampling.CONST) else None


def check_conditioning(model_wrap, batch: int) -> None:
    """Raise ValueError where the guider's conditioning cannot be the model's or the batch's: none, tokens of another
    width, or of another number of items."""
    wanted = model_wrap.inner_model.model_config.unet_config.get("context_dim")
    for name, entries in getattr(model_wrap, "conds", {}).items():
        for entry in entries:
            tokens = entry.get("cross_attn")
            if tokens is None:
                raise ValueError(f"AIAS: the {name} conditioning holds no tokens; connect Anomaly Conditioning.")
            if tokens.shape[0] not in (1, batch):
                raise ValueError(
                    f"AIAS: the {name} conditioning is for {tokens.shape[0]} items, and {batch} are sampled; give "
                    "Anomaly Conditioning one line, or as many as images, and connect Crop to Mask's crop to it."
                )
            if isinstance(wanted, int) and tokens.shape[-1] != wanted:
                raise ValueError(
                    f"AIAS: the {name} conditioning has tokens of {tokens.shape[-1]} channels, and the model reads "
                    f"{wanted}: it was made for another kind of model. Make it with Anomaly Conditioning from this "
                    "model, or with the CLIP of this checkpoint."
                )


def _with_mask_schedule(model_wrap, schedule, sigmas: Tensor, denoise_mask: Tensor, background: Tensor):
    """The model with a mask that a patch (Differential Diffusion, say) sets at every level: outside it, background."""

    def model(x: Tensor, sigma: Tensor, **extra_args) -> Tensor:
        mask = schedule(sigma, denoise_mask, extra_options={"model": model_wrap, "sigmas": sigmas})
        return torch.lerp(background, model_wrap(x, sigma, **extra_args), mask)

    return model
