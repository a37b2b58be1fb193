"""FAST's training: anomaly tokens and FARM beside a frozen denoiser, one run for all types."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..modules.farm import NORMS
from ..modules.fast import FastModules
from .balanced import balanced
from .loop import Report, train

DENOISER, FOREGROUND = 2.0, 5.0  # weights of the two losses (FAST, Sec. 3.4)
_LEVELS, _LOOKED_AT = (100, 300, 500, 700, 900), 16  # t of the validation, and latents at a time
Interrupt = Callable[[], None]


class Frozen(Protocol):
    """A base whose weights stay: what FAST's training asks of it, in VP terms whatever its own prediction.

    latent_channels: C; token_channels: d of its conditioning.
    """

    latent_channels: int
    token_channels: int

    def level(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(a, s) [B, 1, 1, 1] of a level t [B] in 0 .. 999, a^2 + s^2 = 1: the state is a x0 + s noise."""
        ...

    def context(self, rows: Tensor) -> Tensor:
        """The base's own conditioning of a type per item, [B, n, d]."""
        ...

    def noise(
        self, x_vp: Tensor, t: Tensor, context: Tensor, mask: Tensor, background: Tensor, rows: Tensor
    ) -> Tensor:
        """The noise that the base finds in the state, [B, C, h, w]; gradients reach `x_vp` and `context`.

        Args:
            rows: the type per item, for what a base is told of it beside the context (pooled text).
        """
        ...


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


@dataclass(frozen=True)
class Latents:
    """Defects, encoded once: x0 [N, C, h, w], mask [N, 1, h, w] 0 or 1, row [N] of the type."""

    x0: Tensor
    mask: Tensor
    row: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def take(self, places: Tensor) -> Latents:
        return Latents(self.x0[places], self.mask[places], self.row[places])

    def to(self, device: torch.device | str) -> Latents:
        return Latents(self.x0.to(device), self.mask.to(device), self.row.to(device))


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
    curve = _Curve(modules, held_out, base, settings)
    train(
        "fast", modules.train(), _step_loss(base, modules, latents, settings, device), steps=settings.steps,
        learning_rate=settings.learning_rate, seed=settings.seed, average=settings.average, state=state,
        run=json.dumps([run, asdict(settings)]), report=report, check_interrupt=check_interrupt, watch=curve.look,
        kept=curve.kept,
    )  # fmt: skip
    if curve.best is not None:
        modules.load_state_dict(curve.best_weights())
    return modules.eval().requires_grad_(False), curve.points


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
    def loss(step: int, generator: torch.Generator) -> Tensor:
        chosen = latents.take(_balanced_draw(latents.row, settings.batch, generator)).to(device)
        t = torch.randint(0, 1000, (settings.batch,), generator=generator)
        noise = torch.randn(chosen.x0.shape, generator=generator)
        return fast_loss(base, modules, chosen, t.to(device), noise.to(chosen.x0), settings)

    return loss


def _balanced_draw(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Places in the cache, types in equal shares."""
    known = rows.unique()
    wanted = known[torch.randint(0, len(known), (count,), generator=generator)]
    places = [torch.nonzero(rows == row)[:, 0] for row in wanted]
    return torch.stack([own[torch.randint(0, len(own), (), generator=generator)] for own in places])


class _Curve:
    """FARM's error inside the mask on held-out latents, per type, over fixed levels with fixed noise.

    values: [looks, types], part of the state; the best look's weights beside it in `kept`.
    """

    def __init__(self, modules: FastModules, held_out: Latents, base: Frozen, settings: FastTraining):
        self.modules, self.held_out, self.base, self.settings = modules, held_out, base, settings
        self.types = modules.tokens.types
        self.copy = copy.deepcopy(modules).eval().requires_grad_(False)
        looks = ceil(settings.steps / settings.evaluate_every) if len(held_out) else 0
        self.values = torch.full((looks, len(self.types)), torch.nan, dtype=torch.float64)
        self.kept = {"curve": self.values}
        self.kept |= {f"best.{name}": value for name, value in copy.deepcopy(modules.state_dict()).items()}

    def look(self, step: int, averages: Mapping[str, Tensor]) -> bool:
        """A training's `watch`: whether it may end, since the error has not fallen for `patience` looks."""
        every, steps = self.settings.evaluate_every, self.settings.steps
        if not len(self.held_out) or (step % every and step != steps):
            return False
        weights = self.modules.state_dict() | dict(averages)  # buffers are not averaged
        self.copy.load_state_dict(weights)
        place = ceil(step / every) - 1
        self.values[place] = self._errors()
        if place == self.best:
            for name, value in weights.items():
                self.kept[f"best.{name}"].copy_(value)
        return 0 < self.settings.patience <= place - self.best

    @property
    def best(self) -> int | None:
        """The look with the lowest error, mean over types; the first of equals, None before any."""
        means = self.values.nanmean(1).tolist()
        return min((index for index, mean in enumerate(means) if mean == mean), key=means.__getitem__, default=None)

    @property
    def points(self) -> list[tuple[int, dict[str, float]]]:
        """(step, {"object/type": error}) of every look; types without a held-out latent are left out."""
        names = ["/".join(type) for type in self.types]
        found = [{n: v for n, v in zip(names, row, strict=True) if v == v} for row in self.values.tolist()]
        every, steps = self.settings.evaluate_every, self.settings.steps
        return [(min((index + 1) * every, steps), errors) for index, errors in enumerate(found) if errors]

    def best_weights(self) -> dict[str, Tensor]:
        return {name[len("best."):]: value for name, value in self.kept.items() if name.startswith("best.")}

    @torch.no_grad()
    def _errors(self) -> Tensor:
        """Per type the squared error over the mask's latents' own square; NaN without a held-out latent."""
        error, power = torch.zeros(2, len(self.types), dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        for start in range(0, len(self.held_out), _LOOKED_AT):
            some = self.held_out.take(torch.arange(start, min(start + _LOOKED_AT, len(self.held_out))))
            noise = torch.randn(some.x0.shape, generator=generator)
            device = self.copy.tokens.rows.device
            some, noise = some.to(device), noise.to(device)
            squared = some.mask * some.x0**2
            for level in _LEVELS:
                t = torch.full((len(some),), level, device=device)
                a, s = self.base.level(t)
                made = self.copy.reconstruct(a * some.x0 + s * noise, t, some.mask, some.x0, some.row)
                wrong = some.mask * (made - some.x0) ** 2
                error.index_add_(0, some.row.cpu(), wrong.sum((1, 2, 3)).double().cpu())
                power.index_add_(0, some.row.cpu(), squared.sum((1, 2, 3)).double().cpu())
        return error / power


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
