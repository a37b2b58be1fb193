"""What MGA heads and tokens add to a base, on what was held out of their training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..modules.stage import StageModules
from ..samplers.mask_schedule import MaskSchedule
from .denoised import AT_ONCE, Denoised, denoised
from .frozen import Frozen, Latents

LEVELS = (100, 300, 500, 700, 900)  # t that are looked at
PER_TYPE = 8  # latents; a look costs as much as a hundred steps of the heads else


class HeldOutNoise:
    """Error of both branches' noise inside the masks of held-out latents over that of the base alone, per type: 1 is an
    untrained adapter. A mean over levels, since the noise is hardest to find where there is little of it, and a plain
    sum would look at the last levels alone. Levels and noise are the same at every look."""

    def __init__(
        self,
        base: Frozen,
        held_out: Latents,
        types: int,
        schedule: MaskSchedule,
        *,
        tokens_stay: bool = False,
        check_interrupt: Callable[[], None] | None = None,
    ):
        """
        Args:
            types: how many there are; one without a held-out latent has an error of NaN.
            schedule: of the mask that the anomaly-aware head is told.
            tokens_stay: whether only heads train: what the base finds is then the same at every look, and is kept.
            check_interrupt: called before the base is asked; may raise to stop.
        """
        self.base, self.held_out, self.types, self.schedule = base, _first_of_every_type(held_out), types, schedule
        self.tokens_stay, self.check_interrupt = tokens_stay, check_interrupt
        self._alone: Tensor | None = None
        self._kept: dict[tuple[int, int], Denoised] = {}

    @torch.no_grad()
    def __call__(self, modules: StageModules) -> Tensor:
        """[types], float64."""
        if self._alone is None:
            self._alone = self._errors(modules, with_adapter=False)
        return (self._errors(modules, with_adapter=True) / self._alone).mean(0)

    def _errors(self, modules: StageModules, with_adapter: bool) -> Tensor:
        """[levels, types]: absolute error inside the masks, both branches together."""
        errors = torch.zeros(len(LEVELS), self.types, dtype=torch.float64)
        generator, device = torch.Generator().manual_seed(0), modules.tokens.rows.device
        for start in range(0, len(self.held_out), AT_ONCE):
            some = self.held_out.take(torch.arange(start, min(start + AT_ONCE, len(self.held_out))))
            noises = [torch.randn(some.x0.shape, generator=generator) for _ in range(2)]
            for place, level in enumerate(LEVELS):
                found = self._found(modules, with_adapter, start, some, level, noises).to(device)
                f1, f2 = found.f1, found.f2
                if with_adapter:
                    f1 = modules.aware(f1, self.schedule(found.mask, level), found.t)
                    f2 = modules.only(f2, found.mask, found.t)
                wrong = found.mask * ((found.e1 - f1).abs() + (found.e2 - f2).abs())
                errors[place].index_add_(0, some.row, wrong.sum((1, 2, 3)).double().cpu())
        return torch.where(errors > 0, errors, torch.nan)

    def _found(
        self, modules: StageModules, with_adapter: bool, start: int, some: Latents, level: int, noises: list[Tensor]
    ) -> Denoised:
        """What the base finds in both branches' states of `some`, the latents from `start` on."""
        if (start, level) in self._kept and with_adapter:
            return self._kept[start, level]
        if self.check_interrupt:
            self.check_interrupt()
        device = modules.tokens.rows.device
        t = torch.full((len(some),), level, device=device)
        noises = (noise.to(device) for noise in noises)
        found = denoised(self.base, modules.tokens if with_adapter else None, some.to(device), t, *noises)
        if self.tokens_stay and with_adapter:
            self._kept[start, level] = found.to("cpu")
        return found


def _first_of_every_type(latents: Latents) -> Latents:
    places = [(latents.row == row).nonzero()[:PER_TYPE, 0] for row in latents.row.unique()]
    return latents.take(torch.cat(places).sort().values) if places else latents
