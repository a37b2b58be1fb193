"""Segmentation networks: one file and one entry in NETWORKS each.

An entry is a factory() -> module, and the module maps [B, 3, H, W] in 0 .. 1, any size, to logits [B, 1, H, W].
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .segformer import SegFormer
from .small_unet import SmallUNet

NETWORKS: dict[str, Callable[[], nn.Module]] = {"small_unet": SmallUNet, "segformer": SegFormer}
