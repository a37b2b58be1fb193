"""Training of the compact LDM: the autoencoder first, then the UNet and the tokens on its latents."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..datasets.sample import Sample, check_samples
from ..datasets.surfaces.defects import TYPES
from ..datasets.surfaces.kin import drawn_type
from ..files.progress import tracked
from ..images.masks import latent_mask
from ..modules.autoencoder import kl_divergence, reparameterise
from ..modules.compact_ldm import ANY, NORMAL, CompactLDM, CompactLDMConfig
from .crops import Batch, Crops, DrawnCrops, PictureCache, TuningCrops
from .loop import Report, balanced, mixed, train
from .settings import BaseTraining, DrawnPool

KL_WEIGHT = 3e-4
PHASES = ("autoencoder", "unet")
SNR_CLAMP = 5.0
DROP_TOKEN, DROP_MASK, DROP_BACKGROUND = 0.1, 0.15, 0.15
SHOWN = torch.tensor(0.8), torch.tensor(0.3)  # share of defects and of normal fills with the surface under their mask
GENERAL = {
    "latent_channels": 8,
    "autoencoder_widths": (48, 96),
    "unet_widths": (64, 128, 192),
    "appearance": True,
    "edits": True,
}


@dataclass(frozen=True)
class Watch:
    """What follows the training of a base.

    report, check_interrupt, save_every: see `training.loop.train`; show(steps taken, base): called after every `every`
    steps of the UNet and after the last, with a copy of the base that has its averaged weights.
    """

    report: Report | None = None
    check_interrupt: Callable[[], None] | None = None
    save_every: float = 60.0
    show: Callable[[int, CompactLDM], None] | None = None
    every: int = 200

    def looks(self, base: CompactLDM, steps: int) -> Callable[[int, Mapping[str, Tensor]], None] | None:
        """The `watch` of the UNet's training, of `steps` steps; None without `show`."""
        if self.show is None:
            return None
        shown = copy.deepcopy(base).eval().requires_grad_(False)
        weights = dict(_denoiser(shown).named_parameters())

        def look(taken: int, averages: Mapping[str, Tensor]) -> None:
            if taken % self.every and taken < steps:
                return
            for name, weight in weights.items():
                weight.copy_(averages[name])
            self.show(taken, shown)

        return look


UNWATCHED = Watch()


def labels_of(samples: Sequence[Sample]) -> tuple[tuple[str, str], ...]:
    """The (object, type) rows of a token table: every object's normal token, then its defect types."""
    found = {(sample.object, sample.type) for sample in samples}
    objects = sorted({object for object, _ in found})
    return tuple(
        (object, type)
        for object in objects
        for type in [NORMAL, *sorted(t for o, t in found if o == object and t != NORMAL)]
    )


def train_base(
    samples: Sequence[Sample],
    settings: BaseTraining,
    state: str | Path,
    split: str = "",
    *,
    device: str = "cpu",
    watch: Watch = UNWATCHED,
) -> CompactLDM:
    """Train a compact LDM on the training part of a dataset.

    Args:
        samples: training part only (`part_of(split, samples, "train")`).
        state: path that the two phases' state files are named after (`state_path`); they stay until the caller
            removes them, so that a killed run continues.
        split: digest of the split that chose the samples; a state of another split is not continued.
        device: "cpu" or "cuda".
        watch: progress, interruption and previews.

    Returns:
        the base in evaluation mode.

    Raises:
        ValueError: a picture or mask that cannot be used (found before the first step); a state of another run; no
            normal or no defect images.
    """
    labels = labels_of(samples)
    with torch.random.fork_rng(devices=[]):  # the host's own generator stays as it was
        torch.manual_seed(settings.seed)
        base = CompactLDM(CompactLDMConfig(labels=labels, resolution=settings.resolution)).to(device)
    pictures = PictureCache()
    crops = Crops(samples, labels, settings.resolution, pictures)
    check_samples(samples)
    run = json.dumps([asdict(settings), split, sorted(sample.name for sample in samples)])
    small = Crops(samples, labels, _small(settings), pictures)
    return _trained(base, crops, small, settings, state, run, device, watch)


def train_general_base(
    settings: BaseTraining,
    state: str | Path,
    pool: int = DrawnPool.pool,
    *,
    device: str = "cpu",
    watch: Watch = UNWATCHED,
) -> CompactLDM:
    """Train a base for any surface on drawn crops, which need no files: one object, `ANY`, with every drawn type.

    Args:
        pool: crops that are drawn in all; each is used again in other turns and exposures. They stay in memory, about
            55 kB each at 128 px.
        settings, state, device, watch: as in `train_base`.
    """
    labels = tuple((ANY, type) for type in (NORMAL, *TYPES))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        base = CompactLDM(CompactLDMConfig(labels, settings.resolution, **GENERAL)).to(device)
    crops, small = (DrawnCrops(labels, side, settings.seed, pool) for side in (settings.resolution, _small(settings)))
    run = json.dumps([asdict(settings), pool, labels, GENERAL])
    return _trained(base, crops, small, settings, state, run, device, watch)


def tune_base(
    base: CompactLDM,
    samples: Sequence[Sample],
    settings: BaseTraining,
    state: str | Path,
    filled: Callable[[Sample], Tensor] | None = None,
    split: str = "",
    *,
    device: str = "cpu",
    watch: Watch = UNWATCHED,
) -> CompactLDM:
    """Train a base on from another one: its autoencoder stays, UNet and tokens learn the types of a dataset.

    Args:
        base: its resolution replaces that of the settings, and of these the autoencoder's steps are not taken.
        samples, state, split, device, watch: as in `train_base`.
        filled: the image of a defect sample with normal surface in its mask, uint8 [3, H, W]; needed by a base that
            edits (see `CompactLDMConfig`), which learns what a defect changes.

    Returns, raises: as `train_base`.
    """
    check_samples(samples)
    new = labels_of(samples)
    labels = (*base.config.labels, *(label for label in new if label not in base.config.labels))
    tuned = _with_labels(base, labels).to(device)
    pictures, resolution = PictureCache(), base.config.resolution
    run = json.dumps([asdict(settings), split, sorted(sample.name for sample in samples), _checksum(base)])
    if base.config.edits:
        types = tuple((object, type) for object, type in base.config.labels if object == ANY)
        drawn = DrawnCrops(types, resolution, settings.seed, DrawnPool.pool)
        defects = [sample for sample in samples if sample.type != NORMAL]
        normals = {sample: filled(sample) for sample in tracked("filling defects with normal surface", defects)}
        crops = TuningCrops(samples, labels, resolution, pictures, normals, drawn)
    else:
        crops = Crops(samples, labels, resolution, pictures)
    tuned.to(memory_format=torch.channels_last)
    _train_unet(tuned, crops, settings, state, run, device, watch)
    return tuned.eval().requires_grad_(False)


def _with_labels(base: CompactLDM, labels: tuple[tuple[str, str], ...]) -> CompactLDM:
    """A copy of the base with these labels, which begin with its own. A new type's tokens begin as those of the base's
    nearest one: see `drawn_type`."""
    config = base.config
    tuned = CompactLDM(replace(config, labels=labels))
    known = {type: row for row, (_, type) in reversed(list(enumerate(config.labels)))}
    rows = list(range(len(config.labels)))
    for number, (_, type) in enumerate(labels[len(rows) :]):
        wanted = type if type in known else drawn_type(type, number)
        rows.append(known.get(wanted, base.unconditional))
    weights = dict(base.state_dict())
    weights["tokens"] = base.tokens.detach()[[*rows, base.unconditional]]
    tuned.load_state_dict(weights)
    return tuned.requires_grad_(True)


def _checksum(base: CompactLDM) -> float:
    """Tells bases apart in the identity of a run."""
    return sum(float(weight.double().abs().sum()) for weight in base.state_dict().values())


def _denoiser(base: CompactLDM) -> nn.ModuleDict:
    """What the UNet's phase trains."""
    parts = nn.ModuleDict({"unet": base.unet, "tokens": _Tokens(base.tokens)})
    if base.appearance is not None:
        parts["appearance"] = base.appearance
    return parts


def _small(settings: BaseTraining) -> int:
    """The autoencoder is convolutional: quarter-size crops teach it the same for a quarter of the cost."""
    return max(settings.resolution // 2, 32)


def _trained(
    base: CompactLDM,
    crops: Crops | DrawnCrops,
    small: Crops | DrawnCrops,
    settings: BaseTraining,
    state: str | Path,
    run: str,
    device: str,
    watch: Watch,
) -> CompactLDM:
    """Both phases: the autoencoder on the small crops, then UNet and tokens on the latents of the others."""
    base.to(memory_format=torch.channels_last)  # convolutions on a CPU: up to twice as fast
    train(
        "autoencoder",
        base.autoencoder,
        _autoencoder_loss(base, small, settings, device),
        steps=settings.autoencoder_steps,
        state=state_path(state, "autoencoder"),
        **_options(settings, run, watch),
    )
    _normalise_latents(base, crops, settings, device)
    _train_unet(base, crops, settings, state, run, device, watch)
    return base.eval().requires_grad_(False)


def _train_unet(
    base: CompactLDM,
    crops: Crops | DrawnCrops,
    settings: BaseTraining,
    state: str | Path,
    run: str,
    device: str,
    watch: Watch,
) -> None:
    train(
        "unet",
        _denoiser(base),
        _unet_loss(base, crops, settings, device),
        steps=settings.steps,
        state=state_path(state, "unet"),
        watch=watch.looks(base, settings.steps),
        **_options(settings, run, watch),
    )


def _options(settings: BaseTraining, run: str, watch: Watch) -> dict:
    """Of the loop, the same in both phases."""
    return {
        "seed": settings.seed,
        "run": run,
        "learning_rate": settings.learning_rate,
        "save_every": watch.save_every,
        "report": watch.report,
        "check_interrupt": watch.check_interrupt,
    }


def state_path(state: str | Path, phase: str) -> Path:
    """Where a phase keeps its state."""
    state = Path(state)
    return state.with_name(f"{state.name}.{phase}.state")


class _Tokens(nn.Module):
    """Lets the loop see the token table, a bare parameter of the base, by a name."""

    def __init__(self, table: nn.Parameter):
        super().__init__()
        self.table = table


def _autoencoder_loss(base: CompactLDM, crops: Crops, settings: BaseTraining, device: str):
    def loss(step: int, generator: torch.Generator) -> Tensor:
        batch = crops.draw(settings.batch, generator)
        image, mask = (2 * batch.image - 1).to(device), _defect_mask(batch, device)
        with mixed(settings.precision, device):
            mean, log_variance = base.autoencoder.encode(image)
            noise = torch.randn(mean.shape, generator=generator).to(mean)
            latent = reparameterise(mean, log_variance, noise)
            if settings.latent_noise:
                # What a denoiser leaves of the noise must not show: the decoder learns to overlook it.
                level = settings.latent_noise * torch.rand(len(mean), 1, 1, 1, generator=generator).to(mean)
                spread = mean.detach().std((0, 2, 3), keepdim=True)
                latent = latent + level * spread * torch.randn(mean.shape, generator=generator).to(mean)
            decoded = base.autoencoder.decode(latent)
        difference = decoded.float() - image
        # The mean over 4 x 4 blocks is a defect's contrast, which a pixelwise loss trades away for sharp texture.
        coarse = F.avg_pool2d(difference, 4)
        return (
            balanced(difference.abs(), mask)
            + balanced(coarse.abs(), F.max_pool2d(mask, 4))
            + KL_WEIGHT * kl_divergence(mean.float(), log_variance.float())
        )

    return loss


@torch.no_grad()
def _normalise_latents(base: CompactLDM, crops: Crops, settings: BaseTraining, device: str) -> None:
    """Set mean and standard deviation per latent channel from 256 crops, the same in every run."""
    generator, latents = torch.Generator().manual_seed(settings.seed), []
    for start in tracked("measuring latents", range(0, 256, settings.batch), settings.batch, 256):
        image = crops.draw(min(settings.batch, 256 - start), generator).image
        latents.append(base.autoencoder.encode((2 * image - 1).to(device))[0])
    latent = torch.cat(latents)
    base.latent_mean.copy_(latent.mean((0, 2, 3), keepdim=True))
    base.latent_std.copy_(latent.std((0, 2, 3), keepdim=True))


def _unet_loss(base: CompactLDM, crops: Crops | DrawnCrops, settings: BaseTraining, device: str):
    def loss(step: int, generator: torch.Generator) -> Tensor:
        batch = crops.draw(settings.batch, generator)
        with torch.no_grad(), mixed(settings.precision, device):
            x0 = base.encode(batch.image.to(device)).float()
            normal = None if batch.normal is None else base.encode(batch.normal.to(device)).float()
        count = len(x0)
        mask = latent_mask(batch.mask, x0.shape[2:]).to(device)
        if normal is None:
            background, counted = x0 * (1 - mask), torch.ones_like(mask)
        else:
            x0 = torch.lerp(normal, x0, mask)  # as the samplers compose it
            shown = torch.where(batch.defect, *SHOWN) > torch.rand(count, generator=generator)
            background = torch.where(shown[:, None, None, None].to(device), normal, normal * (1 - mask))
            counted = F.max_pool2d(mask, 3, 1, 1)
        t = torch.randint(0, 1000, (count,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator).to(device)
        abar = base.abar[t.to(device)][:, None, None, None]
        x_t, v = abar.sqrt() * x0 + (1 - abar).sqrt() * noise, abar.sqrt() * noise - (1 - abar).sqrt() * x0
        rows = torch.where(torch.rand(count, generator=generator) < DROP_TOKEN, base.unconditional, batch.label)
        aware = _kept(count, DROP_MASK, generator, device)
        channels = [x_t, (2 * mask - 1) * aware, background * _kept(count, DROP_BACKGROUND, generator, device)]
        with mixed(settings.precision, device):
            predicted = base.unet.forward_concatenated(
                torch.cat(channels, dim=1), t.to(device), base.context(rows, batch.appearance)
            )
        # The error of x0 weighs 1 + SNR, at most SNR_CLAMP. Without the bound nearly all weight is on levels whose
        # noise is finer than a surface's grain; with min-SNR (Hang et al., ICCV 2023) nearly none is where the shape of
        # a defect is decided.
        snr = abar / (1 - abar)
        weight = SNR_CLAMP / (1 + snr).clamp_min(SNR_CLAMP)
        # A model that knows the mask is replaced outside it, so only what it draws inside counts.
        counted = torch.where(aware > 0, counted, 1.0)
        return balanced(counted * weight * (predicted.float() - v) ** 2, mask)

    return loss


def _defect_mask(batch: Batch, device: str) -> Tensor:
    """The mask where there is a defect in it, nothing on normal crops."""
    return (batch.mask * batch.defect[:, None, None, None]).to(device)


def _kept(count: int, drop: float, generator: torch.Generator, device: str) -> Tensor:
    return (torch.rand(count, 1, 1, 1, generator=generator) >= drop).float().to(device)
