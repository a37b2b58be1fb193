"""Segmentation networks: one file and one entry in NETWORKS each.

An entry is a factory(weights) -> module, and the module maps [B, 3, H, W] in 0 .. 1, any size, to logits
[B, 1, H, W]. weights: "pretrained" or "random"; a network of which no pretrained weights exist begins at random.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .bisenetv2 import BiSeNetV2
from .segformer import SegFormer
from .small_unet import SmallUNet
from .stdc import STDC1
from .unet import UNet

NETWORKS: dict[str, Callable[[str], nn.Module]] = {
    "unet": UNet,
    "small_unet": SmallUNet,
    "segformer": SegFormer,
    "bisenetv2": BiSeNetV2,
    "stdc1": STDC1,
}

# Beginnings of the names of weights that "pretrained" loads: they learn at a lower rate.
PRETRAINED = ("body.encoder.", "body.segformer.")
