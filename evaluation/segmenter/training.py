"""Train a segmentation network on crops of real defects and, beside them, of synthetic ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil, inf
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...datasets.hold_out import hold_out
from ...datasets.sample import Sample, whole_images
from ...datasets.split import Split
from ...errors import Refused
from ...training.crops import PictureCache
from ...training.loop import Best, Report, train
from ..networks import NETWORKS, PRETRAINED
from ..settings import Training
from .crops import Crops
from .labels import Labels
from .validation import Validation


@dataclass(frozen=True)
class Record:
    """What a training did.

    best_step: whose averaged weights were kept; curve: (step, validation IoU, mean over types);
    validation: names of the groups that were held out; real, synthetic: crops seen; seconds: all sittings together.
    """

    steps: int
    best_step: int
    seconds: float
    curve: tuple[tuple[int, float], ...]
    validation: tuple[str, ...]
    real: int
    synthetic: int
    parameters: int


def train_segmenter(
    network_name: str,
    real: Sequence[Sample],
    synthetic: Sequence[Sample],
    split: Split,
    settings: Training,
    *,
    unlikely: Mapping[Sample, Tensor] | None = None,
    state: Path | None = None,
    report: Report | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> tuple[nn.Module, Record]:
    """Train a network of NETWORKS.

    A step draws `settings.batch` real crops whatever the arm, and which ones depends on (seed, step) alone; synthetic
    crops come on top. Without a real defect the real crops are normal surface. Where too few groups have a defect to
    spare one, none is held out.

    Args:
        network_name: in NETWORKS.
        real: of the split's training part, normal and defective.
        synthetic: pairs as read_mvtec lists them; may be empty.
        split: whose groups `real` belongs to.
        unlikely: pixels of pairs that do not count, bool [H, W] each.
        state: file from which a killed training goes on; see `training.loop.train`.
        report: called about once a second.
        check_interrupt: called every step and every validation image; may raise to stop.

    Returns:
        The network, in evaluation mode, and what happened.

    Raises:
        ValueError: an unknown network, neither a real nor a synthetic defect, an image without a group or held back by
            the split, a picture that cannot be read, a loss that is no longer finite, a state of another training.
    """
    _check(network_name, real, synthetic, split)
    real = whole_images(real)
    clock, pictures = _Clock(), PictureCache()
    fitting, held_out = hold_out(real, split.groups, settings.seed) if settings.hold_out else (real, [])
    sources = _sources(fitting, synthetic, settings, pictures, unlikely)
    with _own_randomness("cpu", settings.seed):
        network = NETWORKS[network_name](settings.weights).to(settings.device)
    validation = Validation(held_out, pictures, check_interrupt)
    looks = Best(network, validation.iou, every=settings.evaluate_every, steps=settings.steps, sign=1)
    described = [
        network_name,
        asdict(settings),
        split.digest,
        *(sorted(s.name for s in part) for part in (real, synthetic)),
    ]

    def watch(step: int, averages: Mapping[str, Tensor]) -> None:
        looks.look(step, averages)
        clock.tick()

    train(
        "segmentation",
        network.train(),
        _step_loss(network, sources, settings),
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        average=settings.average,
        state=state,
        run=json.dumps(described),
        report=report,
        check_interrupt=check_interrupt,
        watch=watch,
        kept=looks.kept | {"seconds": clock.seconds},
        slow=lambda name: settings.weights == "pretrained" and name.startswith(PRETRAINED),
    )
    looks.restore()
    record = Record(
        steps=settings.steps,
        best_step=looks.best[0] if looks.best else settings.steps,
        seconds=clock.seconds.item(),
        curve=tuple((step, iou) for step, (iou,) in looks.points),
        validation=tuple(sorted({split.groups[sample.name] for sample in held_out})),
        real=settings.steps * settings.batch,
        synthetic=sum(ceil(min(source.until, settings.steps)) * source.count for source in sources[1:]),
        parameters=sum(weight.numel() for weight in network.parameters()),
    )
    return network.eval().requires_grad_(False), record


class _Clock:
    """seconds: spent so far, a tensor that a state file keeps."""

    def __init__(self) -> None:
        self.seconds, self.last = torch.zeros((), dtype=torch.float64), time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        self.seconds += now - self.last
        self.last = now


@dataclass(frozen=True)
class _Source:
    """crops: what is drawn; count: of them per step; weight: of their loss; until: step after which they rest."""

    crops: Crops
    count: int
    weight: float
    until: float


def _sources(
    real: Sequence[Sample],
    synthetic: Sequence[Sample],
    settings: Training,
    pictures: PictureCache,
    unlikely: Mapping[Sample, Tensor] | None,
) -> list[_Source]:
    """Real crops first: they are the same ones with and without synthetic ones after them."""
    crops = partial(Crops, crop=settings.crop, pictures=pictures, augmentation=settings.augmentation)
    found = []
    if real:
        found.append(_Source(crops(real), settings.batch, 1.0, inf))
    if synthetic:
        labels = Labels(settings.labels, settings.ignore, unlikely)
        # Without real defects there is nothing to end with.
        last = any(sample.mask is not None for sample in real)
        until = settings.synthetic_until * settings.steps if last else inf
        found.append(_Source(crops(synthetic, labels=labels), settings.synthetic, settings.synthetic_weight, until))
    return found


def _step_loss(network: nn.Module, sources: Sequence[_Source], settings: Training):
    def step_loss(step: int, generator: torch.Generator) -> Tensor:
        own = int(torch.randint(2**62, (), generator=generator))
        active = [source for source in sources if step < source.until]
        drawn = [source.crops.draw(step, source.count, generator) for source in active]
        image, mask, weight = (torch.cat(part).to(settings.device) for part in zip(*drawn, strict=True))
        with _own_randomness(settings.device, own):
            logits = network(image).float()
        # Apart, since a joint Dice would be the synthetic masks', which are larger than real ones.
        parts = zip(*(part.split([source.count for source in active]) for part in (logits, mask, weight)), strict=True)
        return sum(source.weight * loss(*part) for source, part in zip(active, parts, strict=True))

    return step_loss


def loss(logits: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice over the batch, all [B, 1, H, W]; finite for empty masks and weights too."""
    entropy = F.binary_cross_entropy_with_logits(logits, mask, weight, reduction="sum") / weight.sum().clamp_min(1)
    found, truth = logits.sigmoid() * weight, mask * weight
    dice = (2 * (found * truth).sum() + 1) / (found.sum() + truth.sum() + 1)
    return entropy + 1 - dice


def _check(network_name: str, real: Sequence[Sample], synthetic: Sequence[Sample], split: Split) -> None:
    if network_name not in NETWORKS:
        raise Refused("network", repr(network_name), ", ".join(NETWORKS))
    if not any(sample.mask for sample in (*real, *synthetic)):
        raise Refused(
            "training part", f"none of its {len(real)} training images has a defect", remedy="check the split"
        )
    training = set(split.train)
    strange = [sample.name for sample in real if sample.name not in training]
    if strange:
        raise Refused(
            "training images",
            f"{len(strange)} of {len(real)} real ones are not in the split's training part (first {strange[0]})",
            remedy="train on that part alone",
        )


@contextmanager
def _own_randomness(device: str, seed: int) -> Iterator[None]:
    """Initial weights and dropout draw from `seed` alone, and nothing outside is disturbed."""
    cuda = torch.device(device).type == "cuda"
    with torch.random.fork_rng(devices=[torch.device(device)] if cuda else []):
        torch.manual_seed(seed)
        yield
