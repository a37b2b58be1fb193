"""STAGE's training: anomaly tokens and both MGA heads beside a frozen denoiser, one run for all types."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import Refused
from ..modules.stage import StageModules
from ..modules.tokens import AnomalyTokens
from ..samplers.mask_schedule import MaskSchedule, ema_mask
from .adapter_loop import Curve, train_modules
from .branches import AT_ONCE, Denoised, cached, denoised, drawn
from .defects import check_latents, places_by_type
from .frozen import Frozen, Latents
from .loop import Loss, mixed
from .settings import StageTraining

AWARE, ONLY = 4.0, 1.0  # weights of the two branches' losses
CACHE_BYTES = 4 << 30  # of main memory at most, for what is denoised once
LEVELS = (100, 300, 500, 700, 900)  # t that are looked at
PER_TYPE = 8  # latents; a look costs as much as a hundred steps of the heads else


def train_stage(
    base: Frozen,
    types: Sequence[tuple[str, str]],
    latents: Latents,
    held_out: Latents,
    settings: StageTraining,
    *,
    tokens: AnomalyTokens | None = None,
    denoising: Callable[[int, int], None] | None = None,
    device: str | torch.device = "cpu",
    check_interrupt: Callable[[], None] | None = None,
    **options,
) -> tuple[StageModules, Curve]:
    """Train both heads, and the tokens (STAGE, Sec. III-E; method of the loss in `heads_loss`).

    Args:
        base: frozen; its weights must not require gradients.
        types: (object, type) by row.
        latents: of the training part's defects, mask and all; every type should have some.
        held_out: of groups that do not train, for the curve; may be empty.
        tokens: of these types, kept as they are, so that heads and FAST serve one set of tokens; the denoiser's outputs
            are then computed once. None trains new ones.
        denoising: called with (done, of) while they are.
        check_interrupt: called every step, and before the denoiser is asked aside from them; may raise to stop.
        options: see `train_modules`.

    Returns:
        as `train_modules`; the error is that of the heads' noise inside the masks of the held-out latents over that of
        the base alone: 1 is what an untrained adapter gets.

    Raises:
        ValueError: no latents, or an empty mask among them; tokens of other types; as `train_modules`.
    """
    check_latents(latents, types)
    modules, loss = prepare(
        base, types, latents, settings, device, tokens=tokens, denoising=denoising, check_interrupt=check_interrupt
    )
    measure = HeldOutNoise(
        base,
        held_out,
        len(types),
        MaskSchedule(settings.t_s, shape=settings.shape),
        tokens_stay=tokens is not None,
        check_interrupt=check_interrupt,
    )
    return train_modules(
        base.network, modules, loss, measure, types, settings, check_interrupt=check_interrupt, **options
    )


def prepare(
    base: Frozen,
    types: Sequence[tuple[str, str]],
    latents: Latents,
    settings: StageTraining,
    device: str | torch.device,
    *,
    tokens: AnomalyTokens | None = None,
    denoising: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> tuple[StageModules, Loss]:
    """What trains, before its first step, and the loss of a step: on new draws, or, where tokens are given, on draws
    that are denoised here and now."""
    modules, draw = new_modules(base, types, settings, tokens).to(device), _fresh(base, latents, settings, device)
    if tokens is not None:
        count = _cache_size(latents, settings)
        with mixed(settings.precision, device):
            kept = cached(base, modules.tokens, latents, count, settings.seed, device, check_interrupt, denoising)
        draw = _kept(kept, settings, device)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        with mixed(settings.precision, device):
            return heads_loss(modules, draw(modules.tokens, generator), settings)

    return modules, loss


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


def new_modules(
    base: Frozen, types: Sequence[tuple[str, str]], settings: StageTraining, tokens: AnomalyTokens | None = None
) -> StageModules:
    """Untrained heads, and tokens: the given ones, or new ones that change nothing yet."""
    if tokens is not None and tokens.types != tuple(types):
        raise Refused(
            "tokens",
            f"of {len(tokens.types)} types for {len(types)}",
            remedy="give tokens of the same types in the same order",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        modules = StageModules(
            types,
            base.latent_channels,
            base.token_channels,
            released=settings.released,
            widths=settings.widths,
            count=settings.tokens if tokens is None else tokens.rows.shape[1],
        )
        if tokens is None:
            modules.tokens.begin_as(base.context(torch.arange(len(types))))
    if tokens is not None:
        modules.tokens.load_state_dict(tokens.state_dict())
        modules.tokens.requires_grad_(False)
    return modules


def _over(error: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask's area of every item, then over the items."""
    return ((mask * error).mean((1, 2, 3)) / mask.mean((1, 2, 3))).mean()


def _fresh(base: Frozen, latents: Latents, settings: StageTraining, device):
    places = places_by_type(latents)

    def draw(tokens: AnomalyTokens, generator: torch.Generator) -> Denoised:
        chosen, *noised = drawn(latents, places, settings.batch, generator)
        return denoised(base, tokens, chosen.to(device), *(part.to(device) for part in noised))

    return draw


def _kept(kept: Denoised, settings: StageTraining, device):
    def draw(tokens: AnomalyTokens, generator: torch.Generator) -> Denoised:
        return kept.take(torch.randint(0, len(kept), (settings.batch,), generator=generator)).to(device)

    return draw


def _cache_size(latents: Latents, settings: StageTraining) -> int:
    """Draws: no more than the training will take, nor than memory holds."""
    each = 4 * latents.x0[0].nbytes + latents.mask[0].nbytes  # both branches' noise, and what was found of it
    return max(1, min(settings.cache, settings.steps * settings.batch, CACHE_BYTES // each))


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
            schedule: of the anomaly-aware head's mask.
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
