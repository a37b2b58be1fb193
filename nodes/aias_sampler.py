"""AIAS as ComfyUI's samplers: the host's model, latent and mask given to `samplers.aias.sample_aias`."""

from __future__ import annotations

import logging

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
from .errors import named
from .fast_sampling import foreground_options
from .latents import ItemSeeds, check_axes, check_channels, check_filled, item_seeds, pooled_mask

_log = logging.getLogger(__name__)


class AIASSampler(comfy.samplers.Sampler):
    """SAMPLER with the keywords of `sample_aias`; `node`: the display name that errors begin with."""

    def __init__(self, options: dict, node: str = "AIAS Sampler"):
        self.options, self.node = options, node

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """The clean latent, in the model's own scale, as ComfyUI's guiders call it."""
        with named(self.node):
            check_axes(self.node, noise)
            check_conditioning(model_wrap, len(noise))
            alpha = flow_alpha(model_wrap.inner_model.model_sampling)
            full = self.max_denoise(model_wrap, sigmas)
            options = self.options | {"pure_start": self.options.get("pure_start", False) and full and alpha is None}
            model, mask = self._masked(model_wrap, sigmas, extra_args, latent_image, denoise_mask)
            options |= foreground_options(model_wrap.inner_model.current_patcher, mask, latent_image, alpha)

            def report(state: dict) -> None:
                comfy.model_management.throw_exception_if_processing_interrupted()
                if callback is not None:
                    callback(state["i"], state["denoised"], state["x"], len(sigmas) - 1)

            return sample_aias(
                model, _start(model_wrap, alpha, sigmas, noise, latent_image, mask, full), sigmas, extra_args, report,
                mask=mask, background=None if mask is None else latent_image, alpha=alpha,
                seeds=getattr(extra_args.get("seed"), "items", None), **options,
            )  # fmt: skip

    def _masked(self, model_wrap, sigmas: Tensor, extra_args: dict, background: Tensor, denoise_mask: Tensor | None):
        """(model, mask [B, 1, h, w]); where a patch sets the mask at every level, the model does what it says."""
        if denoise_mask is None:
            return model_wrap, None
        mask = denoise_mask[:, :1]
        check_filled(self.node, mask)
        schedule = extra_args["model_options"].get("denoise_mask_function")
        if schedule:
            return _with_mask_schedule(model_wrap, schedule, sigmas, denoise_mask, background), (mask > 0).to(mask)
        if ((mask > 0) & (mask < 1)).any():
            _log.warning(
                "%s: the mask is soft. If it came in pixels, ComfyUI resized it, and small defects are lost: make the "
                "latent with Defect Latent.", self.node,
            )  # fmt: skip
        return model_wrap, mask


def _start(
    model_wrap, alpha, sigmas: Tensor, noise: Tensor, latent_image: Tensor, mask: Tensor | None, full: bool
) -> Tensor:
    """The state at the first level: inside the mask pure noise, or what the image shows there where the run starts in
    the middle; without a mask as ComfyUI's own samplers begin."""
    if mask is None:
        return model_wrap.inner_model.model_sampling.noise_scaling(sigmas[0], noise.clone(), latent_image, full)
    sigma = float(sigmas[0])
    known = latent_image * (1 - mask) if full else latent_image
    return (alpha(sigma) if alpha else 1.0) * known + sigma * noise


def sample_latent(model, seed, steps, cfg, preset_name, positive, negative, latent, denoise) -> dict:
    """The LATENT that KSampler (AIAS) gives; see that node."""
    node = "KSampler (AIAS)"
    with named(node):
        latent = _with_models_shape(model, latent)
        samples = latent["samples"]
        mask = pooled_mask(node, latent)
        check_channels(node, samples, model)
        grid, options = preset(preset_name, steps)
        sigmas = aias_sigmas(node, model, steps, grid["kind"], grid["refine"], denoise)
        seeds = ItemSeeds(seed, item_seeds(latent, seed))
    made = comfy.sample.sample_custom(
        model, initial_noise(samples.cpu(), seeds.items), cfg, AIASSampler(options, node), sigmas, positive, negative,
        samples, noise_mask=mask, callback=latent_preview.prepare_callback(model, len(sigmas) - 1), seed=seeds,
    )  # fmt: skip
    return latent | {"samples": made}


def _with_models_shape(model, latent: dict) -> dict:
    """An empty latent gets the model's channels, and its size where the host tells what it was made for."""
    told = {key: latent[key] for key in ("downscale_ratio_spacial", "downscale_ratio_temporal") if key in latent}
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], **told)
    return {key: value for key, value in latent.items() if key not in told} | {"samples": samples}


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
    if flow_alpha(sampling) and kind == "lambda":
        raise ValueError(
            f"{node}: levels 'lambda' are made for eps and v models, and this is a flow model; choose half, quadratic "
            "or uniform."
        )
    table = table.detach().float().cpu()
    total = int(steps / denoise)
    if total > len(table):
        tail = f" ({steps} steps at denoise {denoise:g} are the end of a run of {total})" if denoise < 1 else ""
        most = int(len(table) * denoise)
        raise ValueError(f"{node}: the model has {len(table)} levels{tail}; use at most {most} steps.")
    with named(node):
        return grid_sigmas(aias_grid(total, kind, refine, timesteps=len(table), sigmas=table)[-steps:], table)


def flow_alpha(sampling):
    """alpha(sigma) of a flow model; None for eps and v models, whose alpha is 1.

    Raises:
        ValueError: a flow model whose state is not (1 - sigma) x0 + sigma noise.
    """
    if not isinstance(sampling, comfy.model_sampling.CONST):
        return None
    if type(sampling).noise_scaling is not comfy.model_sampling.CONST.noise_scaling or (
        getattr(sampling, "noise_scale", 1.0) != 1.0
    ):
        raise ValueError("AIAS: this flow model scales its noise in a way of its own, which is not supported.")
    return lambda sigma: 1 - sigma


def check_conditioning(model_wrap, batch: int) -> None:
    """Raise ValueError where the guider's conditioning cannot be the model's or the batch's: no tokens for a model that
    lives by them, tokens of another width, or of a number of items that the batch is no multiple of."""
    wanted = model_wrap.inner_model.model_config.unet_config.get("context_dim")
    for name, entries in getattr(model_wrap, "conds", {}).items():
        for entry in entries:
            tokens = entry.get("cross_attn")
            if tokens is None:
                if hasattr(model_wrap.inner_model, "anomaly_tokens"):
                    raise ValueError(f"AIAS: the {name} conditioning holds no tokens; connect Anomaly Conditioning.")
                continue
            if batch % tokens.shape[0]:
                raise ValueError(
                    f"AIAS: the {name} conditioning is for {tokens.shape[0]} items, and {batch} are sampled; give "
                    "Anomaly Conditioning one line, or as many as images, and connect Crop to Mask's crop to it."
                )
            if isinstance(wanted, int) and wanted > 1 and tokens.shape[-1] != wanted:
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
