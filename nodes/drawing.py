"""What a graph samples with, and the same for some items of the batch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from .conditioning import Conditioning
from .fast_sampling import KEY as FAST
from .fast_sampling import with_farm_of
from .stage_sampling import KEY as STAGE


@dataclass(frozen=True, eq=False)
class Drawing:
    """MODEL, conditioning, VAE, SAMPLER, SIGMAS, guidance, and the LATENT with the normal images and their masks."""

    model: Any
    positive: Conditioning
    negative: Conditioning
    vae: Any
    sampler: Any
    sigmas: Tensor
    cfg: float
    latent: dict


def some_of(drawing: Drawing, places: Sequence[int]) -> Drawing:
    """The drawing of the items at `places` alone, in that order; all of it where they cannot be taken out, since a
    patch of the model or an entry of the conditioning may hold what belongs to the whole batch."""
    samples, mask = drawing.latent["samples"], drawing.latent["noise_mask"]
    conditioning, count = (drawing.positive, drawing.negative), len(samples)
    if len(places) == count or not (_unpatched(drawing.model) and all(_separable(c, count) for c in conditioning)):
        return drawing
    places = list(places)
    latent = {"samples": samples[places], "noise_mask": mask[places] if len(mask) > 1 else mask}
    told = (
        [[_some(t, places, count), {k: _some(v, places, count) for k, v in extras.items()}] for t, extras in entries]
        for entries in conditioning
    )
    return replace(
        drawing,
        **dict(zip(("positive", "negative"), told, strict=True)),
        latent=latent,
        model=with_farm_of(drawing.model, places),
    )


def _unpatched(model) -> bool:
    """Nothing hangs on the MODEL but weights, FARM and MGA heads, all of which go by item."""
    options = {**model.model_options, **model.model_options.get("transformer_options", {})}
    options.pop("transformer_options", None)
    hung = [*options.values(), *model.wrappers.values(), *model.injections.values()]
    return not any(hung) and set(model.attachments) <= {FAST} and set(model.additional_models) <= {FAST, STAGE}


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
