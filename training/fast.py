"""FAST's training: anomaly tokens and FARM beside a frozen denoiser, one run for all types."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..modules.fast import FastModules
from .adapter_loop import Curve, train_modules
from .defects import balanced_draw, check_latents, places_by_type
from .frozen import Frozen, Latents
from .loop import Loss, balanced, mixed
from .settings import FastTraining

DENOISER, FOREGROUND = 2.0, 5.0  # weights of the two losses (FAST, Sec. 3.4)
LEVELS, AT_ONCE = (100, 300, 500, 700, 900), 16  # t that are looked at, and latents at a time


def train_fast(
    base: Frozen,
    types: Sequence[tuple[str, str]],
    latents: Latents,
    held_out: Latents,
    settings: FastTraining,
    *,
    device: str | torch.device = "cpu",
    **options,
) -> tuple[FastModules, Curve]:
    """Train tokens and FARM (FAST, Sec. 3.4; method of the loss in `fast_loss`).

    Args:
        base: frozen; its weights must not require gradients.
        types: (object, type) by row.
        latents: of the training part's defects, mask and all; every type should have some.
        held_out: of groups that do not train, for the curve; may be empty.
        options: see `train_modules`.

    Returns:
        as `train_modules`; the error is FARM's, squared, inside the masks of the held-out latents over the latents' own
        square: 1 is what an answer of 0 gets.

    Raises:
        ValueError: no latents, or an empty mask among them; as `train_modules`.
    """
    check_latents(latents, types)
    modules, loss = prepare(base, types, latents, settings, device)
    measure = HeldOutError(base, held_out, len(types))
    return train_modules(base.network, modules, loss, measure, types, settings, **options)


def prepare(
    base: Frozen, types: Sequence[tuple[str, str]], latents: Latents, settings: FastTraining, device: str | torch.device
) -> tuple[FastModules, Loss]:
    """What trains, before its first step, and the loss of a step."""
    modules, places = new_modules(base, types, settings).to(device), places_by_type(latents)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        chosen = latents.take(balanced_draw(places, settings.batch, generator)).to(device)
        t = torch.randint(0, 1000, (settings.batch,), generator=generator)
        noise = torch.randn(chosen.x0.shape, generator=generator)
        with mixed(settings.precision, device):
            return fast_loss(base, modules, chosen, t.to(device), noise.to(chosen.x0), settings)

    return modules, loss


def fast_loss(base: Frozen, modules: FastModules, latents: Latents, t: Tensor, noise: Tensor, settings: FastTraining):
    """2 |e - eps(x~, t, c)|^2 + 5 |F - M x0|^2, where x~ has the noised F in the mask and x_t outside, with the same e.

    Args:
        latents: on the device of t [B] and noise [B, C, h, w].
    """
    a, s = base.level(t)
    mask = latents.mask
    x_t = a * latents.x0 + s * noise
    foreground = modules.reconstruct(x_t, t, mask, latents.x0, latents.row).float()
    blended = mask * (a * foreground + s * noise) + (1 - mask) * x_t
    context = modules.tokens.appended(base.context(latents.row), latents.row)
    found = base.noise(blended, t, context, mask, latents.x0, latents.row).float()
    denoiser, rebuilt = (found - noise) ** 2, (foreground - mask * latents.x0) ** 2
    mean = balanced if settings.balanced else lambda error, mask: error.mean()
    return DENOISER * mean(denoiser, mask) + FOREGROUND * mean(rebuilt, mask)


def new_modules(base: Frozen, types: Sequence[tuple[str, str]], settings: FastTraining) -> FastModules:
    """FARM with its first weights, and tokens that change nothing yet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        modules = FastModules(
            types,
            base.latent_channels,
            base.token_channels,
            count=settings.tokens,
            norm=settings.norm,
            told_background=settings.told_background,
        )
        modules.tokens.begin_as(base.context(torch.arange(len(types))))
    return modules


class HeldOutError:
    """FARM's squared error inside the masks of held-out latents over the latents' own square, per type; 1 is what an
    answer of 0 gets. Levels and noise are the same at every look."""

    def __init__(self, base: Frozen, held_out: Latents, types: int):
        """types: how many there are; one without a held-out latent has an error of NaN."""
        self.base, self.held_out, self.types = base, held_out, types

    @torch.no_grad()
    def __call__(self, modules: FastModules) -> Tensor:
        """[types], float64."""
        error, power = torch.zeros(2, self.types, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        for start in range(0, len(self.held_out), AT_ONCE):
            some = self.held_out.take(torch.arange(start, min(start + AT_ONCE, len(self.held_out))))
            noise = torch.randn(some.x0.shape, generator=generator)
            device = modules.tokens.rows.device
            some, noise = some.to(device), noise.to(device)
            squared = some.mask * some.x0**2
            for level in LEVELS:
                t = torch.full((len(some),), level, device=device)
                a, s = self.base.level(t)
                made = modules.reconstruct(a * some.x0 + s * noise, t, some.mask, some.x0, some.row)
                wrong = some.mask * (made - some.x0) ** 2
                error.index_add_(0, some.row.cpu(), wrong.sum((1, 2, 3)).double().cpu())
                power.index_add_(0, some.row.cpu(), squared.sum((1, 2, 3)).double().cpu())
        return error / power
