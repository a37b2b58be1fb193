"""What AIAS and graded diffusion share as ComfyUI's samplers: the host's model, latent, mask and seeds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import comfy.model_management
import comfy.sample
import comfy.samplers
import latent_preview
import torch
from torch import Tensor

from ..errors import Refused
from ..samplers.noise import initial_noise
from ..samplers.noise import item_seeds as run_seeds
from ..synthesis.start import start_state
from .errors import named
from .fast import foreground_options
from .latents import ItemSeeds, check_axes, check_channels, check_filled, pooled_mask, sampling_seeds
from .noise_levels import flow_alpha

_log = logging.getLogger(__name__)
Model = Callable[..., Tensor]  # (x, sigma, **extra_args) -> x0


@contextmanager
def _levels_from_aias_sigmas() -> Iterator[None]:
    """Where levels do not fit, which nodes give others."""
    try:
        yield
    except Refused as error:
        if error.subject != "sigmas":
            raise
        remedy = f"{error.remedy} (AIAS Sigmas, with its windows; whole or through Split Sigmas)"
        raise Refused(error.subject, error.got, error.accepted, remedy) from error


class MaskedSampler(comfy.samplers.Sampler):
    """SAMPLER that runs `engine` with `options`, its keywords; `node`: the display name that errors begin with."""

    engine: Callable[..., Tensor]
    needs_mask = False

    def __init__(self, options: dict, node: str):
        self.options, self.node = options, node

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """The clean latent, in the model's own scale, as ComfyUI's guiders call it.

        Where the last of the sigmas is not 0, another sampler goes on, from noise that is off: the state at that level,
        as ComfyUI's samplers return it. Outside the mask it is the clean background, which the other half could not
        know otherwise; it noises it by itself.
        """
        with named(self.node):
            check_axes(noise)
            check_conditioning(model_wrap, len(noise))
            alpha = flow_alpha(model_wrap.inner_model.model_sampling)
            full = self.max_denoise(model_wrap, sigmas)
            options = self.options | {"pure_start": self.options.get("pure_start", False) and full and alpha is None}
            goes_on = len(sigmas) > 0 and float(sigmas[0]) > 0 and not noise.any()
            masked, mask = self._mask(model_wrap, sigmas, extra_args, latent_image, denoise_mask, goes_on)
            seeds = getattr(extra_args.get("seed"), "items", None)
            if goes_on and mask is not None:
                around = initial_noise(noise, run_seeds(len(noise), seeds, extra_args.get("seed")))
                noise = torch.where(mask > 0, noise, around)
            options |= foreground_options(model_wrap.inner_model.current_patcher, mask, latent_image, alpha)
            options |= self.added(model_wrap, masked)

            def report(state: dict) -> None:
                comfy.model_management.throw_exception_if_processing_interrupted()
                if callback is not None:
                    callback(state["i"], state["denoised"], state["x"], len(sigmas) - 1)

            x = _start(model_wrap, alpha, sigmas, noise, latent_image, mask, full, options)
            if len(sigmas) > 1:  # Split Sigmas may leave one level, and no step
                with _levels_from_aias_sigmas():
                    x = self.engine(
                        masked(model_wrap),
                        x,
                        sigmas,
                        extra_args,
                        report,
                        mask=mask,
                        background=None if mask is None else latent_image,
                        alpha=alpha,
                        seeds=seeds,
                        **options,
                    )
            return _returned(model_wrap, sigmas, x, latent_image, mask)

    def added(self, model_wrap, masked: Callable[[Model], Model]) -> dict:
        """Further keywords of `engine` for a run. `masked`: what a mask that is set at every level makes of a model."""
        return {}

    def _mask(
        self,
        model_wrap,
        sigmas: Tensor,
        extra_args: dict,
        background: Tensor,
        denoise_mask: Tensor | None,
        goes_on: bool,
    ):
        """(masked, mask [B, 1, h, w]): `masked` as in `added`; it leaves a model as it is where no patch sets masks.

        goes_on: the latent is the state of a first half, and only where the mask is 0 the background is known.
        """
        if denoise_mask is None:
            if self.needs_mask:
                raise Refused(
                    "latent",
                    "no mask, which graded diffusion fills",
                    remedy="make the latent with Defect Latent",
                )
            return _unchanged, None
        mask = denoise_mask[:, :1]
        check_filled(mask)
        schedule = extra_args["model_options"].get("denoise_mask_function")
        if schedule and goes_on:
            raise Refused(
                "model",
                "it changes the mask from level to level (Differential Diffusion), which the second half of a split "
                "run cannot do: it knows no background in the mask",
                remedy="sample in one run",
            )
        if schedule:
            extra = {"model": model_wrap, "sigmas": sigmas}
            masked = partial(_with_mask_schedule, schedule, denoise_mask, extra, background)
            return masked, (mask > 0).to(mask)
        if ((mask > 0) & (mask < 1)).any():
            _log.warning(
                "%s: the mask is soft. If it came in pixels, ComfyUI resized it, and small defects are lost: make the "
                "latent with Defect Latent.",
                self.node,
            )
        return _unchanged, (mask > 0).to(mask) if goes_on else mask


def sample_latent(
    sampler: MaskedSampler,
    model,
    seed: int,
    cfg: float,
    positive,
    negative,
    latent: dict,
    sigmas_of: Callable[[], Tensor],
) -> dict:
    """The LATENT that `sampler` makes of one, as a KSampler does. `sigmas_of`: asked once the latent is in order."""
    latent = _with_models_shape(model, latent)
    samples = latent["samples"]
    mask = pooled_mask(latent)
    check_channels(samples, model)
    sigmas = sigmas_of()
    seeds = sampling_seeds(latent, seed)
    callback = latent_preview.prepare_callback(model, len(sigmas) - 1)
    return latent | {
        "samples": sampled(sampler, model, seeds, cfg, positive, negative, samples, mask, sigmas, callback)
    }


def sampled(
    sampler,
    model,
    seeds: ItemSeeds,
    cfg: float,
    positive,
    negative,
    samples: Tensor,
    mask: Tensor | None,
    sigmas: Tensor,
    callback: Callable,
) -> Tensor:
    """Latents that any SAMPLER makes of `samples`, every item from noise of its own seed.

    Args:
        mask: of latent size, see `latents.pooled_mask`.
        callback: (step, x0, x, steps) after every step.
    """
    noise = initial_noise(samples.cpu(), seeds.items)
    return comfy.sample.sample_custom(
        model, noise, cfg, sampler, sigmas, positive, negative, samples, noise_mask=mask, callback=callback, seed=seeds
    )


def check_conditioning(model_wrap, batch: int) -> None:
    """Raise Refused where the guider's conditioning cannot be the model's or the batch's: no tokens for a model that
    lives by them, tokens of another width, or of a number of items that the batch is no multiple of."""
    wanted = model_wrap.inner_model.model_config.unet_config.get("context_dim")
    for name, entries in getattr(model_wrap, "conds", {}).items():
        for entry in entries:
            tokens = entry.get("cross_attn")
            if tokens is None:
                if hasattr(model_wrap.inner_model, "anomaly_tokens"):
                    raise Refused(name, "a conditioning without tokens", remedy="connect Anomaly Conditioning")
                continue
            if batch % tokens.shape[0]:
                raise Refused(
                    name,
                    f"a conditioning for {tokens.shape[0]} items, and {batch} are sampled",
                    remedy="give Anomaly Conditioning one line, or as many as images, and connect Crop to Mask's crop "
                    "to it",
                )
            if isinstance(wanted, int) and wanted > 1 and tokens.shape[-1] != wanted:
                raise Refused(
                    name,
                    f"a conditioning with tokens of {tokens.shape[-1]} channels, for another kind of model: this one "
                    f"reads {wanted}",
                    remedy="make it with Anomaly Conditioning from this model, or with the CLIP of this checkpoint",
                )


def _start(
    model_wrap,
    alpha,
    sigmas: Tensor,
    noise: Tensor,
    latent_image: Tensor,
    mask: Tensor | None,
    full: bool,
    options: dict,
) -> Tensor:
    """`start_state`; without a mask as ComfyUI's own samplers begin."""
    if mask is None:
        return model_wrap.inner_model.model_sampling.noise_scaling(sigmas[0], noise.clone(), latent_image, full)
    sigma = float(sigmas[0])
    return start_state(latent_image, mask, sigma, noise, options, alpha(sigma) if alpha else 1.0, full)


def _returned(model_wrap, sigmas: Tensor, x: Tensor, latent_image: Tensor, mask: Tensor | None) -> Tensor:
    """What a run leaves, see `MaskedSampler.sample`."""
    if float(sigmas[-1]) == 0:
        return x
    x = model_wrap.inner_model.model_sampling.inverse_noise_scaling(sigmas[-1], x)
    return x if mask is None else torch.where(mask > 0, x, latent_image)


def _with_models_shape(model, latent: dict) -> dict:
    """An empty latent gets the model's channels, and its size where the host says what it was made for."""
    hints = {key: latent[key] for key in ("downscale_ratio_spacial", "downscale_ratio_temporal") if key in latent}
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], **hints)
    return {key: value for key, value in latent.items() if key not in hints} | {"samples": samples}


def _with_mask_schedule(
    schedule: Callable, denoise_mask: Tensor, extra: dict, background: Tensor, model: Model
) -> Model:
    """The model with a mask that a patch (Differential Diffusion, say) sets at every level: outside it, background."""

    def masked(x: Tensor, sigma: Tensor, **extra_args) -> Tensor:
        mask = schedule(sigma, denoise_mask, extra_options=extra)
        return torch.lerp(background, model(x, sigma, **extra_args), mask)

    return masked


def _unchanged(model: Model) -> Model:
    return model
