"""STDC1-Seg (Fan et al., "Rethinking BiSeNet for real-time semantic segmentation", CVPR 2021), the third network of
STAGE's tables."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bisenetv2 import convolution, resized
from .small_unet import FIRST_LOGIT, pad_to_multiple

STRIDE = 32  # of the last stage; pictures are padded to two of its cells, of which batch statistics can be taken
STAGES = (256, 512, 1024)  # channels at 1/8, 1/16 and 1/32, two modules each: STDC1
CONTEXT = 128  # channels of the context path
FUSED = 256  # channels after its fusion with the first stage


class STDC1(nn.Module):
    """[B, 3, H, W] in 0 .. 1, any size -> logits [B, 1, H, W], bilinearly from an eighth of the size; 8.3 M parameters.

    Left out: the detail guidance and the auxiliary heads, which only train, and the batch normalisation of pooled
    vectors, of which a crop has a single value. `weights` has no effect: there are no pretrained ones to be had, while
    the paper's network began with ImageNet's.
    """

    def __init__(self, weights: str = "random") -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 32, stride=2), convolution(32, 64, stride=2))
        self.stages = nn.ModuleList(
            nn.Sequential(_DenseConcatenation(ins, outs, stride=2), _DenseConcatenation(outs, outs))
            for ins, outs in zip((64, *STAGES[:-1]), STAGES, strict=True)
        )
        self.context = nn.Conv2d(STAGES[-1], CONTEXT, 1)
        self.refinements = nn.ModuleList(_Refinement(channels, CONTEXT) for channels in STAGES[:0:-1])
        self.smooth = nn.ModuleList(convolution(CONTEXT, CONTEXT) for _ in self.refinements)
        self.fusion = _Fusion(STAGES[0] + CONTEXT, FUSED)
        self.head = nn.Sequential(convolution(FUSED, FUSED), nn.Conv2d(FUSED, 1, 1))
        nn.init.constant_(self.head[-1].bias, FIRST_LOGIT)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = pad_to_multiple((image - 0.5) / 0.25, STRIDE, least=2 * STRIDE)
        x, levels = self.stem(padded.contiguous(memory_format=torch.channels_last)), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        x = F.relu(self.context(_mean(x)))
        for depth, (refine, smooth) in enumerate(zip(self.refinements, self.smooth, strict=True)):
            x = smooth(resized(refine(levels[-1 - depth]) + x, levels[-2 - depth]))
        logits = self.head(self.fusion(torch.cat([levels[0], x], dim=1)))
        return resized(logits, padded)[..., :height, :width]


class _DenseConcatenation(nn.Module):
    """Short-term dense concatenate module: [B, ins, H, W] -> [B, outs, H/stride, W/stride].

    Four blocks one after the other, of a half, a quarter, an eighth and an eighth of the channels, and all are kept:
    fields of view of 1, 3, 5 and 7 side by side. The second block takes the stride.
    """

    def __init__(self, ins: int, outs: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.first = convolution(ins, outs // 2, size=1)
        self.others = nn.ModuleList(
            [
                convolution(outs // 2, outs // 4, stride=stride),
                convolution(outs // 4, outs // 8),
                convolution(outs // 8, outs // 8),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        kept = [x if self.stride == 1 else F.avg_pool2d(x, 3, self.stride, padding=1)]
        for block in self.others:
            x = block(x)
            kept.append(x)
        return torch.cat(kept, dim=1)


class _Refinement(nn.Module):
    """Attention refinement: [B, ins, H, W] -> [B, outs, H, W], each channel weighed by the picture's means."""

    def __init__(self, ins: int, outs: int):
        super().__init__()
        self.convolution = convolution(ins, outs)
        self.attention = nn.Conv2d(outs, outs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        return x * self.attention(_mean(x)).sigmoid()


class _Fusion(nn.Module):
    """Feature fusion: [B, ins, H, W] -> [B, outs, H, W], channels raised by the picture's means."""

    def __init__(self, ins: int, outs: int):
        super().__init__()
        self.convolution = convolution(ins, outs, size=1)
        self.attention = nn.Sequential(nn.Conv2d(outs, outs // 4, 1), nn.ReLU(), nn.Conv2d(outs // 4, outs, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        return x + x * self.attention(_mean(x)).sigmoid()


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)
