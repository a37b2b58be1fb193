"""STAGE's training: anomaly tokens and both MGA heads beside a frozen denoiser, one run for all types."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..modules.adapter_file import Adapter, Fit
from ..modules.mga import WIDTHS
from ..modules.stage import StageModules, to_adapter
from ..modules.tokens import AnomalyTokens
from ..samplers.mask_schedule import MaskSchedule, ema_mask
from .best import Best
from .checkpointing import checkpointed
from .defect_draws import check_latents, places_by_type
from .defects import Defects
from .denoised import Denoised, cached, denoised, drawn
from .frozen import Frozen, Latents
from .held_out_noise import HeldOutNoise
from .loop import Report, train
from .loss_curve import LossCurve
from .precision import PRECISIONS, mixed

AWARE, ONLY = 4.0, 1.0  # weights of the two branches' losses


@dataclass(frozen=True)
class StageTraining:
    """Settings of a STAGE adapter; defaults are the paper's where it names them.

    steps: optimiser steps; batch: latents per step; learning_rate; tokens: k per type, where tokens train; t_s, shape:
    of the mask that the anomaly-aware head is told, see `MaskSchedule`; normalise: the error is averaged over the area
    of the branch's mask, so that a 10-pixel defect weighs as much as a large one (the paper averages over the whole
    map); released, widths: form of the heads, see `MGA`; cache: draws that are denoised once where heads alone train;
    checkpointing: keeps less of the base for gradients, for a third more time; precision: see `mixed`; evaluate_every:
    steps between two looks at the held-out pairs; patience: looks without a lower error after which the training ends,
    0 for never.

    Raises ValueError for a setting out of its range.
    """

    steps: int = 2000
    batch: int = 4
    learning_rate: float = 1e-3
    tokens: int = 8
    t_s: float = 200
    shape: str = "linear"
    normalise: bool = True
    released: bool = False
    widths: tuple[int, ...] = WIDTHS
    cache: int = 4096
    checkpointing: bool = False
    precision: str = "auto"
    evaluate_every: int = 100
    patience: int = 0
    average: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        least = min(self.steps, self.batch, self.tokens, self.cache, self.evaluate_every)
        if least < 1 or not self.learning_rate > 0 or self.patience < 0:
            raise ValueError(
                f"Train STAGE Adapter: steps {self.steps}, batch {self.batch}, tokens {self.tokens}, cache "
                f"{self.cache}, evaluate_every {self.evaluate_every}, learning rate {self.learning_rate}, patience "
                f"{self.patience}; all must be above 0, patience 0 or more."
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"Train STAGE Adapter: precision is {self.precision!r}; choose one of {', '.join(PRECISIONS)}."
            )
        MaskSchedule(self.t_s, shape=self.shape)


def train_stage(
    base: Frozen,
    types: Sequence[tuple[str, str]],
    latents: Latents,
    held_out: Latents,
    settings: StageTraining,
    *,
    tokens: AnomalyTokens | None = None,
    losses: LossCurve | None = None,
    show: Callable[[int, StageModules], None] | None = None,
    state: Path | None = None,
    run: str = "",
    device: str | torch.device = "cpu",
    report: Report | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> tuple[StageModules, list[tuple[int, dict[str, float]]]]:
    """Train both heads, and the tokens (STAGE, Sec. III-E; method of the loss in `heads_loss`).

    Args:
        base: frozen; its weights must not require gradients.
        types: (object, type) by row.
        latents: of the training part's defects, mask and all; every type should have some.
        held_out: of groups that do not train, for the curve; may be empty.
        tokens: of these types, kept as they are, so that heads and FAST serve one set of tokens; the denoiser's outputs
            are then computed once. None trains new ones.
        losses: is given every step's loss.
        show: called after every look with the steps taken and the modules as they were looked at.
        state, run, report, check_interrupt: see `training.loop.train`.

    Returns:
        the modules in evaluation mode, with the weights that were best on `held_out` (the last without any), and the
        curve: (step, {"object/type": error of the heads' noise inside the masks of the held-out latents over that of
        the base alone; 1 is what an untrained adapter gets}).

    Raises:
        ValueError: no latents, or an empty mask among them; tokens of other types; a loss that is no longer finite; a
            state of another run.
    """
    check_latents("Train STAGE Adapter", latents, types)
    modules = _new(base, types, settings, tokens).to(device)
    looks = Best(
        modules, HeldOutNoise(base, held_out, len(types), MaskSchedule(settings.t_s, shape=settings.shape)),
        every=settings.evaluate_every, steps=settings.steps, sign=-1, size=len(types), patience=settings.patience,
    )  # fmt: skip
    losses = losses or LossCurve(settings.evaluate_every, settings.steps, device)
    if tokens is None:
        step = _step_loss(base, modules, latents, settings, device)
    else:
        count = min(settings.cache, settings.steps * settings.batch)
        with mixed(settings.precision, device):
            done = cached(base, modules.tokens, latents, count, settings.seed, device, check_interrupt)
        step = _cached_loss(done, modules, settings, device)

    def loss(taken: int, generator: torch.Generator) -> Tensor:
        with mixed(settings.precision, device):
            return losses.noted(taken, step(generator))

    def watch(taken: int, averages: Mapping[str, Tensor]) -> bool:
        over = looks.look(taken, averages)
        if show and looks.due(taken):
            show(taken, looks.copy)
        return over

    with checkpointed(base.network) if settings.checkpointing else nullcontext():
        train(
            "stage", modules.train(), loss, steps=settings.steps, learning_rate=settings.learning_rate,
            seed=settings.seed, average=settings.average, state=state, run=json.dumps([run, asdict(settings)]),
            report=report, check_interrupt=check_interrupt, watch=watch, kept=looks.kept | losses.kept,
        )  # fmt: skip
    looks.restore()
    curve = [(step, _by_type(types, errors)) for step, errors in looks.points]
    return modules.eval().requires_grad_(False), curve


def train_adapter(
    base: Frozen, defects: Defects, settings: StageTraining, fit: Fit, split: str, asked: Mapping, *,
    device: str | torch.device = "cpu", **options,
) -> Adapter:  # fmt: skip
    """`train_stage` on the defects of a training part, and the adapter to write.

    Args:
        fit: what the adapter fits; split: digest of the split that chose the defects.
        asked: what else the run depends on, for the adapter's notes.
        options: as for `train_stage`.

    Returns:
        the adapter; its notes hold `asked`, and settings, types, counts of images, the curves of loss and held-out
        error, and seconds of this sitting.
    """
    started = time.monotonic()
    losses = LossCurve(settings.evaluate_every, settings.steps, device)
    modules, curve = train_stage(
        base, defects.types, defects.fitting, defects.held_out, settings, losses=losses, device=device, **options
    )
    notes = dict(asked) | {
        "settings": asdict(settings), "types": defects.types, "split": split, "base": fit.digest,
        "training_images": defects.fitting_images, "held_out_images": defects.held_out_images, "curve": curve,
        "losses": losses.points, "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    return to_adapter(modules.cpu(), fit, split, notes)


def heads_loss(modules: StageModules, found: Denoised, settings: StageTraining) -> Tensor:
    """4 mean |Mp(t) (e1 - aware(x_t, Mp))| + 1 mean |e2 - only(x^p_t, M0)|, x^p_t = q(M0 x0, t; e2).

    STAGE's Eq. 12 prints the two inputs the other way round. With `normalise` the means are over the masks' own area,
    Mp(t) for the one and M0 for the other, outside of which the sampler does not read the anomaly-only head.
    """
    mask, t = found.mask, found.t
    mp = ema_mask(mask, t, settings.t_s, shape=settings.shape)
    aware = (found.e1 - modules.aware(found.f1, mp, t).float()).abs()
    only = (found.e2 - modules.only(found.f2, mask, t).float()).abs()
    if settings.normalise:
        return AWARE * _over(aware, mp) + ONLY * _over(only, mask)
    return AWARE * (mp * aware).mean() + ONLY * only.mean()


def _over(error: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask's area of every item, then over the items."""
    return ((mask * error).mean((1, 2, 3)) / mask.mean((1, 2, 3))).mean()


def _new(
    base: Frozen, types: Sequence[tuple[str, str]], settings: StageTraining, tokens: AnomalyTokens | None
) -> StageModules:
    """Untrained heads, and tokens: the given ones, or new ones as long as the base's own conditioning."""
    if tokens is not None and tokens.types != tuple(types):
        raise ValueError(
            f"Train STAGE Adapter: tokens of {len(tokens.types)} types for {len(types)}; give tokens of the same types "
            "in the same order."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        modules = StageModules(
            types, base.latent_channels, base.token_channels, released=settings.released, widths=settings.widths,
            count=settings.tokens if tokens is None else tokens.rows.shape[1],
            spread=float(base.context(torch.arange(len(types))).std()),
        )  # fmt: skip
    if tokens is not None:
        modules.tokens.load_state_dict(tokens.state_dict())
        modules.tokens.requires_grad_(False)
    return modules


def _step_loss(base: Frozen, modules: StageModules, latents: Latents, settings: StageTraining, device):
    places = places_by_type(latents)

    def loss(generator: torch.Generator) -> Tensor:
        chosen, *noised = drawn(latents, places, settings.batch, generator)
        noised = (part.to(device) for part in noised)
        return heads_loss(modules, denoised(base, modules.tokens, chosen.to(device), *noised), settings)

    return loss


def _cached_loss(done: Denoised, modules: StageModules, settings: StageTraining, device):
    def loss(generator: torch.Generator) -> Tensor:
        places = torch.randint(0, len(done), (settings.batch,), generator=generator)
        return heads_loss(modules, done.take(places).to(device), settings)

    return loss


def _by_type(types: Sequence[tuple[str, str]], errors: Sequence[float]) -> dict[str, float]:
    """Types without a held-out latent are left out."""
    return {"/".join(type): error for type, error in zip(types, errors, strict=True) if error == error}
