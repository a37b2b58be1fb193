"""What AIAS refuses."""

import pytest
import torch
from anomaly_synthesis.samplers.aias import sample_aias

from .sampler_toys import SHAPE, SIGMAS, denoiser, fill, forbidden, start


def spoiled(value, *shape):
    tensor = torch.zeros(*shape, dtype=torch.float64)
    tensor.view(-1)[-1] = value
    return tensor


MASK, BACKGROUND = torch.ones(2, 1, 6, 5), torch.zeros(SHAPE)
MASKED = {"mask": MASK, "background": BACKGROUND}


@pytest.mark.parametrize(
    "options, words",
    [
        ({"x": spoiled(float("nan"), *SHAPE)}, "the starting latent holds NaN"),
        ({"x": spoiled(float("inf"), *SHAPE)}, "the starting latent holds NaN"),
        ({"mask": MASK}, "a mask came without a background"),
        ({"mask": MASK, "background": spoiled(float("nan"), *SHAPE)}, "the background latent holds NaN"),
        ({"mask": spoiled(float("nan"), 2, 1, 6, 5), "background": BACKGROUND}, "the mask holds"),
        ({"mask": spoiled(1.5, 2, 1, 6, 5), "background": BACKGROUND}, "the mask holds"),
        ({"mask": -MASK, "background": BACKGROUND}, "the mask holds"),
        ({"mask": torch.ones(2, 1, 6, 4), "background": BACKGROUND}, "the mask is "),
        ({"mask": torch.ones(2, 3, 6, 5), "background": BACKGROUND}, "the mask is "),
        ({"mask": torch.ones(3, 1, 6, 5), "background": BACKGROUND}, "the mask is "),
        ({"mask": torch.ones(6, 5), "background": BACKGROUND}, "the mask is "),
        ({"mask": MASK, "background": torch.zeros(2, 4, 6, 5)}, "the background is "),
        ({"seeds": [1]}, "1 seeds for a batch of 2"),
        ({"sigmas": torch.tensor([1.0, 2.0, 0.0])}, "sigmas must descend"),
        ({"sigmas": torch.tensor([2.0, 2.0, 0.0])}, "sigmas must descend"),
        ({"sigmas": torch.tensor([2.0, 1.0, -1.0])}, "sigmas must descend"),
        ({"sigmas": torch.tensor([0.0])}, "sigmas must descend"),
        ({"sigmas": torch.tensor([float("nan"), 1.0, 0.0])}, "sigmas must descend"),
        ({"order": 3}, "order is 3"),
        ({**MASKED, "foreground": fill, "foreground_mode": "renoise", "correct": True}, "renoise changes the states"),
        ({"foreground": fill}, "a foreground came without a mask"),
        ({**MASKED, "foreground": fill, "foreground_mode": "paste"}, "foreground_mode is 'paste'"),
        ({**MASKED, "foreground": fill, "foreground_strength": 1.5}, "foreground_strength is 1.5"),
        ({**MASKED, "foreground": fill, "foreground_mode": "renoise", "foreground_strength": 0.5}, "foreground_streng"),
    ],
)
def test_bad_input_is_refused_before_the_model_runs(options, words):
    options = {"x": start(), "sigmas": SIGMAS, **options}
    with pytest.raises(ValueError, match=f"^AIAS: {words}"):
        sample_aias(forbidden, options.pop("x"), options.pop("sigmas"), **options)


@pytest.mark.parametrize("options", [{"eta": 1.5}, {"eta": -1.0}, {"variance": 2.0}, {"variance": 0.5, "eta": 0.5}])
def test_options_of_the_transition_are_refused_too(options):
    with pytest.raises(ValueError, match="must lie in 0 .. 1|for eta = 1 only"):
        sample_aias(denoiser, start(), SIGMAS, **options)
