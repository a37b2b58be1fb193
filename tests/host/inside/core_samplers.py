"""Core's own samplers on the compact MODEL, with and without Anomaly Inference."""

from __future__ import annotations

import torch

import nodes

from .scenes import CFG, SEED, STEPS, apart, base, condition, ksampler, one, plain_latent, refused
from .start import call

SAMPLERS = ("euler", "dpmpp_2m")
HOOK = "sampler_post_cfg_function"


def _core(model, sampler: str, latent: dict) -> torch.Tensor:
    positive, negative = condition()
    made = nodes.common_ksampler(model, SEED, STEPS, CFG, sampler, "normal", positive, negative, latent)
    return made[0]["samples"]


def _with_inference(model, latent: dict, strength: float):
    return call("AnomalyInference", model=model, latent=latent, strength=strength)[0]


def check_core_samplers_run_on_the_compact_model():
    latent, inside = plain_latent()
    for sampler in SAMPLERS:
        change = (_core(base()[0], sampler, latent) - latent["samples"]).abs()
        assert change[inside].mean() > 0.1 and change[~inside].max() < 1e-5  # core itself keeps what is not masked


def check_the_model_sees_mask_and_background_in_core_samplers_too():
    latent, inside = plain_latent()
    unaware, _, _ = call("LoadAnomalyLDM", base_name="surfaces (bundled)", aware=False)
    made = [_core(model, "euler", latent) for model in (base()[0], unaware)]
    assert (made[0] - made[1])[inside].abs().mean() > 0.05


def check_core_can_offload_and_recast_every_layer():
    model, vae, _ = call("LoadAnomalyLDM", base_name="surfaces (bundled)", aware=True)
    for network in (model.model.diffusion_model, vae.first_stage_model):
        held = [layer for layer in network.modules() if list(layer.parameters(recurse=False))]
        assert len(held) > 20 and all(hasattr(layer, "comfy_cast_weights") for layer in held)
    latent, inside = plain_latent()
    made = _core(model, "euler", latent)
    model.set_model_compute_dtype(torch.bfloat16)
    rough = _core(model, "euler", latent)
    assert 0 < apart(rough, made) < 0.2


@refused("Load Anomaly LDM: ", "ControlNet: a compact base takes none", "remove Apply ControlNet")
def check_a_controlnet_is_refused_and_not_ignored():
    model = base()[0].model
    x, mask = torch.zeros(1, 4, 8, 8), torch.zeros(1, 5, 8, 8)
    model.apply_model(x, torch.ones(1), c_concat=mask, c_crossattn=condition().positive[0][0], control={"output": []})


def check_an_empty_latent_gets_the_size_that_it_was_made_for():
    (latent,) = call(nodes.EmptyLatentImage, width=64, height=48, batch_size=1)
    made = ksampler(base()[0], condition(), latent, steps=3)
    has_size = "downscale_ratio_spacial" in latent  # newer hosts store the size of an empty latent
    assert made.shape == ((1, 4, 12, 16) if has_size else (1, 4, 6, 8))


def check_strength_0_equals_the_unpatched_model():
    latent, _ = plain_latent()
    for given in (latent, {"samples": latent["samples"]}):
        for sampler in SAMPLERS:
            patched = _with_inference(base()[0], latent, 0.0)
            assert torch.equal(_core(patched, sampler, given), _core(base()[0], sampler, given))


def check_strength_1_keeps_the_background_of_a_latent_without_mask():
    latent, inside = plain_latent()
    free, largest = {"samples": latent["samples"]}, 0.0
    for sampler in SAMPLERS:
        assert apart(_core(base()[0], sampler, free)[~inside], latent["samples"][~inside]) > 0.1
        made = _core(_with_inference(base()[0], latent, 1.0), sampler, free)
        assert (made - latent["samples"])[inside].abs().mean() > 0.1
        largest = max(largest, apart(made[~inside], latent["samples"][~inside]))
    assert largest < 1e-3
    return {"largest difference outside": largest}


def check_the_given_model_stays_unpatched():
    latent, _ = plain_latent()
    model = base()[0]
    before = _core(model, "euler", latent)
    options = dict(model.model_options)
    patched = _with_inference(model, latent, 1.0)
    _core(patched, "euler", latent)
    assert patched is not model and model.model_options == options and HOOK not in model.model_options
    assert torch.equal(_core(model, "euler", latent), before)


def check_functions_that_are_there_still_run_and_in_their_order():
    latent, inside = plain_latent()
    free, seen = {"samples": latent["samples"]}, {"before": [], "after": []}
    background = base()[0].model.process_latent_in(latent["samples"])

    def watch(name: str):
        def watched(args: dict) -> torch.Tensor:
            seen[name].append(apart(args["denoised"][~inside], background[~inside]) < 1e-5)
            return args["denoised"]

        return watched

    hooked = base()[0].clone()
    hooked.set_model_sampler_post_cfg_function(watch("before"))
    both = _with_inference(hooked, latent, 1.0)
    both.set_model_sampler_post_cfg_function(watch("after"))
    assert len(hooked.model_options[HOOK]) == 1 and len(both.model_options[HOOK]) == 3
    _core(both, "euler", free)
    assert seen == {"before": [False] * STEPS, "after": [True] * STEPS}


def check_anomaly_inference_serves_another_batch_than_its_latents():
    latent, inside = plain_latent()
    twice = {"samples": latent["samples"].repeat(2, 1, 1, 1)}
    made = _core(_with_inference(base()[0], latent, 1.0), "euler", twice)
    for item in made:
        assert apart(item[~inside[0]], latent["samples"][0][~inside[0]]) < 1e-3


def check_anomaly_inference_refuses_a_sampled_latent_of_another_size():
    latent, _ = plain_latent()
    image, mask = one((96, 64))
    (other,) = call("DefectLatent", image=image, mask=mask, vae=base()[1], crop=None)
    with refused("Anomaly Inference: ", "make both from the same image"):
        _core(_with_inference(base()[0], latent, 1.0), "euler", {"samples": other["samples"]})
