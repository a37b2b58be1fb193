"""FAST's training: anomaly tokens and FARM beside a frozen denoiser, one run for all types."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..modules.farm import NORMS
from ..modules.fast import FastModules
from .balanced import balanced
from .best import Best
from .checkpointing import checkpointed
from .defect_draws import balanced_draw, check_latents, places_by_type
from .frozen import Frozen, Latents
from .held_out_error import HeldOutError
from .loop import Report, train
from .loss_curve import LossCurve
from .precision import PRECISIONS, mixed

DENOISER, FOREGROUND = 2.0, 5.0  # weights of the two losses (FAST, Sec. 3.4)
CHECKPOINTING = ("auto", "on", "off")
Interrupt = Callable[[], None]


@dataclass(frozen=True)
class FastTraining:
    """Settings of a FAST adapter; defaults are the paper's where it names them.

    steps: optimiser steps; batch: latents per step; learning_rate; tokens: k per type; norm, told_background: see
    `FARM`; balanced: the error in the mask counts as much as that of the whole map, however small the mask (the paper
    takes the plain mean); checkpointing: "on" keeps less of the base for gradients, for a third more time, "auto" does
    so where memory is short; precision: see `mixed`, of FARM and of a compact base (a host's model has its own);
    evaluate_every: steps between two looks at the held-out pairs; patience: looks without a lower error after which the
    training ends, 0 for never.

    Raises ValueError for a setting out of its range.
    """

    steps: int = 2000
    batch: int = 4
    learning_rate: float = 1.5e-4
    tokens: int = 8
    norm: str = "group"
    told_background: bool = True
    balanced: bool = True
    checkpointing: str = "auto"
    precision: str = "auto"
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
        for name, choices in (("norm", NORMS), ("checkpointing", CHECKPOINTING), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"Train FAST Adapter: {name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}."
                )


def train_fast(
    base: Frozen,
    types: Sequence[tuple[str, str]],
    latents: Latents,
    held_out: Latents,
    settings: FastTraining,
    *,
    checkpointing: bool = False,
    losses: LossCurve | None = None,
    show: Callable[[int, FastModules], None] | None = None,
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
        checkpointing: whether the base's blocks are computed again for the gradient; `settings` is not asked.
        losses: is given every step's loss.
        show: called after every look with the steps taken and the modules as they were looked at.
        state, run, report, check_interrupt: see `training.loop.train`.

    Returns:
        the modules in evaluation mode, with the weights that were best on `held_out` (the last without any), and the
        curve: (step, {"object/type": squared error of FARM inside the masks of the held-out latents over the latents'
        own square; 1 is what an answer of 0 gets}).

    Raises:
        ValueError: no latents, or an empty mask among them; a loss that is no longer finite; a state of another run.
    """
    check_latents("Train FAST Adapter", latents, types)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        modules = new_modules(base, types, settings)
    modules.to(device)
    looks = Best(
        modules, HeldOutError(base, held_out, len(types)), every=settings.evaluate_every, steps=settings.steps,
        sign=-1, size=len(types), patience=settings.patience,
    )  # fmt: skip
    losses = losses or LossCurve(settings.evaluate_every, settings.steps, device)
    step = step_loss(base, modules, latents, settings, device)

    def loss(taken: int, generator: torch.Generator) -> Tensor:
        return losses.noted(taken, step(taken, generator))

    def watch(taken: int, averages: Mapping[str, Tensor]) -> bool:
        over = looks.look(taken, averages)
        if show and looks.due(taken):
            show(taken, looks.copy)
        return over

    with checkpointed(base.network) if checkpointing else nullcontext():
        train(
            "fast", modules.train(), loss, steps=settings.steps, learning_rate=settings.learning_rate,
            seed=settings.seed, average=settings.average, state=state, run=json.dumps([run, asdict(settings)]),
            report=report, check_interrupt=check_interrupt, watch=watch, kept=looks.kept | losses.kept,
        )  # fmt: skip
    looks.restore()
    return modules.eval().requires_grad_(False), [(step, _by_type(types, errors)) for step, errors in looks.points]


def fast_loss(base: Frozen, modules: FastModules, latents: Latents, t: Tensor, noise: Tensor, settings: FastTraining):
    """2 |e - eps(x~, t, c)|^2 + 5 |F - M x0|^2, where x~ has the noised F in the mask and x_t outside, with the same e.

    Args:
        latents: on the device of t [B] and noise [B, C, h, w].
    """
    a, s = base.level(t)
    mask = latents.mask
    x_t = a * latents.x0 + s * noise
    foreground = modules.reconstruct(x_t, t, mask, latents.x0, latents.row).float()
    mended = mask * (a * foreground + s * noise) + (1 - mask) * x_t
    context = modules.tokens.appended(base.context(latents.row), latents.row)
    found = base.noise(mended, t, context, mask, latents.x0, latents.row).float()
    denoiser, rebuilt = (found - noise) ** 2, (foreground - mask * latents.x0) ** 2
    mean = balanced if settings.balanced else lambda error, mask: error.mean()
    return DENOISER * mean(denoiser, mask) + FOREGROUND * mean(rebuilt, mask)


def new_modules(base: Frozen, types: Sequence[tuple[str, str]], settings: FastTraining) -> FastModules:
    """Tokens as long as the base's own conditioning, so that they are heard and do not drown it."""
    return FastModules(
        types, base.latent_channels, base.token_channels, count=settings.tokens, norm=settings.norm,
        told_background=settings.told_background, spread=float(base.context(torch.arange(len(types))).std()),
    )  # fmt: skip


def step_loss(base: Frozen, modules: FastModules, latents: Latents, settings: FastTraining, device):
    places = places_by_type(latents)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        chosen = latents.take(balanced_draw(places, settings.batch, generator)).to(device)
        t = torch.randint(0, 1000, (settings.batch,), generator=generator)
        noise = torch.randn(chosen.x0.shape, generator=generator)
        with mixed(settings.precision, device):
            return fast_loss(base, modules, chosen, t.to(device), noise.to(chosen.x0), settings)

    return loss


def _by_type(types: Sequence[tuple[str, str]], errors: Sequence[float]) -> dict[str, float]:
    """Types without a held-out latent are left out."""
    return {"/".join(type): error for type, error in zip(types, errors, strict=True) if error == error}
