"""The compact LDM: a base model that trains on a CPU in minutes and serves both papers.

One model is the papers' unconditional LDM (no mask, no background given) and a mask-aware one (both given), since
each of its inputs is dropped at random in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import Refused
from ..samplers.schedule import alphas_cumprod, ldm_sigmas
from .appearance import AppearanceTokens
from .autoencoder import Autoencoder
from .unet import UNet

NORMAL = "good"
ANY = "any"  # the object of a base that is not one object's


@dataclass(frozen=True)
class CompactLDMConfig:
    """What rebuilds the networks.

    labels: (object, type) rows of the token table; type "good" is an object's normal token.
    resolution: side of the square crops that it was trained on, pixels.
    unet_widths: channels per level, multiples of 32; tokens, token_channels: k and d of a label's rows; appearance: it
    can be asked for a defect's contrast, strength and softness, see `AppearanceTokens`; edits: it was trained with the
    normal surface under the mask too, and predicts what changes there; others see the background outside only.
    """

    labels: tuple[tuple[str, str], ...]
    resolution: int = 128
    latent_channels: int = 4
    autoencoder_widths: tuple[int, int] = (32, 80)
    unet_widths: tuple[int, ...] = (64, 96, 128)
    tokens: int = 4
    token_channels: int = 128
    appearance: bool = False
    edits: bool = False


def known_type(labels: Sequence[tuple[str, str]], wanted: str) -> tuple[str, str]:
    """The (object, type) among the labels of a base that a name means: "object/type", or a type, of the first object
    that has it.

    Raises Refused with the types that the base knows.
    """
    types = [label for label in labels if label[1] != NORMAL]
    found = [label for label in types if wanted in (label[1], "/".join(label))]
    if found:
        return found[0]
    known = ", ".join(type if object == ANY else f"{object}/{type}" for object, type in types)
    raise Refused("type", f"{wanted!r}, which this base does not know", f"one of {known}")


class CompactLDM(nn.Module):
    """Autoencoder, UNet and token table. Latents are normalised to unit variance per channel."""

    def __init__(self, config: CompactLDMConfig):
        super().__init__()
        self.config = config
        self.autoencoder = Autoencoder(config.latent_channels, config.autoencoder_widths)
        self.unet = UNet(config.latent_channels, config.unet_widths, config.token_channels, config.edits)
        # The last row is the unconditional token of classifier-free guidance.
        rows = len(config.labels) + 1
        self.tokens = nn.Parameter(torch.randn(rows, config.tokens, config.token_channels))
        self.appearance = AppearanceTokens(config.token_channels) if config.appearance else None
        self.register_buffer("latent_mean", torch.zeros(1, config.latent_channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(1, config.latent_channels, 1, 1))
        self.register_buffer("abar", alphas_cumprod().float(), persistent=False)
        self.register_buffer("log_sigmas", ldm_sigmas().log().float(), persistent=False)

    @property
    def unconditional(self) -> int:
        """Row of the unconditional token."""
        return len(self.config.labels)

    def label(self, object: str, type: str) -> int:
        """Row of a type's tokens. Raises Refused with the known types where the base was not trained on it."""
        if (object, type) not in self.config.labels:
            known = ", ".join(f"{o}/{t}" for o, t in self.config.labels)
            raise Refused(f"{object}/{type}", f"this base has no tokens for it; it knows {known}")
        return self.config.labels.index((object, type))

    def context(self, rows: Tensor | Sequence[int], appearance: Tensor | None = None) -> Tensor:
        """What the UNet attends to: [B, k, d] of the token rows [B], with the tokens of their appearance [B, 3] after
        them where the base knows it (None, or NaN: the base's choice).

        Raises Refused for an appearance that the base does not know.
        """
        tokens = self.tokens[torch.as_tensor(rows, device=self.tokens.device)]
        if self.appearance is None:
            if appearance is not None:
                raise Refused(
                    "contrast, strength and softness",
                    "this base cannot be asked for them",
                    remedy="use a base that was trained on drawn surfaces (`train-base --drawn`), or leave them out",
                )
            return tokens
        free = tokens.new_full((len(tokens), 3), torch.nan)
        return torch.cat([tokens, self.appearance(free if appearance is None else appearance.to(tokens))], dim=1)

    def shown(self, mask: Tensor, background: Tensor) -> Tensor:
        """What the UNet gets of the normal image's clean latent [B, C, h, w]: the part outside mask [B, 1, h, w], and
        all of it where the base edits."""
        return background if self.config.edits else background * (1 - mask)

    def encode(self, image: Tensor) -> Tensor:
        """Latent [B, C, H/4, W/4] of an image [B, 3, H, W] in 0 .. 1, H and W multiples of 4."""
        return (self.autoencoder.encode(2 * image - 1)[0] - self.latent_mean) / self.latent_std

    def decode(self, latent: Tensor) -> Tensor:
        """Image [B, 3, H, W] in 0 .. 1."""
        return (self.autoencoder.decode(latent * self.latent_std + self.latent_mean) / 2 + 0.5).clamp(0, 1)

    def denoiser(
        self,
        labels: Sequence[int],
        mask: Tensor | None = None,
        background: Tensor | None = None,
        guidance: float = 1.0,
        tokens: Tensor | None = None,
        change: Callable[[Tensor, Tensor], Tensor] | None = None,
        appearance: Tensor | None = None,
    ) -> Callable[..., Tensor]:
        """model(x, sigma, **_) -> x0 estimate for a batch, as k-diffusion and ComfyUI call it (VE state).

        Args:
            labels: token row per item.
            mask: [B, 1, h, w]; None runs the unconditional LDM of the papers.
            background: clean latent of the normal image, [B, C, h, w], see `shown`.
            guidance: 1 is the conditional model alone; w gives uncond + w (cond - uncond).
            tokens: anomaly tokens [B, k, d] of an adapter, appended to the labels' own.
            change: (x, x0) -> x0, of the conditional and of the unconditional estimate, before guidance mixes them.
            appearance: [B, 3], see `context`.
        """
        around = None if mask is None or background is None else self.shown(mask, background)
        cond = self.context(list(labels), appearance)
        cond = cond if tokens is None else torch.cat([cond, tokens.to(cond)], dim=1)
        uncond = self.context([self.unconditional] * len(labels))

        def model(x: Tensor, sigma: Tensor, **_) -> Tensor:
            t = (self.log_sigmas - sigma.float().log()[:, None]).abs().argmin(1)
            spread = sigma.view(-1, 1, 1, 1)
            norm = (1 + spread**2).sqrt()

            def estimate(context: Tensor) -> Tensor:
                # v = sqrt(abar) eps - sqrt(1 - abar) x0, so x0 = sqrt(abar) x_vp - sqrt(1 - abar) v.
                x0 = (x / norm - spread * self.unet(x / norm, t, context, mask, around)) / norm
                return x0 if change is None else change(x, x0)

            x0 = estimate(cond)
            if guidance == 1:
                return x0
            x0_uncond = estimate(uncond)
            return x0_uncond + guidance * (x0 - x0_uncond)

        return model
