"""MGA, the Mask Guidance Adapter (STAGE): a small head on a frozen denoiser's noise estimate, given the mask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..choices import HEADS
from ..errors import Refused
from ..samplers.graded import BRANCHES
from .unet import time_embedding

WIDTHS = HEADS["paper"]
SMALL = HEADS["small"]  # a tenth of the time; enough beside a compact base
TIME = 128  # channels of the sinusoidal embedding
_GROUP = 16  # channels that are normalised together


class MGA(nn.Module):
    """eps' = eps + h(eps, M, t) (STAGE, Sec. III-D): five 3x3 convolutions, widths 64-256-512-256-64, and a 1x1.

    The last layer starts at zero, so that an untrained head is the frozen denoiser; the published form answers with
    noise of its own until it has learned to repeat what it was given. The noise level is an input, since one answer for
    all of them is their mean; group norm, since a batch mixes levels and masks.
    """

    def __init__(
        self, latent_channels: int, *, branch: str | None = None, released: bool = False, widths: Sequence[int] = WIDTHS
    ):
        """
        Args:
            latent_channels: C of the base's latents.
            branch: whose head it is, one of BRANCHES, so that the sampler refuses it on the other; None serves either.
            released: the form of the released weights: h(eps, M repeated to C) in place of eps, batch norm, no time.
            widths: channels of the 3x3 convolutions, multiples of 16.

        Raises:
            Refused: an unknown branch, no latent channel, or widths that do not divide.
        """
        super().__init__()
        fits = latent_channels >= 1 and widths and all(width > 0 and width % _GROUP == 0 for width in widths)
        if branch not in (None, *BRANCHES) or not fits:
            raise Refused(
                "MGA",
                f"branch {branch!r}, {latent_channels} latent channels, widths {list(widths)}",
                f"{' or '.join(BRANCHES)}, at least one channel, and multiples of {_GROUP}",
            )
        self.latent_channels, self.branch, self.released, self.widths = latent_channels, branch, released, tuple(widths)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((latent_channels * 2 if released else latent_channels + 1, *widths)):
            norm = nn.BatchNorm2d(outputs) if released else nn.GroupNorm(outputs // _GROUP, outputs)
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), norm, nn.ReLU()]
        self.conv = nn.Sequential(*layers, nn.Conv2d(widths[-1], latent_channels, 1))
        self.time = (
            None if released else nn.Sequential(nn.Linear(TIME, widths[0]), nn.SiLU(), nn.Linear(widths[0], widths[0]))
        )
        if not released:
            nn.init.zeros_(self.conv[-1].weight)
            nn.init.zeros_(self.conv[-1].bias)

    def forward(self, eps: Tensor, mask: Tensor, t: Tensor) -> Tensor:
        """The adapted noise estimate, [B, C, h, w].

        Args:
            eps: the frozen denoiser's, [B, C, h, w], any size.
            mask: the branch's mask, [B, 1, h, w] in 0 .. 1: Mp(t) for "aware", M0 for "only".
            t: [B], 0 .. 999; the released form does not read it.
        """
        mask = mask.to(eps).expand(-1, self.latent_channels if self.released else 1, -1, -1)
        found = torch.cat([eps, mask.expand(len(eps), -1, -1, -1)], dim=1)
        if self.time is None:
            return self.conv(found)
        # Conv and norm of the first block, the time, then the rest: a shift before the norm would be taken out again.
        level = self.time(time_embedding(t, TIME).to(eps))[:, :, None, None]
        return eps + self.conv[2:](self.conv[:2](found) + level)
