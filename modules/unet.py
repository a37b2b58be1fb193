"""A small cross-attention UNet on latents, with the mask and the background as optional further inputs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..samplers.schedule import alphas_cumprod


def time_embedding(t: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding [B, dim] of t [B] in 0 .. 999."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    """Two normalised convolutions; the embedding scales and shifts between them. Starts as the identity."""

    def __init__(self, inputs: int, outputs: int, embedding: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(16, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm2, self.conv2 = nn.GroupNorm(16, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(c)) v over the last two axes, [..., n, c]."""
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        # On sequences this short, PyTorch's fused kernel costs four times the plain product, backward pass included.
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1).to(v) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Attention of the queries' sequence to `context`, heads of 32 channels."""

    def __init__(self, channels: int, context: int):
        super().__init__()
        self.heads = channels // 32
        self.norm = nn.LayerNorm(channels)
        self.q = nn.Linear(channels, channels, bias=False)
        self.kv = nn.Linear(context, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        normed = self.norm(x)
        k, v = self.kv(normed if context is None else context).chunk(2, dim=-1)
        q, k, v = (rearrange(s, "b n (h c) -> b h n c", h=self.heads) for s in (self.q(normed), k, v))
        return x + self.out(rearrange(attend(q, k, v), "b h n c -> b n (h c)"))


class Transformer(nn.Module):
    """Self-attention, cross-attention to the tokens, and a feed-forward layer, over all places of the map."""

    def __init__(self, channels: int, context: int):
        super().__init__()
        self.to_self, self.to_tokens = Attention(channels, channels), Attention(channels, context)
        self.feed = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height = x.shape[2]
        x = rearrange(x, "b c h w -> b (h w) c")
        x = self.to_tokens(self.to_self(x), context)
        return rearrange(x + self.feed(x), "b (h w) c -> b c h w", h=height)


class Stage(nn.Module):
    """A residual block and, where `attend`, a transformer after it."""

    def __init__(self, inputs: int, outputs: int, embedding: int, context: int, attend: bool):
        super().__init__()
        self.block = ResBlock(inputs, outputs, embedding)
        self.attention = Transformer(outputs, context) if attend else None

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor) -> Tensor:
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x, context)


class UNet(nn.Module):
    """v-prediction of a noisy latent.

    edits: it works on what is to change, r = x0 - background. The background's part of the state is taken out of the
    input, and put back into the answer. A gate per cell and channel says how much of what is left is noise: where it is
    1, r is 0 and the background stays, exactly and at any noise level.

    The first level has no attention (its maps are large), the deeper ones have. Maps are halved between levels; a
    size that does not divide is padded by its edge and cut back.
    """

    def __init__(self, latent_channels: int, widths: tuple[int, ...], context: int, edits: bool = False):
        super().__init__()
        self.edits = edits
        self.register_buffer("abar", alphas_cumprod().float(), persistent=False)
        embedding = 4 * widths[0]
        self.time = nn.Sequential(nn.Linear(widths[0], embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.pooled = nn.Linear(context, embedding)
        self.inlet = nn.Conv2d(2 * latent_channels + 1, widths[0], 3, padding=1)
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        for level, width in enumerate(widths):
            before, attend = widths[max(level - 1, 0)], level > 0
            if level:
                self.shrink.append(nn.Conv2d(before, before, 3, stride=2, padding=1))
                self.grow.append(nn.Conv2d(width, before, 3, padding=1))
            self.down.append(Stage(before, width, embedding, context, attend))
            self.up.append(
                nn.ModuleList(
                    [
                        Stage(2 * width, width, embedding, context, attend),
                        Stage(width, width, embedding, context, False),
                    ]
                )
            )
        self.middle = Stage(widths[-1], widths[-1], embedding, context, True)
        self.outlet = nn.Sequential(
            nn.GroupNorm(16, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], latent_channels * (1 + edits), 3, padding=1)
        )
        nn.init.zeros_(self.outlet[-1].weight)
        nn.init.zeros_(self.outlet[-1].bias)

    def forward(
        self, x: Tensor, t: Tensor, context: Tensor, mask: Tensor | None = None, background: Tensor | None = None
    ) -> Tensor:
        """v [B, C, h, w] of the VP state x.

        Args:
            x: VP-normalised state [B, C, h, w].
            t: [B], 0 .. 999.
            context: tokens [B, k, d].
            mask: [B, 1, h, w] in 0 .. 1, NaN-free; None where the model is not to know it.
            background: clean latent [B, C, h, w], zero where it is not to be known; None: nowhere.
        """
        # An absent mask is 0 everywhere, a given one is -1 outside and 1 inside; an absent background is all zero.
        mask_channel = torch.zeros_like(x[:, :1]) if mask is None else 2 * mask - 1
        background_channels = torch.zeros_like(x) if background is None else background
        return self.forward_concatenated(torch.cat([x, mask_channel, background_channels], dim=1), t, context)

    def forward_concatenated(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """The same from the ready stack of state, mask (-1, 0, 1) and background, [B, 2 C + 1, h, w]."""
        if self.edits:
            abar = self.abar[t.round().long()].to(x.dtype)[:, None, None, None]
            channels = (x.shape[1] - 1) // 2
            state, known = x[:, :channels], x[:, channels + 1 :]
            change = state - abar.sqrt() * known
            v, gate = self._predicted(torch.cat([change, x[:, channels:]], dim=1), t, context).chunk(2, dim=1)
            # A state of noise alone, sqrt(1 - abar) e, has v = sqrt(abar) e.
            noise = (abar / (1 - abar)).sqrt() * change
            return v + gate.sigmoid() * noise - (1 - abar).sqrt() * known
        return self._predicted(x, t, context)

    def _predicted(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        height, width = x.shape[2:]
        unit = 2 ** len(self.shrink)
        x = F.pad(x, (0, -width % unit, 0, -height % unit), mode="replicate")
        embedding = F.silu(
            self.time(time_embedding(t, self.time[0].in_features).to(x.dtype)) + self.pooled(context.mean(1))
        )
        x = self.inlet(x)
        skips = []
        for level, stage in enumerate(self.down):
            if level:
                x = self.shrink[level - 1](x)
            x = stage(x, embedding, context)
            skips.append(x)
        x = self.middle(x, embedding, context)
        for level in reversed(range(len(self.up))):
            x = torch.cat([x, skips[level]], dim=1)
            for stage in self.up[level]:
                x = stage(x, embedding, context)
            if level:
                x = self.grow[level - 1](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.outlet(x)[:, :, :height, :width]
