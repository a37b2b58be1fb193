"""What the checks of Refine Pairs share: first draws with the inputs of the node around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

import comfy.samplers
from torch import Tensor

from .scenes import CFG, SEED, advanced, base, condition, eight, pairs
from .start import call, room

STEPS, ROUNDS = 3, 2
__all__ = ["CFG", "ROUNDS", "SEED", "STEPS", "Draw", "drawn", "eight_drawn", "order", "sampler", "two_drawn", "watched"]


@dataclass(frozen=True)
class Draw:
    """The inputs of Refine Pairs; kinds: object and type of every image, as lines, and the crop."""

    inputs: dict
    kinds: tuple

    @property
    def images(self) -> Tensor:
        return self.inputs["image"]

    @property
    def scores(self) -> list:
        return self.inputs["scores"]

    def refined(self, **changed) -> tuple:
        """(images, scores, report)."""
        return call("RefinePairs", **self.inputs | changed)

    def judged(self, visible_above: float) -> Draw:
        """The same draw, scored by Compose Pair with another threshold."""
        composing = replace(self.scores[0].composing, visible_above=visible_above)
        scores = [replace(one, visible=one.visibility > visible_above, composing=composing) for one in self.scores]
        return replace(self, inputs=self.inputs | {"scores": scores})


def sampler(name: str):
    """AIAS Sampler's, or one of core's."""
    if name == "aias":
        return call("AIASSampler", order=2, eta=0.5, variance=0.0, pure_start=True, correct=True)[0]
    return comfy.samplers.sampler_object(name)


def drawn(images: Tensor, masks: Tensor, objects="brushed_metal", types="scratch", cropped: bool = True) -> Draw:
    """A first draw on the bundled base."""
    (model, vae, resolution), crop = base(), None
    if cropped:
        *_, crop = call("CropToMask", image=images, mask=masks, resolution=resolution, context=1.0)
    conditioning = condition(model, objects, types, crop)
    first = pairs(images, masks, partial(advanced, steps=STEPS), cropped, objects=objects, types=types)
    (sigmas,) = call("AIASSigmas", model=model, steps=STEPS, kind="half", refine=0, denoise=1.0)
    inputs = {
        "model": model,
        "positive": conditioning.positive,
        "negative": conditioning.negative,
        "vae": vae,
        "sampler": sampler("aias"),
        "sigmas": sigmas,
        "normal": images,
        "mask": masks,
        "image": first.images,
        "scores": first.scores,
        "latent": first.latent,
        "rounds": ROUNDS,
        "seed": SEED,
        "cfg": CFG,
        "refine": "all",
        "crop": crop,
    }
    return Draw(inputs, (objects, types))


@cache
def eight_drawn() -> Draw:
    batch = eight()
    return drawn(batch.images, batch.masks, "\n".join(batch.objects), "\n".join(batch.types))


@cache
def two_drawn() -> Draw:
    batch = eight()
    return drawn(batch.images[:2], batch.masks[:2], "\n".join(batch.objects[:2]), "\n".join(batch.types[:2]))


def order(score) -> tuple:
    """Greater is better."""
    return room("synthesis.refine").rank(score, score.visible)


@contextmanager
def watched(name: str) -> Iterator[list]:
    """[(arguments, result)] of every call of a function of the node's glue."""
    module, calls = room("nodes.redraw"), []
    inner = getattr(module, name)

    def watch(*arguments):
        calls.append((arguments, inner(*arguments)))
        return calls[-1][1]

    setattr(module, name, watch)
    try:
        yield calls
    finally:
        setattr(module, name, inner)
