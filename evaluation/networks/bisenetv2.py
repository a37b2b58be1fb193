"""BiSeNet V2 (Yu et al., IJCV 2021), one of the three networks that STAGE's tables are measured with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .small_unet import FIRST_LOGIT, pad_to_multiple

STRIDE = 32  # the semantic branch's; pictures are padded to two of its cells, of which batch statistics can be taken
WIDE = 128  # channels of either branch's result
HEAD = 1024  # channels of the head
EXPANSION = 6  # of the channels inside a gather-and-expansion layer


class BiSeNetV2(nn.Module):
    """[B, 3, H, W] in 0 .. 1, any size -> logits [B, 1, H, W], bilinearly from an eighth of the size; 3.3 M parameters.

    A detail branch (wide, shallow, at 1/8) and a semantic branch (narrow, deep, at 1/32) each gate the other's result.
    Left out: the auxiliary heads of the paper's booster training, and the batch normalisation of the pooled vector in
    the context embedding, of which a crop has a single value. `weights` has no effect: there are no pretrained ones.
    """

    def __init__(self, weights: str = "random") -> None:
        super().__init__()
        self.detail = nn.Sequential(
            convolution(3, 64, stride=2),
            convolution(64, 64),
            convolution(64, 64, stride=2),
            convolution(64, 64),
            convolution(64, 64),
            convolution(64, WIDE, stride=2),
            convolution(WIDE, WIDE),
            convolution(WIDE, WIDE),
        )
        self.semantic = nn.Sequential(
            _Stem(16),
            _DownGather(16, 32),
            _Gather(32),
            _DownGather(32, 64),
            _Gather(64),
            _DownGather(64, WIDE),
            _Gather(WIDE),
            _Gather(WIDE),
            _Gather(WIDE),
            _Context(WIDE),
        )
        self.aggregation = _Aggregation(WIDE)
        self.head = nn.Sequential(convolution(WIDE, HEAD), nn.Conv2d(HEAD, 1, 1))
        nn.init.constant_(self.head[-1].bias, FIRST_LOGIT)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = pad_to_multiple((image - 0.5) / 0.25, STRIDE, least=2 * STRIDE)
        padded = padded.contiguous(memory_format=torch.channels_last)
        logits = self.head(self.aggregation(self.detail(padded), self.semantic(padded)))
        return resized(logits, padded)[..., :height, :width]


class _Stem(nn.Module):
    """[B, 3, H, W] -> [B, C, H/4, W/4]: a convolution and a max pooling side by side, then fused."""

    def __init__(self, outs: int):
        super().__init__()
        self.first = convolution(3, outs, stride=2)
        self.left = nn.Sequential(convolution(outs, outs // 2, size=1), convolution(outs // 2, outs, stride=2))
        self.fuse = convolution(2 * outs, outs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.fuse(torch.cat([self.left(x), F.max_pool2d(x, 3, stride=2, padding=1)], dim=1))


class _Gather(nn.Module):
    """Gather-and-expansion layer: [B, C, H, W] -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        inner = EXPANSION * channels
        self.path = nn.Sequential(
            convolution(channels, channels),
            convolution(channels, inner, groups=channels),
            convolution(inner, channels, size=1, active=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.path(x))


class _DownGather(nn.Module):
    """Gather-and-expansion layer of stride 2: [B, C, H, W] -> [B, outs, H/2, W/2]."""

    def __init__(self, ins: int, outs: int):
        super().__init__()
        inner = EXPANSION * ins
        self.path = nn.Sequential(
            convolution(ins, ins),
            convolution(ins, inner, stride=2, groups=ins, active=False),
            convolution(inner, inner, groups=inner),
            convolution(inner, outs, size=1, active=False),
        )
        self.shortcut = nn.Sequential(
            convolution(ins, ins, stride=2, groups=ins, active=False), convolution(ins, outs, size=1, active=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.path(x))


class _Context(nn.Module):
    """Context embedding: adds the mean over the picture to every place."""

    def __init__(self, channels: int):
        super().__init__()
        self.mean = nn.Conv2d(channels, channels, 1)
        self.fuse = convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(x + F.relu(self.mean(x.mean((2, 3), keepdim=True))))


class _Aggregation(nn.Module):
    """Bilateral guided aggregation: detail [B, C, H, W] and semantic [B, C, H/4, W/4] -> [B, C, H, W]."""

    def __init__(self, channels: int):
        super().__init__()
        self.detail_fine = _separable(channels)
        self.detail_coarse = convolution(channels, channels, stride=2, active=False)
        self.semantic_fine = convolution(channels, channels, active=False)
        self.semantic_coarse = _separable(channels)
        self.fuse = convolution(channels, channels, active=False)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        coarse = F.avg_pool2d(self.detail_coarse(detail), 3, stride=2, padding=1)
        coarse = coarse * self.semantic_coarse(semantic).sigmoid()
        fine = self.detail_fine(detail) * resized(self.semantic_fine(semantic), detail).sigmoid()
        return self.fuse(fine + resized(coarse, detail))


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        convolution(channels, channels, groups=channels, active=False), nn.Conv2d(channels, channels, 1, bias=False)
    )


def convolution(
    ins: int, outs: int, size: int = 3, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution, batch normalisation and, where it is active, ReLU."""
    layers = [
        nn.Conv2d(ins, outs, size, stride, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outs),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if active else nn.Sequential(*layers)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """x, bilinearly at the height and width of `like`."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
