"""Input that AIAS refuses."""

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias

from .refusals import refused
from .sampler_toys import SHAPE, SIGMAS, denoiser, fill, forbidden, start


def with_value(value, *shape):
    tensor = torch.zeros(*shape, dtype=torch.float64)
    tensor.view(-1)[-1] = value
    return tensor


MASK, BACKGROUND = torch.ones(2, 1, 6, 5), torch.zeros(SHAPE)
MASKED = {"mask": MASK, "background": BACKGROUND}


@pytest.mark.parametrize(
    "options, subject, words",
    [
        ({"x": with_value(float("nan"), *SHAPE)}, "starting latent", "it holds NaN"),
        ({"x": with_value(float("inf"), *SHAPE)}, "starting latent", "it holds NaN"),
        ({"mask": MASK}, "mask", "it came without a background"),
        ({"mask": MASK, "background": with_value(float("nan"), *SHAPE)}, "background latent", "it holds NaN"),
        (
            {"mask": with_value(float("nan"), 2, 1, 6, 5), "background": BACKGROUND},
            "mask",
            "it holds NaN or values outside 0 .. 1",
        ),
        (
            {"mask": with_value(1.5, 2, 1, 6, 5), "background": BACKGROUND},
            "mask",
            "it holds NaN or values outside 0 .. 1",
        ),
        ({"mask": -MASK, "background": BACKGROUND}, "mask", "it holds NaN or values outside 0 .. 1"),
        ({"mask": torch.ones(2, 1, 6, 4), "background": BACKGROUND}, "mask", r"\(2, 1, 6, 4\) for a latent of"),
        ({"mask": torch.ones(2, 3, 6, 5), "background": BACKGROUND}, "mask", r"\(2, 3, 6, 5\) for"),
        ({"mask": torch.ones(3, 1, 6, 5), "background": BACKGROUND}, "mask", r"\(3, 1, 6, 5\) for"),
        ({"mask": torch.ones(6, 5), "background": BACKGROUND}, "mask", r"\(6, 5\) for"),
        ({"mask": MASK, "background": torch.zeros(2, 4, 6, 5)}, "background", r"\(2, 4, 6, 5\) for"),
        ({"seeds": [1]}, "seeds", "1 for a batch of 2"),
        ({"sigmas": torch.tensor([1.0, 2.0, 0.0])}, "sigmas", "do not descend strictly"),
        ({"sigmas": torch.tensor([2.0, 2.0, 0.0])}, "sigmas", "do not descend strictly"),
        ({"sigmas": torch.tensor([2.0, 1.0, -1.0])}, "sigmas", "do not descend strictly"),
        ({"sigmas": torch.tensor([0.0])}, "sigmas", "do not descend strictly"),
        ({"sigmas": torch.tensor([float("nan"), 1.0, 0.0])}, "sigmas", "do not descend strictly"),
        ({"order": 3}, "order", "^3$"),
        (
            {**MASKED, "foreground": fill, "foreground_mode": "renoise", "correct": True},
            "foreground_mode",
            "renoise changes the states",
        ),
        ({"foreground": fill}, "foreground", "it came without a mask"),
        ({**MASKED, "foreground": fill, "foreground_mode": "paste"}, "foreground_mode", "'paste'"),
        ({**MASKED, "foreground": fill, "foreground_strength": 1.5}, "foreground_strength", "^1.5$"),
        (
            {**MASKED, "foreground": fill, "foreground_mode": "renoise", "foreground_strength": 0.5},
            "foreground_strength",
            "^0.5$",
        ),
    ],
)
def test_bad_input_is_refused_before_the_model_runs(options, subject, words):
    options = {"x": start(), "sigmas": SIGMAS, **options}
    with refused(f"^{subject}$", words):
        sample_aias(forbidden, options.pop("x"), options.pop("sigmas"), **options)


@pytest.mark.parametrize("options", [{"eta": 1.5}, {"eta": -1.0}, {"variance": 2.0}, {"variance": 0.5, "eta": 0.5}])
def test_options_of_the_transition_are_refused_too(options):
    with refused(f"^{next(iter(options))}$", accepted="0 .. 1"):
        sample_aias(denoiser, start(), SIGMAS, **options)
