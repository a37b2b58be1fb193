"""Inputs that Refine Pairs refuses, with its name in front, before the model is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from .other_models import random_tokens, sd15, sd15_latent
from .refined_scenes import eight_drawn, two_drawn, watched
from .scenes import base, condition, eight, ksampler, refused


@contextmanager
def unsampled(*words: str) -> Iterator[None]:
    with watched("sampled") as runs, refused("Refine Pairs: ", *words):
        yield
    assert not runs


def check_rounds_below_1_are_refused():
    with unsampled("rounds: 0", "at least 1"):
        two_drawn().refined(rounds=0)


def check_other_numbers_are_refused():
    two, batch = two_drawn(), eight()
    for changed, words in (
        ({"image": two.images[:1]}, ("normal: 2 images, the batch 1",)),
        ({"normal": batch.images[:3]}, ("normal: 3 images",)),
        ({"mask": batch.masks[:3]}, ("3 masks for 2 images",)),
        ({"scores": two.scores[:1]}, ("1 scores for 2 images", "Compose Pair")),
        ({"latent": eight_drawn().inputs["latent"]}, ("latents, but there are 2 windows", "Defect Latent")),
        ({"crop": eight_drawn().inputs["crop"]}, ("crop: of 8 images", "that were cropped")),
        (
            {"positive": condition(type="scratch\nstain\nscratch").positive},
            ("positive: a conditioning for 3", "one line"),
        ),
    ):
        with unsampled(*words):
            two.refined(**changed)


def check_inputs_of_another_batch_are_refused():
    two, batch = two_drawn(), eight()
    for changed, words in (
        ({"scores": two.scores[::-1]}, ("scores: not those of image 0", "of one Compose Pair")),
        ({"image": two.images.flip(0)}, ("differs from its normal image outside the mask",)),
        ({"mask": batch.masks[2:4]}, ("mask: not the one",)),
        ({"crop": None}, ("images: 128 x 128 (height x width); accepted is 256 x 256", "the crop")),
    ):
        with unsampled(*words):
            two.refined(**changed)


def check_the_sampled_latent_is_refused():
    two = two_drawn()
    made = ksampler(base()[0], condition(), two.inputs["latent"])
    with unsampled("scores: not those of image", "Defect Latent's and not the sampler's"):
        two.refined(latent=two.inputs["latent"] | {"samples": made})


def check_a_latent_without_mask_is_refused():
    samples = two_drawn().inputs["latent"]["samples"]
    for given, words in ((samples, ("without noise_mask",)), (torch.zeros_like(samples), ("latent: empty",))):
        with unsampled(*words, "Defect Latent"):
            two_drawn().refined(latent={"samples": given})


def check_another_models_latent_and_vae_are_refused():
    two, (latent, _) = two_drawn(), sd15_latent()
    sixteen = {"samples": torch.ones(2, 16, 32, 32), "noise_mask": torch.ones(2, 1, 32, 32)}
    with unsampled("latent: 16 channels, the model 4"):
        two.refined(latent=sixteen)
    other = type("Other", (), {"latent_channels": 16})()
    with unsampled("4 channels, the VAE 16"):
        two.refined(vae=other)
    with unsampled("images: 32 x 40 (height x width); accepted is 128 x 128"):
        two.refined(model=sd15(), positive=random_tokens().positive, latent=latent)


def check_sigmas_without_a_step_are_refused():
    for sigmas in (torch.FloatTensor([]), torch.tensor([0.0])):
        with unsampled("sigmas: no step"):
            two_drawn().refined(sigmas=sigmas)


def check_scores_without_a_composing_mode_are_refused():
    two = two_drawn()
    first, second = two.scores
    pasted = replace(second, composing=replace(second.composing, mode="paste"))
    for scores in ([first, replace(second, composing=None)], [first, pasted]):
        with unsampled("do not name one way", "one Compose Pair"):
            two.refined(scores=scores)


def check_what_the_sampler_refuses_is_said_under_the_node_s_name():
    with refused("Refine Pairs: positive: ", "tokens of 768 channels"):
        two_drawn().refined(positive=random_tokens().positive)
