"""Segmentation networks: one file and one entry in NETWORKS each.

An entry is a factory(weights) -> module, and the module maps [B, 3, H, W] in 0 .. 1, any size, to logits
[B, 1, H, W]. weights: "pretrained" or "random"; a network of which no pretrained weights exist begins at random.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .segformer import SegFormer
from .small_unet import SmallUNet
from .unet import UNet

NETWORKS: dict[str, Callable[[str], nn.Module]] = {
    "unet": UNet,
    "small_unet": SmallUNet,
    "segformer": SegFormer,
}
