"""FARM, the Foreground-Aware Reconstruction Module (FAST): from a noisy state to the anomaly alone, clean."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..choices import NORMS
from ..errors import Refused
from .unet import time_embedding

WIDTHS = (64, 128, 256)
TIME = 128  # channels of the sinusoidal embedding
_GROUP = 16  # channels that are normalised together


class FARM(nn.Module):
    """F(x_t, t, M), an estimate of M * x0 (FAST, Sec. 3.3).

    An encoder of three levels, a soft mask that lets a part of the background through, by the noise level, and
    a decoder that is shown the mask at every size. Beyond the paper it can take the clean background and the type:
    without the background it guesses the exposure from noise; without the type a module for several types answers with
    their mean.
    """

    def __init__(
        self, latent_channels: int, *, token_channels: int = 0, told_background: bool = True, norm: str = "group"
    ):
        """
        Args:
            latent_channels: C of the base's latents.
            token_channels: length of an anomaly token; 0 for a module without the type (the paper).
            told_background: whether `forward` gets the clean background (the paper: not).
            norm: "group" suits batches of one and of mixed noise levels; "batch" is the paper's.

        Raises:
            Refused: an unknown norm, or no latent channel.
        """
        super().__init__()
        if norm not in NORMS or latent_channels < 1:
            raise Refused(
                "FARM",
                f"norm {norm!r} and {latent_channels} latent channels",
                f"{' or '.join(NORMS)}, and at least one channel",
            )
        self.latent_channels, self.token_channels = latent_channels, token_channels
        self.told_background, self.norm = told_background, norm
        inputs = (latent_channels * (2 if told_background else 1), *WIDTHS[:-1])
        self.encoder = nn.ModuleList(
            nn.Sequential(_convolution(i, o, norm), _convolution(o, o, norm))
            for i, o in zip(inputs, WIDTHS, strict=True)
        )
        self.bottleneck = nn.Conv2d(WIDTHS[-1], WIDTHS[-1], 1)
        self.time = nn.Sequential(nn.Linear(TIME, WIDTHS[-1]), nn.SiLU(), nn.Linear(WIDTHS[-1], WIDTHS[-1]))
        self.background_gate = nn.Sequential(nn.Linear(TIME, TIME), nn.SiLU(), nn.Linear(TIME, 1))
        self.type_proj = nn.Linear(token_channels, WIDTHS[-1]) if token_channels else None
        self.decoder = nn.ModuleList(
            _convolution(coarse + 1, fine, norm) for coarse, fine in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True)
        )
        self.outlet = nn.Conv2d(WIDTHS[0] + 1, latent_channels, 3, padding=1)

    def forward(
        self, x_vp: Tensor, t: Tensor, mask: Tensor, background: Tensor | None = None, tokens: Tensor | None = None
    ) -> Tensor:
        """The anomaly's clean latent, [B, C, h, w]; it means something where the mask is 1.

        Args:
            x_vp: VP-normalised state x / sqrt(alpha^2 + sigma^2), [B, C, h, w], any size.
            t: [B], 0 .. 999.
            mask: [B, 1, h, w] in 0 .. 1.
            background: clean latent of the normal image, [B, C, h, w], read outside the mask only.
            tokens: the type's anomaly tokens, [B, k, d].

        Raises:
            Refused: background or tokens missing where the module was made with them.
        """
        height, width = x_vp.shape[2:]
        unit = 2 ** (len(WIDTHS) - 1)
        edge = (0, -width % unit, 0, -height % unit)
        mask = F.pad(mask.to(x_vp), edge)
        sizes = [mask, F.max_pool2d(mask, 2), F.max_pool2d(mask, unit)]
        x = F.pad(self._conditioned(x_vp, mask[..., :height, :width], background), edge, mode="replicate")
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if level else x)
        embedding = time_embedding(t, TIME).to(x)
        shown = sizes[2] + (1 - sizes[2]) * self.background_gate(embedding).sigmoid()[:, :, None, None]
        x = shown * self.bottleneck(x) + self._condition(embedding, tokens)[:, :, None, None]
        for block, size in zip(self.decoder, sizes[1::-1], strict=True):
            x = F.interpolate(x, size.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, size], dim=1))
        return self.outlet(torch.cat([x, mask], dim=1))[..., :height, :width]

    def _conditioned(self, x_vp: Tensor, mask: Tensor, background: Tensor | None) -> Tensor:
        if not self.told_background:
            return x_vp
        if background is None:
            raise Refused("background", "FARM was trained with the clean one and got none", remedy="give background")
        return torch.cat([x_vp, (1 - mask) * background.to(x_vp)], dim=1)

    def _condition(self, embedding: Tensor, tokens: Tensor | None) -> Tensor:
        condition = self.time(embedding)
        if self.type_proj is None:
            return condition
        if tokens is None:
            raise Refused("tokens", "FARM was trained for several types and got none", remedy="give the type's tokens")
        return condition + self.type_proj(tokens.to(condition).mean(1))


def _convolution(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    layer = nn.GroupNorm(outputs // _GROUP, outputs) if norm == "group" else nn.BatchNorm2d(outputs)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), layer, nn.ReLU())
