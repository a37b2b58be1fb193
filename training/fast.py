"""FAST's training: anomaly tokens and FARM beside a frozen denoiser, one run for all types."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..modules.adapter_file import Adapter, Fit
from ..modules.farm import NORMS
from ..modules.fast import FastModules, to_adapter
from .balanced import balanced
from .best import Best
from .defects import Defects
from .frozen import Frozen, Latents
from .held_out_error import HeldOutError
from .loop import Report, train

DENOISER, FOREGROUND = 2.0, 5.0  # weights of the two losses (FAST, Sec. 3.4)
Interrupt = Callable[[], None]


@dataclass(frozen=True)
class FastTraining:
    """Settings of a FAST adapter; defaults are the paper's where it names them.

    steps: optimiser steps; batch: latents per step; learning_rate; tokens: k per type; norm, told_background: see
    `FARM`; balanced: the error in the mask counts as much as that of the whole map, however small the mask (the paper
    takes the plain mean); checkpointing: saves memory on large bases for a third more time; evaluate_every: steps
    between two looks at the held-out pairs; patience: looks without a lower error after which the training ends, 0 for
    never.

    Raises ValueError for a setting out of its range.
    """

    steps: int = 2000
    batch: int = 4
    learning_rate: float = 1.5e-4
    tokens: int = 8
    norm: str = "group"
    told_background: bool = True
    balanced: bool = True
    checkpointing: bool = False
    evaluate_every: int = 100
    patience: int = 0
    average: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.tokens, self.evaluate_every) < 1 or not self.learning_rate > 0:
            raise ValueError(
                f"Train FAST Adapter: steps {self.steps}, batch {self.batch}, tokens {self.tokens}, evaluate_every "
                f"{self.evaluate_every}, learning rate {self.learning_rate}; all must be above 0."
            )
        if self.norm not in NORMS:
            raise ValueError(f"Train FAST Adapter: norm {self.norm!r}; choose {' or '.join(NORMS)}.")


def train_fast(
    base: Frozen,
    types: Sequence[tuple[str, str]],
    latents: Latents,
    held_out: Latents,
    settings: FastTraining,
    *,
    state: Path | None = None,
    run: str = "",
    device: str | torch.device = "cpu",
    report: Report | None = None,
    check_interrupt: Interrupt | None = None,
) -> tuple[FastModules, list[tuple[int, dict[str, float]]]]:
    """Train tokens and FARM (FAST, Sec. 3.4; method of the loss in `fast_loss`).

    Args:
        base: frozen; its weights must not require gradients.
        types: (object, type) by row.
        latents: of the training part's defects, mask and all; every type should have some.
        held_out: of groups that do not train, for the curve; may be empty.
        state, run, report, check_interrupt: see `training.loop.train`.

    Returns:
        the modules in evaluation mode, with the weights that were best on `held_out` (the last without any), and the
        curve: (step, {"object/type": squared error of FARM inside the masks of the held-out latents over the latents'
        own square; 1 is what an answer of 0 gets}).

    Raises:
        ValueError: no latents, or an empty mask among them; a loss that is no longer finite; a state of another run.
    """
    _check(latents, types)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        modules = _new(base, types, settings)
    modules.to(device)
    looks = Best(
        modules, HeldOutError(base, held_out, len(types)), every=settings.evaluate_every, steps=settings.steps,
        sign=-1, size=len(types), patience=settings.patience,
    )  # fmt: skip
    train(
        "fast", modules.train(), _step_loss(base, modules, latents, settings, device), steps=settings.steps,
        learning_rate=settings.learning_rate, seed=settings.seed, average=settings.average, state=state,
        run=json.dumps([run, asdict(settings)]), report=report, check_interrupt=check_interrupt, watch=looks.look,
        kept=looks.kept,
    )  # fmt: skip
    looks.restore()
    return modules.eval().requires_grad_(False), [(step, _by_type(types, errors)) for step, errors in looks.points]


def train_adapter(
    base: Frozen, defects: Defects, settings: FastTraining, fit: Fit, split: str, asked: Mapping, **options
) -> Adapter:
    """`train_fast` on the defects of a training part, and the adapter to write.

    Args:
        fit: what the adapter fits; split: digest of the split that chose the defects.
        asked: what else the run depends on, for the adapter's notes.
        options: as for `train_fast`.

    Returns:
        the adapter; its notes hold `asked`, and settings, types, counts of images, curve, and seconds of this sitting.
    """
    started = time.monotonic()
    modules, curve = train_fast(base, defects.types, defects.fitting, defects.held_out, settings, **options)
    notes = dict(asked) | {
        "settings": asdict(settings), "types": defects.types, "split": split, "base": fit.digest,
        "training_images": defects.fitting_images, "held_out_images": defects.held_out_images, "curve": curve,
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    return to_adapter(modules.cpu(), fit, split, notes)


def fast_loss(base: Frozen, modules: FastModules, latents: Latents, t: Tensor, noise: Tensor, settings: FastTraining):
    """2 |e - eps(x~, t, c)|^2 + 5 |F - M x0|^2, where x~ has the noised F in the mask and x_t outside, with the same e.

    Args:
        latents: on the device of t [B] and noise [B, C, h, w].
    """
    a, s = base.level(t)
    mask = latents.mask
    x_t = a * latents.x0 + s * noise
    foreground = modules.reconstruct(x_t, t, mask, latents.x0, latents.row)
    mended = mask * (a * foreground + s * noise) + (1 - mask) * x_t
    context = modules.tokens.appended(base.context(latents.row), latents.row)
    denoised = (mended, t, context, mask, latents.x0, latents.row)
    found = checkpoint(base.noise, *denoised, use_reentrant=False) if settings.checkpointing else base.noise(*denoised)
    denoiser, rebuilt = (found - noise) ** 2, (foreground - mask * latents.x0) ** 2
    mean = balanced if settings.balanced else lambda error, mask: error.mean()
    return DENOISER * mean(denoiser, mask) + FOREGROUND * mean(rebuilt, mask)


def _new(base: Frozen, types: Sequence[tuple[str, str]], settings: FastTraining) -> FastModules:
    """Tokens as long as the base's own conditioning, so that they are heard and do not drown it."""
    return FastModules(
        types, base.latent_channels, base.token_channels, count=settings.tokens, norm=settings.norm,
        told_background=settings.told_background, spread=float(base.context(torch.arange(len(types))).std()),
    )  # fmt: skip


def _step_loss(base: Frozen, modules: FastModules, latents: Latents, settings: FastTraining, device):
    places = [torch.nonzero(latents.row == row)[:, 0] for row in latents.row.unique()]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        chosen = latents.take(_balanced_draw(places, settings.batch, generator)).to(device)
        t = torch.randint(0, 1000, (settings.batch,), generator=generator)
        noise = torch.randn(chosen.x0.shape, generator=generator)
        return fast_loss(base, modules, chosen, t.to(device), noise.to(chosen.x0), settings)

    return loss


def _balanced_draw(places: Sequence[Tensor], count: int, generator: torch.Generator) -> Tensor:
    """Places in the cache, types in equal shares; `places`: those of every type."""
    wanted = torch.randint(0, len(places), (count,), generator=generator).tolist()
    chosen = (places[place] for place in wanted)
    return torch.stack([own[torch.randint(0, len(own), (), generator=generator)] for own in chosen])


def _by_type(types: Sequence[tuple[str, str]], errors: Sequence[float]) -> dict[str, float]:
    """Types without a held-out latent are left out."""
    return {"/".join(type): error for type, error in zip(types, errors, strict=True) if error == error}


def _check(latents: Latents, types: Sequence[tuple[str, str]]) -> None:
    if not len(latents):
        raise ValueError(
            "Train FAST Adapter: the training part has no defect; give pairs of image and mask, or check the split."
        )
    empty = int((latents.mask.flatten(1).sum(1) == 0).sum())
    if empty:
        raise ValueError(
            f"Train FAST Adapter: {empty} of {len(latents)} masks are empty; take these pairs out, or mend the masks."
        )
    if not 0 <= int(latents.row.min()) <= int(latents.row.max()) < len(types):
        raise ValueError(f"Train FAST Adapter: rows up to {int(latents.row.max())} for {len(types)} types.")
