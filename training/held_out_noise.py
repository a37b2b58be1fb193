"""What MGA heads and tokens add to a base, on what was held out of their training."""

from __future__ import annotations

import torch
from torch import Tensor

from ..modules.stage import StageModules
from ..samplers.mask_schedule import MaskSchedule
from .denoised import AT_ONCE, denoised
from .frozen import Frozen, Latents

LEVELS = (100, 300, 500, 700, 900)  # t that are looked at


class HeldOutNoise:
    """Error of both branches' noise inside the masks of held-out latents over that of the base alone, per type: 1 is an
    untrained adapter. A mean over levels, since the noise is hardest to find where there is little of it, and a plain
    sum would look at the last levels alone. Levels and noise are the same at every look."""

    def __init__(self, base: Frozen, held_out: Latents, types: int, schedule: MaskSchedule):
        """types: how many there are; one without a held-out latent has an error of NaN."""
        self.base, self.held_out, self.types, self.schedule = base, held_out, types, schedule
        self._alone: Tensor | None = None

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
            e1, e2 = (torch.randn(some.x0.shape, generator=generator).to(device) for _ in range(2))
            some = some.to(device)
            for place, level in enumerate(LEVELS):
                t = torch.full((len(some),), level, device=device)
                found = denoised(self.base, modules.tokens if with_adapter else None, some, t, e1, e2)
                f1, f2 = found.f1, found.f2
                if with_adapter:
                    f1 = modules.aware(f1, self.schedule(some.mask, level), t)
                    f2 = modules.only(f2, some.mask, t)
                wrong = some.mask * ((e1 - f1).abs() + (e2 - f2).abs())
                errors[place].index_add_(0, some.row.cpu(), wrong.sum((1, 2, 3)).double().cpu())
        return torch.where(errors > 0, errors, torch.nan)
