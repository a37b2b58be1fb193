"""A U-Net of half a million parameters that a CPU trains in minutes and that still marks defects of two pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128)  # at 1/2, 1/4, 1/8 and 1/16 of the image's size
FULL = 8  # channels at full resolution, where every channel costs most
_GROUP = 8  # channels that are normalised together
# Nearly every pixel is normal: a network that begins by saying so need not first unlearn false alarms.
FIRST_LOGIT = -4.0


class SmallUNet(nn.Module):
    """[B, 3, H, W] in 0 .. 1, any size -> logits [B, 1, H, W].

    The outer level works on 2 x 2 blocks of pixels; a thin branch at full resolution gives the output back the edges.
    `weights` has no effect: there are no pretrained ones.
    """

    def __init__(self, weights: str = "random") -> None:
        super().__init__()
        ins = (12, *WIDTHS[:-1])
        self.down = nn.ModuleList(_level(i, o) for i, o in zip(ins, WIDTHS, strict=True))
        self.up = nn.ModuleList(
            _level(coarse + fine, fine) for fine, coarse in zip(WIDTHS[:-1], WIDTHS[1:], strict=True)
        )
        self.fine = _convolution(3, FULL)
        self.spread = nn.Conv2d(WIDTHS[0], 4 * FULL, 1)
        self.merge = _convolution(2 * FULL, FULL)
        self.logits = nn.Conv2d(FULL, 1, 1)
        nn.init.constant_(self.logits.bias, FIRST_LOGIT)
        self.to(memory_format=torch.channels_last)  # a fifth faster on a CPU

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x = pad_to_multiple((image - 0.5) / 0.25, 2 ** len(WIDTHS)).contiguous(memory_format=torch.channels_last)
        fine, skips = self.fine(x), []
        x = F.pixel_unshuffle(x, 2)
        for depth, level in enumerate(self.down):
            x = level(F.max_pool2d(x, 2) if depth else x)
            skips.append(x)
        for level, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        x = self.merge(torch.cat([F.pixel_shuffle(self.spread(x), 2), fine], dim=1))
        return self.logits(x)[..., :height, :width]


def pad_to_multiple(image: Tensor, multiple: int, least: int = 0) -> Tensor:
    """[B, C, H, W] with its last row and column repeated up to the next multiple, and up to `least`, which is one too;
    an image of one pixel will do."""
    height, width = (max(-length % multiple, least - length) for length in image.shape[-2:])
    return F.pad(image, (0, width, 0, height), mode="replicate")


def _level(ins: int, outs: int) -> nn.Sequential:
    return nn.Sequential(_convolution(ins, outs), _convolution(outs, outs))


def _convolution(ins: int, outs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(ins, outs, 3, padding=1, bias=False), nn.GroupNorm(outs // _GROUP, outs), nn.SiLU())
