"""Changes of training crops. What is drawn depends on a generator alone, so that a stopped training repeats it."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ...errors import Refused, reason
from ...training.crops import chance

Drawn = tuple[Tensor, Tensor, Tensor]


def light(image: Tensor, mask: Tensor, weight: Tensor, generator: torch.Generator) -> Drawn:
    """Of one crop [3, R, R] with its mask and weight [R, R]: mirrored along each axis at random, contrast (.7 .. 1.3)
    and brightness (-.15 .. .15) changed.

    Not turned by right angles: parts lie as the camera sees them, and what is normal at a side edge need not be so at
    the top.
    """
    for axis in (-1, -2):
        if chance(generator) < 0.5:
            image, mask, weight = (part.flip(axis) for part in (image, mask, weight))
    gain, offset = 0.7 + 0.6 * chance(generator), 0.3 * chance(generator) - 0.15
    middle = image.mean()
    return ((image - middle) * gain + middle + offset).clamp(0, 1), mask, weight


def standard(image: Tensor, mask: Tensor, weight: Tensor, generator: torch.Generator) -> Drawn:
    """Of a batch [B, 3, R, R] with mask and weight [B, 1, R, R]: scale .8 .. 1.25, turns of up to 10 degrees, gamma,
    blur, noise and JPEG, each for a part of the crops.

    Raises Refused where kornia, whose transforms these are, is not installed.
    """
    with torch.random.fork_rng(devices=[]):  # kornia draws from torch's global generator
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        image, mask, weight = _transforms()(image, mask, weight)
    # What lies outside after a turn is neither label nor counted: its weight is 0.
    return image.clamp(0, 1), (mask > 0.5).float(), (weight > 0.5).float()


@cache
def _transforms():
    try:
        import kornia.augmentation as K
    except ImportError as error:
        raise Refused(
            "augmentation standard",
            f"it needs kornia, which cannot be imported ({reason(error)})",
            remedy="run `pip install anomaly-synthesis[eval]`, or choose light",
        ) from error
    return K.AugmentationSequential(
        K.RandomAffine(degrees=10, scale=(0.8, 1.25), padding_mode="zeros", p=0.5),
        K.RandomGamma(gamma=(0.7, 1.4), p=0.5),
        K.RandomGaussianBlur(kernel_size=(5, 5), sigma=(0.3, 1.2), p=0.2),
        K.RandomGaussianNoise(std=0.02, p=0.3),
        K.RandomJPEG(jpeg_quality=(50.0, 95.0), p=0.2),
        data_keys=["input", "mask", "mask"],
        same_on_batch=False,
    )
