"""Latents, conditioning and steps that cannot be used: refused with the node's name in front."""

from __future__ import annotations

import logging

import torch
from comfy_extras.nodes_custom_sampler import CFGGuider, RandomNoise, SamplerCustomAdvanced

from .other_models import random_tokens, sd15, sd15_latent
from .scenes import FORMS, advanced, base, condition, ksampler, one, plain_latent, refused
from .start import call, room

NODES = ("KSampler (AIAS)", "AIAS Sampler")  # in the order of FORMS


def _latent(**changes) -> dict:
    return plain_latent()[0] | changes


@refused("KSampler (AIAS): ", "without noise_mask", "Defect Latent")
def check_a_latent_without_mask_is_refused():
    ksampler(base()[0], condition(), {"samples": _latent()["samples"]})


@refused("Anomaly Inference: ", "without noise_mask", "Defect Latent")
def check_anomaly_inference_without_mask_is_refused():
    call("AnomalyInference", model=base()[0], latent={"samples": _latent()["samples"]}, strength=1.0)


@refused("Anomaly Inference: ", "latent: empty", "Defect Latent")
def check_anomaly_inference_of_an_empty_latent_is_refused():
    call("AnomalyInference", model=base()[0], latent={"samples": torch.zeros(1, 4, 8, 8)}, strength=1.0)


@refused("KSampler (AIAS): ", "noise_mask 0 of the batch: it is empty", "draw at least one pixel")
def check_an_empty_noise_mask_is_refused():
    ksampler(base()[0], condition(), _latent(noise_mask=torch.zeros(1, 1, 16, 16)))


@refused("KSampler (AIAS): ", "smaller than the latent")
def check_a_noise_mask_smaller_than_the_latent_is_refused():
    ksampler(base()[0], condition(), _latent(noise_mask=torch.ones(1, 1, 8, 8)))


def check_a_noise_mask_in_pixels_is_pooled_with_a_notice():
    image, mask = one((64, 64), pixel=(30, 41))
    (latent,) = call("DefectLatent", image=image, mask=mask, vae=base()[1])
    notices = []
    listener = logging.Handler()
    listener.emit = lambda record: notices.append(record.getMessage())
    log = logging.getLogger(room("nodes.latents").__name__)
    log.addHandler(listener)
    try:
        for given in (mask, mask[:, None]):
            made = ksampler(base()[0], condition(), latent | {"noise_mask": given})
            assert torch.equal(made, ksampler(base()[0], condition(), latent))
    finally:
        log.removeHandler(listener)
    assert len(notices) == 2 and notices[0].startswith("noise_mask of ") and "max-pooled" in notices[0]


@refused("Per-Item Noise: ", "noise_mask: 64 x 64", "Defect Latent")
def check_a_noise_mask_in_pixels_is_refused_where_core_would_resize_it():
    advanced(base()[0], condition(), _latent(noise_mask=one((64, 64))[1]))


@refused("AIAS Sampler: ", "noise_mask 0 of the batch: it is empty", "Defect Latent")
def check_a_mask_that_core_resized_to_nothing_is_refused():
    latent = _latent(noise_mask=one((64, 64), pixel=(32, 32))[1])  # bilinear sizing by 4 reads rows 1 and 2 of each 4
    (sampler,) = call("AIASSampler", order=1, eta=1.0, variance=0.0, pure_start=False, correct=False)
    (sigmas,) = call("AIASSigmas", model=base()[0], steps=4, kind="quadratic", refine=2, denoise=1.0)
    (guider,) = call(CFGGuider, model=base()[0], positive=condition().positive, negative=condition().negative, cfg=1.0)
    (noise,) = call(RandomNoise, noise_seed=0)
    call(SamplerCustomAdvanced, noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent)


def check_a_nan_latent_is_refused_in_both_forms():
    samples = _latent()["samples"].clone()
    samples[0, 1, 2, 3] = float("nan")
    for node, form in zip(NODES, FORMS, strict=True):
        with refused(f"{node}: ", "NaN", "check the VAE"):
            form(base()[0], condition(), _latent(samples=samples))


@refused("Anomaly Inference: ", "latent: 16 channels, the model 4", "this model's VAE")
def check_a_latent_of_another_models_channels_is_refused():
    latent = {"samples": torch.ones(1, 16, 8, 8), "noise_mask": torch.ones(1, 1, 8, 8)}
    call("AnomalyInference", model=base()[0], latent=latent, strength=1.0)


@refused("KSampler (AIAS): ", "positive: a conditioning without tokens", "Anomaly Conditioning")
def check_conditioning_without_tokens_is_refused():
    ksampler(base()[0], condition()._replace(positive=[[None, {}]]), _latent())


def check_conditioning_of_another_models_width_is_refused_in_both_forms():
    latent, _ = sd15_latent()
    for node, form in zip(NODES, FORMS, strict=True):
        with refused(f"{node}: ", "tokens of 2048 channels", "reads 768", "with the CLIP of this checkpoint"):
            form(sd15(), random_tokens(2048), latent, steps=1)


@refused("KSampler (AIAS): ", "positive: a conditioning for 3 items, and 1 are sampled", "one line")
def check_conditioning_for_another_number_of_items_is_refused():
    ksampler(base()[0], condition(type="scratch\nstain\nscratch"), _latent())


@refused("Anomaly Conditioning: ", "no anomaly tokens", "connect the CLIP")
def check_a_model_without_tokens_needs_a_clip():
    condition(sd15())


@refused("Anomaly Conditioning: ", "no tokens for brushed_metal / rust", "accepted is one of brushed_metal / ")
def check_an_unknown_type_is_refused_with_the_known_ones():
    condition(type="rust")


@refused("Anomaly Conditioning: ", "type: 2 lines for 3 images", "give one line, or 3")
def check_another_number_of_lines_is_refused():
    condition(object="brushed_metal\n" * 3, type="scratch\nstain")


@refused("KSampler (AIAS): ", "the model has 1000 levels", "use at most 1000 steps")
def check_more_steps_than_levels_are_refused():
    ksampler(base()[0], condition(), _latent(), steps=1001)


@refused("AIAS Sigmas: ", "600 steps at denoise 0.5 are the end of a run of 1200", "use at most 500 steps")
def check_more_steps_than_levels_by_denoise_are_refused():
    call("AIASSigmas", model=base()[0], steps=600, kind="quadratic", refine=2, denoise=0.5)


@refused("AIAS Sigmas: ", "steps", "refine")
def check_more_refinement_than_steps_is_refused():
    call("AIASSigmas", model=base()[0], steps=2, kind="quadratic", refine=2, denoise=1.0)


@refused("AIAS Sampler: ", "needs eta 1")
def check_variance_needs_eta_1():
    call("AIASSampler", order=1, eta=0.5, variance=0.5, pure_start=False, correct=False)


@refused("AIAS Sampler: ", "sigmas: they do not descend", "AIAS Sigmas")
def check_sigmas_that_rise_are_refused():
    (sampler,) = call("AIASSampler", order=1, eta=1.0, variance=0.0, pure_start=False, correct=False)
    (guider,) = call(CFGGuider, model=base()[0], positive=condition().positive, negative=condition().negative, cfg=1.0)
    (noise,) = call("PerItemNoise", seed=0)
    sigmas = torch.tensor([14.6, 3.0, 5.0, 0.0])
    call(SamplerCustomAdvanced, noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=_latent())
