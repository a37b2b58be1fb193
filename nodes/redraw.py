"""Pairs drawn again in their place by a graph's own model and sampler: the draws of Refine Pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import comfy.model_management
import latent_preview
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..errors import Refused
from ..modules.tokens import Type
from ..seeds import round_seed
from ..synthesis.compose import DecodedPart
from ..synthesis.refine import Varied
from ..synthesis.scores import scores_of
from ..synthesis.windows import Crop, check_windows, window_of
from .compose import Batch, Composing, Score, checked_crop, composed
from .conditioning import Conditioning
from .fast import FARM_KEY, farm_share, with_farm_of, with_farm_share
from .images import check_image, to_picture
from .latents import ItemSeeds, check_channels, item_seeds, pooled_mask
from .masked_sampler import MaskedSampler, sampled
from .nearest import Measured, with_nearest
from .stage import MGA_KEY

COUNT_KEY = "sias_counting"

# (places in the batch, their images [B, H, W, 3], their scores) -> the scores with nearest_real
Measure = Callable[[Sequence[int], Tensor, Sequence[Score]], Sequence[Score]]


@dataclass(frozen=True, eq=False)
class SamplerInputs:
    """MODEL, conditioning, VAE, SAMPLER, SIGMAS, guidance, and the LATENT with the normal images and their masks."""

    model: Any
    positive: Conditioning
    negative: Conditioning
    vae: Any
    sampler: Any
    sigmas: Tensor
    cfg: float
    latent: dict


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundPair(Score):
    """A pair of the search: its image [H, W, 3], calls of the model for one window each. The seconds are not known."""

    image: Tensor
    calls: int = 0
    seconds: float = 0.0

    @property
    def score(self) -> Score:
        return Score(**{field.name: getattr(self, field.name) for field in fields(Score)})


class Search:
    """The parts of a search in a graph: what `synthesis.refine.refine` needs. Raises Refused as `refined_pairs`.

    given: what the first draw was made with; calls: of the model so far, for one window each.
    """

    def __init__(
        self, inputs: SamplerInputs, batch: Batch, crop: Crop | None, rounds: int, seed: int, measure: Measure | None
    ):
        self.batch, self.seed, self.measure = batch, seed, measure
        self.composing = _composing(batch.scores)
        self.crop = checked_crop(batch.normals, batch.masks, crop)
        self.inputs = replace(inputs, latent=inputs.latent | {"noise_mask": _checked_latent(inputs, self.crop)})
        self.roundtrip = _decoded(inputs.vae, inputs.latent["samples"], "the latent")
        _check_scores(batch, self.crop, self.roundtrip)
        self._rows: list[int] = []
        self._counted = partial(counted, rows=self._rows)
        self.given = Varied(inputs.cfg, _varied_share(inputs))
        steps = len(inputs.sigmas) - 1
        self._show = latent_preview.prepare_callback(inputs.model, rounds * steps)
        self._steps, self._total, self._done = steps, rounds * steps, 0

    @property
    def calls(self) -> int:
        return sum(self._rows)

    def first(self) -> list[FoundPair]:
        """The pairs as they came. Where no draw is measured, they are not ranked by what others lack either."""
        scores, images = self.batch.scores, self.batch.images
        if self.measure:
            scores = self.measure(range(len(images)), images, scores)
        else:
            scores = [replace(one, nearest_real=None) for one in scores]
        return [_found_pair(one, image) for one, image in zip(scores, images, strict=True)]

    def again(self, number: int) -> list[tuple[int, int]]:
        """(item, seed of the round) of every pair."""
        return [(item, round_seed(self.seed, number)) for item in range(len(self.batch.images))]

    def make(self, jobs: Sequence[tuple[int, int]], varied: Varied) -> list[FoundPair]:
        """The pairs of one round, of some items."""
        items, seed = [item for item, _ in jobs], jobs[0][1]
        crop, places = self.crop.some(items)
        seeds, before = item_seeds(self.inputs.latent, seed), self.calls
        windows, sampled = self._windows(places, seed, seeds, varied)
        composing, called = self.composing, (self.calls - before) // sampled
        images, scores = composed(
            self.batch.normals[items],
            [self.batch.masks[item] for item in items],
            windows,
            self.roundtrip[places],
            crop,
            composing.mode,
            composing.feather,
            composing.visible_above,
            self._controls(places),
        )
        scores = self.measure(items, images, scores) if self.measure else scores
        made = []
        for new, score in enumerate(scores):
            own = [place for place, _ in crop.of(new)]
            # A copy: a view would hold the round's whole batch for as long as the pair is the best.
            scored = replace(score, seed=seeds[places[own[0]]], composing=composing)
            made.append(_found_pair(scored, images[new].clone(), called * len(own)))
        return made

    def _controls(self, places: list[int]) -> Tensor | None:
        """The controls of the windows at `places`, as Compose Pair had them."""
        controls = self.composing.controls
        if controls is None:
            return None
        return torch.cat([again[places] for again in controls.split(len(self.roundtrip))])

    def _windows(self, places: list[int], seed: int, seeds: list[int], varied: Varied) -> tuple[Tensor, int]:
        """(decoded windows at `places`, how many were sampled for it: all where some cannot be taken out)."""
        part = some_inputs(self.inputs, places)
        alone = part is not self.inputs
        model = self._counted(part.model)
        if varied.farm != self.given.farm:
            model = with_farm_share(model, varied.farm)
        own = ItemSeeds(seed, [seeds[place] for place in places] if alone else seeds)
        made = sampled(
            part.sampler,
            model,
            own,
            varied.guidance,
            part.positive,
            part.negative,
            part.latent["samples"],
            part.latent["noise_mask"],
            part.sigmas,
            partial(self._report, self._done),
        )
        self._done += self._steps
        return _decoded(part.vae, made if alone else made[places], "what was sampled"), len(made)

    def _report(self, done: int, step: int, x0: Tensor, x: Tensor, steps: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        self._show(done + step, x0, x, self._total)


def nearest_to(batch: Batch, crop: Crop | None, real: Measured, kinds: Sequence[Type]) -> Measure:
    def measure(items: Sequence[int], images: Tensor, scores: Sequence[Score]) -> list[Score]:
        masks = torch.stack([batch.masks[item] for item in items]).float()
        some = None if crop is None else crop.some(items)[0]
        return with_nearest(images, scores, real, [kinds[item] for item in items], some, masks)

    return measure


def _found_pair(score: Score, image: Tensor, calls: int = 0) -> FoundPair:
    return FoundPair(**vars(score), image=image, calls=calls)


def _varied_share(inputs: SamplerInputs) -> float:
    """FARM's share where a round may change it, else 0: core's samplers leave FARM out, and renoise knows only 1."""
    if not isinstance(inputs.sampler, MaskedSampler) or inputs.sampler.options.get("foreground_mode") == "renoise":
        return 0.0
    return farm_share(inputs.model)


def _composing(scores: Sequence[Score] | None) -> Composing:
    ways = {score.composing for score in scores or ()}
    if None in ways or len(ways) != 1:
        raise Refused(
            "scores",
            f"they do not name one way in which the pairs were composed ({len(ways - {None})} are named)",
            remedy="connect the scores of one Compose Pair",
        )
    return ways.pop()


def _checked_latent(inputs: SamplerInputs, crop: Crop) -> Tensor:
    """The latent's mask. Raises Refused for another batch's or another model's latent, and for no levels."""
    samples = inputs.latent["samples"]
    mask = pooled_mask(inputs.latent)
    if mask is None:
        raise Refused("latent", "empty", remedy="connect Defect Latent's, with the normal image and the mask")
    check_channels(samples, inputs.model)
    if len(samples) != len(crop.parts):
        raise Refused(
            "latent",
            f"{len(samples)} latents, but there are {len(crop.parts)} windows to fill",
            remedy="connect Defect Latent's latent of these images, "
            f"{'and their crop' if crop.whole else 'which is of the crops'}",
        )
    item_seeds(inputs.latent, 0)
    if len(inputs.sigmas) < 2:
        raise Refused("sigmas", "no step", remedy="give the scheduler steps and a denoise above 0")
    for name in ("positive", "negative"):
        _check_count(name, getattr(inputs, name), len(samples))
    return mask


def _check_count(name: str, conditioning: list, windows: int) -> None:
    """Core's samplers would repeat the tokens of fewer items, and so mix up types."""
    for tokens, _ in conditioning:
        if tokens is not None and windows % len(tokens):
            raise Refused(
                name,
                f"a conditioning for {len(tokens)} items, and {windows} are sampled",
                remedy="give Anomaly Conditioning one line, or as many as images, and connect Crop to Mask's crop "
                "to it",
            )


def _decoded(vae, samples: Tensor, name: str) -> Tensor:
    comfy.model_management.throw_exception_if_processing_interrupted()
    channels = getattr(vae, "latent_channels", samples.shape[1])
    if channels != samples.shape[1]:
        raise Refused(
            name,
            f"{samples.shape[1]} channels, the VAE {channels}",
            remedy="connect the VAE of Defect Latent",
        )
    return check_image(vae.decode(samples), f"{name}, decoded,")


def _check_scores(batch: Batch, crop: Crop, roundtrip: Tensor) -> None:
    """Raise Refused where the scores are not those of the images against the latent, decoded."""
    planes = roundtrip.permute(0, 3, 1, 2).cpu().float()
    check_windows(planes, crop)
    for item, score in enumerate(batch.scores):
        comfy.model_management.throw_exception_if_processing_interrupted()
        image, normal = batch.images[item].cpu(), batch.normals[item].cpu()
        if not torch.equal(image[~batch.masks[item]], normal[~batch.masks[item]].to(image)):
            raise Refused(
                "image",
                f"image {item} differs from its normal image outside the mask",
                remedy="connect normal, mask and image of one Compose Pair",
            )
        normals = [(part, window_of(planes[place], part.window.resolution)) for place, part in crop.of(item)]
        parts = [DecodedPart(part, window, window) for part, window in normals]
        source = to_picture(normal)
        found = scores_of(to_picture(image, source.pixels.dtype), source, parts).visibility
        windows = tuple(one.part.window for one in parts)
        if windows != score.windows or abs(found - score.visibility) > 0.02 + 0.05 * score.visibility:
            raise Refused(
                "scores",
                f"not those of image {item}: its visibility is {found:.2f}, theirs {score.visibility:.2f}",
                remedy="connect image and scores of one Compose Pair, and the latent that its roundtrip was decoded "
                "from, which is Defect Latent's and not the sampler's",
            )


def some_inputs(inputs: SamplerInputs, places: Sequence[int]) -> SamplerInputs:
    """The inputs of the items at `places` alone, in that order; all of them where they cannot be taken out, since a
    patch of the model or an entry of the conditioning may hold what belongs to the whole batch."""
    samples, mask = inputs.latent["samples"], inputs.latent["noise_mask"]
    conditioning, count = (inputs.positive, inputs.negative), len(samples)
    if len(places) == count or not (_unpatched(inputs.model) and all(_separable(c, count) for c in conditioning)):
        return inputs
    places = list(places)
    latent = {"samples": samples[places], "noise_mask": mask[places] if len(mask) > 1 else mask}
    taken = (
        [[_some(t, places, count), {k: _some(v, places, count) for k, v in extras.items()}] for t, extras in entries]
        for entries in conditioning
    )
    return replace(
        inputs,
        **dict(zip(("positive", "negative"), taken, strict=True)),
        latent=latent,
        model=with_farm_of(inputs.model, places),
    )


def _unpatched(model) -> bool:
    """Nothing hangs on the MODEL but weights, FARM and MGA heads, all of which go by item."""
    options = {**model.model_options, **model.model_options.get("transformer_options", {})}
    options.pop("transformer_options", None)
    hung = [*options.values(), *model.wrappers.values(), *model.injections.values()]
    return (
        not any(hung) and set(model.attachments) <= {FARM_KEY} and set(model.additional_models) <= {FARM_KEY, MGA_KEY}
    )


def _separable(conditioning: Conditioning, count: int) -> bool:
    values = [value for tokens, extras in conditioning for value in (tokens, *extras.values())]
    return all(
        value.ndim > 0 and len(value) in (1, count)
        if isinstance(value, Tensor)
        else value is None or isinstance(value, (int, float, str))
        for value in values
    )


def _some(value: Any, places: list[int], count: int) -> Any:
    return value[places] if isinstance(value, Tensor) and len(value) == count else value


def counted(model, rows: list[int]):
    """A clone of a MODEL that adds to `rows`, at every call, the number of items in the call: positive and negative
    conditioning are items of their own."""

    def count(run: Callable[..., Tensor], x: Tensor, *args, **kwargs) -> Tensor:
        rows.append(len(x))
        return run(x, *args, **kwargs)

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, COUNT_KEY, count)
    return clone
