"""Train a segmentation network on real defects, with or without synthetic ones, and test it on held-back images."""

from __future__ import annotations

import copy
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..datasets.mvtec import Sample, read_sample
from ..datasets.split import Split
from ..datasets.windows import cut_image, cut_mask, image_part, place_window
from ..training.crops import PictureCache
from ..training.loop import Report
from .metrics import metrics
from .networks import NETWORKS
from .tally import Tally, tally

TILE, OVERLAP = 512, 64  # pixels
HELD_OUT = 5  # one group of so many of every type stops the training instead of training
_WARMUP = 50
_STREAMS = {"real": 1, "synthetic": 2, "network": 3}

Kind = tuple[str, str]  # (object, type)
Interrupt = Callable[[], None]


@dataclass(frozen=True)
class Training:
    """How a network is trained; the same for every arm of a comparison.

    crop: side in pixels, at native scale; batch: real crops per step, and as many synthetic ones where there are any;
    max_steps: no run is longer; evaluate_every: steps between two looks at the validation part; patience: looks
    without a better average precision before the training stops, 0 never stops early and takes the best weights all
    the same; average: decay of the weight average that is validated and kept; seed: of the weights and of every draw.

    Raises ValueError for a setting out of its range.
    """

    crop: int = 160
    batch: int = 8
    max_steps: int = 2000
    evaluate_every: int = 100
    patience: int = 5
    learning_rate: float = 1e-3
    average: float = 0.99
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        least = {"crop": 32, "batch": 1, "max_steps": 1, "evaluate_every": 1, "patience": 0, "seed": 0}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise ValueError(f"Evaluate: {name} {getattr(self, name)}; accepted is {limit} or more.")
        if not self.learning_rate > 0 or not 0 <= self.average < 1:
            raise ValueError(
                f"Evaluate: learning rate {self.learning_rate}, average {self.average}; accepted is a learning rate "
                "above 0 and an average of at least 0 and below 1."
            )


@dataclass(frozen=True)
class Record:
    """What a training did.

    steps: taken in all; best_step: whose averaged weights were kept; curve: (step, validation average precision);
    validation: names of the groups that were held out; real, synthetic: crops seen; seconds; parameters.
    """

    steps: int
    best_step: int
    seconds: float
    curve: tuple[tuple[int, float], ...]
    validation: tuple[str, ...]
    real: int
    synthetic: int
    parameters: int


@dataclass(frozen=True)
class Tested:
    """Tallies of a test, per (object, type) and in it per group; good images are the type "good"."""

    kinds: Mapping[Kind, Mapping[str, Tally]] = field(default_factory=dict)

    def groups(self, kind: Kind | None = None) -> dict[str, Tally]:
        """{group: tally}: of a type over that type's images alone; without one over all, the good images included.

        A group that has images of one type only shares its tally with `kinds`; do not change it.
        """
        found: dict[str, Tally] = {}
        for groups in self.kinds.values() if kind is None else [self.kinds.get(kind, {})]:
            for group, one in groups.items():
                found[group] = found[group] + one if group in found else one
        return found

    def total(self, kind: Kind | None = None) -> Tally:
        """The sum of `groups(kind)`."""
        return sum(self.groups(kind).values(), Tally())


def train_segmenter(
    network_name: str,
    real: Sequence[Sample],
    synthetic: Sequence[Sample],
    split: Split,
    settings: Training,
    report: Report | None = None,
    check_interrupt: Interrupt | None = None,
) -> tuple[nn.Module, Record]:
    """Train on crops of real pairs and, beside them, of synthetic ones.

    A step draws `settings.batch` real crops whatever the arm, and which ones depends on (seed, step) alone; synthetic
    crops come on top. About a fifth of the real groups is held out: after a plateau of the average precision there
    the training stops, and the averaged weights that were best there are kept. Where too few groups have a defect to
    spare one, it takes all steps and keeps the last weights.

    Args:
        network_name: in NETWORKS.
        real: of the split's training part, normal and defective.
        synthetic: pairs as read_mvtec lists them; may be empty.
        split: whose groups `real` belongs to.
        report: called about once a second.
        check_interrupt: called every step and every validation image; may raise to stop.

    Returns:
        The network, in evaluation mode, and what happened.

    Raises:
        ValueError: an unknown network, no real defect, an image without a group or held back by the split, a picture
            that cannot be read, a loss that is no longer finite.
    """
    _check(network_name, real, split)
    start, pictures = time.monotonic(), PictureCache()
    fitting, validation = hold_out(real, split.groups, settings.seed)
    network = _new(network_name, settings)
    sources = {"real": Crops(fitting, settings.crop, pictures)}
    if synthetic:
        sources["synthetic"] = Crops(synthetic, settings.crop, pictures)
    watch = _Plateau(_validation_images(validation), pictures, settings.patience, check_interrupt)
    loop = _Loop(network, sources, settings, report)
    while loop.step < settings.max_steps and not watch.over:
        if check_interrupt:
            check_interrupt()
        loop.advance()
        if loop.step % settings.evaluate_every == 0 or loop.step == settings.max_steps:
            watch.look(loop.step, loop.average)
    best = watch.best_into(loop.average)
    record = Record(
        steps=loop.step, best_step=best or loop.step, seconds=time.monotonic() - start, curve=tuple(watch.curve),
        validation=tuple(sorted({split.groups[sample.name] for sample in validation})),
        real=loop.step * settings.batch, synthetic=loop.step * settings.batch * bool(synthetic),
        parameters=sum(weight.numel() for weight in network.parameters()),
    )  # fmt: skip
    return loop.average, record


def hold_out(samples: Sequence[Sample], groups: Mapping[str, str], seed: int) -> tuple[list[Sample], list[Sample]]:
    """(fitting, validation): whole groups, about one in HELD_OUT of every type, and at least one with a defect.

    A group stays in fitting where a type would lose its last one; so with one group per type nothing with a defect is
    held out.
    """
    members: dict[Kind, set[str]] = defaultdict(set)
    for sample in samples:
        members[sample.object, sample.type].add(groups[sample.name])
    defects = {kind: found for kind, found in members.items() if kind[1] != "good"}
    draw, held = random.Random(seed), set()
    # Defects first: where a group holds both, they decide, and its good images only follow.
    for found in [defects[kind] for kind in sorted(defects)] + [members[kind] for kind in sorted(members)]:
        _deal(draw.sample(sorted(found), len(found)), round(len(found) / HELD_OUT), members, held)
    if not any(held & found for found in defects.values()):
        every = sorted(set().union(*defects.values()))
        _deal(draw.sample(every, len(every)), 1, members, held)
    fitting = [sample for sample in samples if groups[sample.name] not in held]
    return fitting, [sample for sample in samples if groups[sample.name] in held]


def _deal(order: Sequence[str], wanted: int, members: Mapping[Kind, set[str]], held: set[str]) -> None:
    """Hold out groups in this order until `wanted` of them are."""
    for group in order:
        if len(held & set(order)) >= wanted:
            return
        if all(found - held - {group} for found in members.values() if group in found):
            held.add(group)


class Crops:
    """Random square crops at native scale, every other one around a defect; nothing outside an image is labelled."""

    def __init__(self, samples: Sequence[Sample], crop: int, pictures: PictureCache):
        """Raises ValueError where no sample has a defect."""
        kinds: dict[Kind, list[Sample]] = defaultdict(list)
        for sample in samples:
            if sample.mask is not None:
                kinds[sample.object, sample.type].append(sample)
        if not kinds:
            raise ValueError(f"Evaluate: none of {len(samples)} training images has a defect; check the split.")
        self.crop, self.pictures = crop, pictures
        self.kinds = [kinds[kind] for kind in sorted(kinds)]
        self.normals = [sample for sample in samples if sample.mask is None]

    def draw(self, step: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """image [B, 3, R, R] in 0 .. 1, mask [B, 1, R, R] 0 or 1, weight [B, 1, R, R] 0 where the image is padded."""
        # The step's parity matters to a batch of odd size alone: over two steps it is half and half too.
        crops = [self._draw((step + index) % 2 == 0, generator) for index in range(count)]
        image, mask, weight = (torch.stack(part) for part in zip(*crops, strict=True))
        return image, mask[:, None].float(), weight[:, None]

    def _draw(self, around: bool, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        anywhere = not around and self.normals and _chance(generator) < 0.5
        sample = _pick(self.normals if anywhere else _pick(self.kinds, generator), generator)
        image, mask = self.pictures.read(sample)
        size = image.shape[1:]
        mask = torch.zeros(size, dtype=torch.bool) if mask is None else mask
        centre = [_chance(generator) * length for length in size]
        if around:
            pixel = _pick(mask.nonzero(), generator).tolist()
            centre = [p + (_chance(generator) - 0.5) * self.crop * 0.75 for p in pixel]
        window = place_window(centre, self.crop, size, self.crop)
        weight = torch.zeros(self.crop, self.crop)
        weight[tuple(inside for _, inside in image_part(window, size))] = 1
        return _augmented(cut_image(image, window) / 255, cut_mask(mask, window), weight, generator)


def _augmented(
    image: Tensor, mask: Tensor, weight: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """One of the square's eight symmetries, and a mild change of contrast (.9 .. 1.1) and brightness (-.05 .. .05)."""
    turns, flip = int(_chance(generator) * 4), _chance(generator) < 0.5
    image, mask, weight = (
        part.rot90(turns, (-2, -1)).flip(-1) if flip else part.rot90(turns, (-2, -1)) for part in (image, mask, weight)
    )
    gain, offset = 0.9 + 0.2 * _chance(generator), 0.1 * _chance(generator) - 0.05
    middle = image.mean()
    return ((image - middle) * gain + middle + offset).clamp(0, 1), mask, weight


def loss(logits: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice over the batch, all [B, 1, H, W]; finite for empty masks and weights too."""
    entropy = F.binary_cross_entropy_with_logits(logits, mask, weight, reduction="sum") / weight.sum().clamp_min(1)
    found = logits.sigmoid() * weight
    truth = mask * weight
    dice = (2 * (found * truth).sum() + 1) / (found.sum() + truth.sum() + 1)
    return entropy + 1 - dice


class _Loop:
    """One optimiser step at a time; `average` is the network whose weights are the running average."""

    def __init__(
        self, network: nn.Module, sources: Mapping[str, Crops], settings: Training, report: Report | None
    ) -> None:
        self.network, self.sources, self.settings, self.report = network.train(), sources, settings, report
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-2)
        self.step, self.reported, self.since, self.losses = 0, 0, time.monotonic(), []

    def advance(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * min(1.0, (self.step + 1) / _WARMUP)
        value = self._loss()
        self.optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self._follow()
        self.step += 1
        self._tell(value.item())

    def _loss(self) -> Tensor:
        settings = self.settings
        drawn = [source.draw(self.step, settings.batch, _generator(settings.seed, name, self.step))
                 for name, source in self.sources.items()]  # fmt: skip
        image, mask, weight = (torch.cat(part).to(settings.device) for part in zip(*drawn, strict=True))
        with _own_randomness(settings.device, settings.seed, self.step):
            return loss(self.network(image).float(), mask, weight)

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)

    def _tell(self, value: float) -> None:
        if value - value != 0:  # NaN or infinite
            raise ValueError(
                f"Evaluate: the segmentation loss is {value} at step {self.step}; try a lower learning rate (it is "
                f"{self.settings.learning_rate:g}) or another seed."
            )
        self.losses.append(value)
        elapsed = time.monotonic() - self.since
        if self.report and (elapsed > 1 or self.step == self.settings.max_steps):
            mean, rate = sum(self.losses) / len(self.losses), (self.step - self.reported) / max(elapsed, 1e-9)
            self.report("segmentation", self.step, self.settings.max_steps, mean, rate)
            self.reported, self.since, self.losses = self.step, time.monotonic(), []


class _Plateau:
    """Average precision on the validation images, the best weights by it, and whether it has stopped rising."""

    def __init__(
        self, samples: Sequence[Sample], pictures: PictureCache, patience: int, check_interrupt: Interrupt | None
    ) -> None:
        self.samples, self.pictures, self.patience = samples, pictures, patience
        self.check_interrupt = check_interrupt
        self.curve: list[tuple[int, float]] = []
        self.best: tuple[float, int, dict[str, Tensor]] | None = None
        self.over, self.since_best = False, 0

    def look(self, step: int, network: nn.Module) -> None:
        if not self.samples:
            return
        found = sum((self._tally(network, sample) for sample in self.samples), Tally())
        precision = metrics(found)["ap"]
        self.curve.append((step, precision))
        self.since_best += 1
        if self.best is None or precision > self.best[0]:
            weights = {name: value.clone() for name, value in network.state_dict().items()}
            self.best, self.since_best = (precision, step, weights), 0
        self.over = 0 < self.patience <= self.since_best

    def best_into(self, network: nn.Module) -> int | None:
        """Load the best weights; the step they are of, or None where nothing was validated."""
        if self.best is None:
            return None
        network.load_state_dict(self.best[2])
        return self.best[1]

    def _tally(self, network: nn.Module, sample: Sample) -> Tally:
        if self.check_interrupt:
            self.check_interrupt()
        image, mask = self.pictures.read(sample)
        return _tally(network, image / 255, mask)


def _validation_images(samples: Sequence[Sample]) -> list[Sample]:
    """The defect images, and of the normal ones at most as many: a set may hold hundreds, and each is looked at whole.

    Empty where there is no defect to find.
    """
    defects = [sample for sample in samples if sample.mask is not None]
    normals = [sample for sample in samples if sample.mask is None]
    step = max(1, ceil(len(normals) / max(1, len(defects))))
    return defects + normals[::step] if defects else []


def test(
    network: nn.Module,
    samples: Iterable[Sample],
    group_of: Mapping[str, str],
    check_interrupt: Interrupt | None = None,
) -> Tested:
    """Tally the network's scores on whole images, good ones included, one image in memory at a time.

    Args:
        network: in evaluation mode.
        samples: the held-back part.
        group_of: {sample name: group}, as a split has it.
        check_interrupt: called every image.

    Raises:
        ValueError: an image without a group, a picture that cannot be read, scores that are NaN.
    """
    kinds: dict[Kind, dict[str, Tally]] = defaultdict(dict)
    for sample in samples:
        if check_interrupt:
            check_interrupt()
        if sample.name not in group_of:
            raise ValueError(f"Evaluate: {sample.image} has no group in the split; give the folder it was made from.")
        picture, mask = read_sample(sample)
        groups, group = kinds[sample.object, sample.type], group_of[sample.name]
        one = _tally(network, picture.image(), mask)
        groups[group] = groups[group] + one if group in groups else one
    return Tested(dict(kinds))


test.__test__ = False  # pytest would collect it wherever a test file imports it


@torch.inference_mode()
def predict(network: nn.Module, image: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
    """The probability of anomaly of every pixel, at native scale.

    Args:
        network: in evaluation mode; the scores are computed on its device and returned on the image's.
        image: [3, H, W] in 0 .. 1. Axes longer than `tile` are cut into tiles of that length that overlap by at least
            `overlap` pixels, over which one fades into the next.

    Returns:
        [H, W] float32 in 0 .. 1.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"Evaluate: tiles of {tile} px that overlap by {overlap}; accepted is less than a tile.")
    device, (height, width) = next(network.parameters()).device, image.shape[1:]
    rows, columns = _tiles(height, tile, overlap), _tiles(width, tile, overlap)
    total, weights = image.new_zeros(2, height, width)
    for top, row_weight in rows:
        for left, column_weight in columns:
            here = slice(top, top + len(row_weight)), slice(left, left + len(column_weight))
            scores = network(image[(slice(None), *here)][None].to(device))[0, 0].float().sigmoid().to(image.device)
            weight = row_weight[:, None] * column_weight
            total[here] += scores * weight
            weights[here] += weight
    return (total / weights).clamp(max=1)  # rounding may leave a score just above it


def _tiles(length: int, tile: int, overlap: int) -> list[tuple[int, Tensor]]:
    """(start, weights [tile]) of evenly spaced tiles along an axis; weights rise over `overlap` where another joins."""
    tile = min(tile, length)
    count = 1 if tile == length else ceil((length - overlap) / (tile - overlap))
    starts = [round(index * (length - tile) / max(1, count - 1)) for index in range(count)]
    rise = (torch.arange(1, tile + 1) / (overlap + 1)).clamp(max=1)
    whole = torch.ones(tile)
    # The image's own border is no seam: there a tile knows as much as the whole image would.
    return [(start, (rise if start else whole) * (rise.flip(0) if start + tile < length else whole))
            for start in starts]  # fmt: skip


def _tally(network: nn.Module, image: Tensor, mask: Tensor | None) -> Tally:
    scores = predict(network, image)
    truth = torch.zeros(scores.shape, dtype=torch.bool) if mask is None else mask
    return tally(scores.numpy(), truth.numpy())


def _check(network_name: str, real: Sequence[Sample], split: Split) -> None:
    if network_name not in NETWORKS:
        raise ValueError(f"Evaluate: network {network_name!r}; accepted is {', '.join(NETWORKS)}.")
    training = set(split.train)
    strange = [sample.name for sample in real if sample.name not in training]
    if strange:
        raise ValueError(
            f"Evaluate: {len(strange)} of {len(real)} real training images are not in the split's training part "
            f"(first {strange[0]}); train on that part alone."
        )


def _new(network_name: str, settings: Training) -> nn.Module:
    with _own_randomness("cpu", settings.seed, -1):
        return NETWORKS[network_name]().to(settings.device)


@contextmanager
def _own_randomness(device: str, seed: int, step: int) -> Iterator[None]:
    """Initial weights and dropout depend on (seed, step) alone, and nothing outside is disturbed."""
    cuda = torch.device(device).type == "cuda"
    with torch.random.fork_rng(devices=[torch.device(device)] if cuda else []):
        torch.manual_seed(_stream(seed, "network", step))
        yield


def _generator(seed: int, stream: str, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(_stream(seed, stream, step))


def _stream(seed: int, stream: str, step: int) -> int:
    # Primes keep the streams and those of neighbouring seeds apart.
    return ((seed * 1_000_003 + _STREAMS[stream] * 15_485_863) * 10_000_019 + step) % 2**63


def _pick(items: Sequence | Tensor, generator: torch.Generator):
    return items[int(_chance(generator) * len(items))]


def _chance(generator: torch.Generator) -> float:
    return torch.rand((), generator=generator).item()
