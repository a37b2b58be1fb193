"""Models that are not ours: one of Stable Diffusion 1.5's shape, and a flow model."""

from __future__ import annotations

import copy
from functools import cache

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingSD3

from .scenes import FORMS, Conditioning, apart, base, condition, plain_latent, refused
from .start import call, room

# SD 1.5's UNet with two levels in place of four, of equal width, and one block in place of two per level.
SD15_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "channel_mult": [1, 1],
    "num_res_blocks": [1, 1],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1],
    "context_dim": 768,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "adm_in_channels": None,
    "legacy": False,
    "use_checkpoint": False,
    "dtype": torch.float32,
}


@cache
def sd15():
    """A MODEL as core builds SD 1.5, with random weights (core leaves them uninitialised)."""
    config = comfy.supported_models.SD15(copy.deepcopy(SD15_UNET))
    model = config.get_model({}, "")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.diffusion_model.parameters():
            if parameter.ndim == 1:
                parameter.zero_()
            else:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
    assert sum(parameter.numel() for parameter in model.diffusion_model.parameters()) > 20e6
    return comfy.model_patcher.ModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def random_tokens(width: int = 768) -> Conditioning:
    generator = torch.Generator().manual_seed(1)
    return Conditioning(*([[torch.randn(1, 77, width, generator=generator), {}]] for _ in range(2)))


def sd15_latent(height: int = 8, width: int = 10) -> tuple[dict, torch.Tensor]:
    samples = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(2)) * 5
    mask = torch.zeros(2, 1, height, width)
    mask[0, 0, 3, 4] = mask[1, 0, 3:7, 4:9] = 1
    return {"samples": samples, "noise_mask": mask}, (mask > 0).expand_as(samples)


def _holds_the_background(model, conditioning: Conditioning, latent: dict, inside: torch.Tensor, **options) -> float:
    """The largest difference outside the mask of both forms, which give finite and equal latents."""
    made = [form(model, conditioning, latent, **options) for form in FORMS]
    assert torch.isfinite(made[0]).all() and torch.equal(*made), f"{options}: {apart(*made)} apart"
    assert (made[0] - latent["samples"])[inside].abs().mean() > 0.01, options
    return apart(made[0][~inside], latent["samples"][~inside])


def check_a_model_of_sd15s_shape_runs_in_both_forms():
    latent, inside = sd15_latent()
    largest = max(
        _holds_the_background(sd15(), random_tokens(), latent, inside, preset=preset, steps=3)
        for preset in room("samplers.presets").PRESETS
    )
    assert largest < 1e-4
    return {"largest difference outside": largest}


def check_a_model_of_sd15s_shape_runs_with_denoise_and_without_guidance():
    latent, inside = sd15_latent(16, 8)
    assert _holds_the_background(sd15(), random_tokens(), latent, inside, steps=3, cfg=1.0, denoise=0.5) < 1e-4


@cache
def flow():
    """A flow model: the compact base under core's ModelSamplingSD3. What it makes has no meaning."""
    return call(ModelSamplingSD3, model=base()[0], shift=3.0)[0]


def check_a_flow_model_runs_in_both_forms():
    latent, inside = plain_latent()
    largest = max(
        _holds_the_background(flow(), condition(), latent, inside, preset=preset, steps=6, denoise=denoise)
        for preset in ("recommended", "fast", "paper")
        for denoise in (1.0, 0.5)
    )
    assert largest < 1e-5
    return {"largest difference outside": largest}


def check_states_have_the_scale_of_the_models_kind():
    """An exact model of 2 on a background of -3: every state is alpha x0 + sigma noise, inside the mask and outside."""
    latent, inside = plain_latent()
    for model, alpha in ((base()[0], lambda sigma: 1.0), (flow(), lambda sigma: 1 - sigma)):
        states = []

        def answer(args: dict, states=states) -> torch.Tensor:
            states.append((args["sigma"].max().item(), args["input"]))
            return torch.full_like(args["input"], 2.0)

        exact = model.clone()
        exact.set_model_sampler_post_cfg_function(answer)
        out = exact.model.process_latent_out
        flat = latent | {"samples": out(torch.full_like(latent["samples"], -3.0))}
        for form in FORMS:
            made = form(exact, condition(), flat, steps=6)
            assert apart(made, out(torch.where(inside, 2.0, -3.0))) < 1e-5
        assert len(states) == 12
        for sigma, state in states:
            noise = (state - alpha(sigma) * torch.where(inside, 2.0, -3.0)) / sigma
            for part in (noise[inside], noise[~inside]):
                # At the noisiest level of eps and v models the state inside begins at 0, which sigma outweighs.
                assert abs(part.mean()) < 5 / part.numel() ** 0.5 + 0.2 and abs(part.std() - 1) < 0.25, sigma


def check_the_whole_latent_of_a_flow_model_is_sampled_without_mask():
    empty = {"samples": torch.zeros(1, 4, 16, 16)}
    made = [form(flow(), condition(), empty) for form in FORMS]
    assert torch.equal(*made) and torch.isfinite(made[0]).all() and made[0].std() > 0.01


@refused("AIAS Sigmas: ", "flow model", "choose half")
def check_lambda_is_refused_for_a_flow_model():
    call("AIASSigmas", model=flow(), steps=6, kind="lambda", refine=2, denoise=1.0)
