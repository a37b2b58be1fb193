"""A defect on one photograph: what `make` of the command line and the node Make Defects do.

Both give a mask's windows to a model of their own, a `WindowFiller`. All else is decided here: the area, the controls,
which draw is kept, and which mask goes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..images.pictures import Picture
from ..images.windows import CONTEXT, covered
from ..modules.compact_ldm import NORMAL, CompactLDM, known_type
from ..seeds import CONTROL_SEED, anomaly_seed, part_seed
from .adapters import Adapters
from .compose import composed_picture, composed_values, is_changed
from .controls import COUNT, STEPS
from .labels import refined_mask, refined_picture
from .make import Job, check_job, encoded_windows, made_windows
from .scores import Scores, scores_of
from .settings import FREE, Look, MakeSettings, Settings
from .windows import Part, crop_parts

# excess above which a defect on a photograph counts as visible; a run over a data set measures its own threshold, 1.6
# to 1.9 for the bundled base (`synthesis.negatives`).
VISIBLE_ABOVE = 2.0


@dataclass(frozen=True, eq=False)
class Area:
    """What of a photograph a defect depends on.

    place: its rows and columns in the photograph; mask: bool [h, w], of the area; parts: of that mask, P of them.
    """

    place: tuple[slice, slice]
    mask: Tensor
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, mask: Tensor, resolution: int) -> Area:
        """The area that the windows of a mask cover, bool [H, W], not empty; see `windows.crop_parts`."""
        windows = [part.window for part in crop_parts(0, mask, resolution)]
        place = covered(windows, tuple(mask.shape))
        return cls(place, mask[place], tuple(crop_parts(0, mask[place], resolution)))


class WindowFiller(Protocol):
    """A model with the windows of an area's parts, encoded.

    roundtrip: the normal windows encoded and decoded, float32 [P, 3, R, R] on the CPU.
    """

    roundtrip: Tensor

    def filled(self, seeds: Sequence[int], steps: int, guidance: float, normal: bool) -> Tensor:
        """The windows with every mask filled once for each of `seeds`, by the defect or by normal surface; decoded,
        float32 [len(seeds), P, 3, R, R] on the CPU. Part k draws from `part_seed(seed, k)`."""
        ...


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of a defect.

    picture: the area with the defect; blank: the model changed no window, as behind a bypassed sampler.
    """

    picture: Picture
    scores: Scores
    seed: int
    blank: bool

    @property
    def excess(self) -> float:
        return 0.0 if self.blank else self.scores.excess

    @property
    def visible(self) -> bool:
        return self.excess > VISIBLE_ABOVE


def draw_defect(normal: Picture, area: Area, filler: WindowFiller, settings: MakeSettings) -> tuple[Draw, Tensor]:
    """The best draw of a defect in an area (see `best_draw`), and its mask.

    Args:
        normal: the area's picture.

    Returns:
        the draw; bool [h, w]: with `refine` the pixels that the defect fills, if there are any, else the area's mask.
    """
    again = filler.filled([CONTROL_SEED + time for time in range(COUNT)], STEPS, 1.0, normal=True)
    controls = [
        composed_values(normal, part, again[:, place], filler.roundtrip[place]) for place, part in enumerate(area.parts)
    ]

    def draw(seed: int) -> Draw:
        (windows,) = filler.filled([seed], settings.steps, settings.guidance, normal=False)
        pairs = zip(windows, filler.roundtrip, strict=True)
        made = list(zip(area.parts, pairs, strict=True))
        picture = composed_picture(normal, made)
        scores = scores_of(picture, normal, made, controls=controls)
        return Draw(picture, scores, seed, blank=not any(map(is_changed, made)))

    best = best_draw(draw, settings.seed, settings.tries)
    if not settings.refine:
        return best, area.mask
    refined = torch.from_numpy(refined_mask(best.picture, area.parts, controls))
    return best, refined if refined.any() else area.mask


def best_draw(draw: Callable[[int], Draw], seed: int, tries: int, visible_above: float = VISIBLE_ABOVE) -> Draw:
    """The first draw whose excess is above `visible_above`, of at most `tries`; else the one of the largest excess.

    draw: makes one with a seed; seed: of the first.
    """
    best = draw(seed)
    for number in range(1, tries):
        if best.excess > visible_above:
            break
        best = max(best, draw(anomaly_seed(seed, 0, number)), key=lambda one: one.excess)
    return best


def make_defect(
    base: CompactLDM, picture: Picture, mask: Tensor, type: str, look: Look = FREE, settings: MakeSettings | None = None
) -> tuple[Picture, Tensor, Draw]:
    """A photograph with a defect in its mask, as the node Make Defects draws it.

    Args:
        picture: any size; only the area around the mask is read.
        mask: bool [H, W], where the defect goes.
        type: that the base knows, see `known_type`.

    Returns:
        the picture; its mask, bool [H, W]; the draw, with its scores.

    Raises:
        Refused: an empty mask or one of another size, a type that the base does not know, a look that it cannot be
            asked for, steps that no run can have.
    """
    settings = settings or MakeSettings()
    Settings(steps=settings.steps)  # refuses before anything is encoded
    object, type = known_type(base.config.labels, type)
    job = Job(picture, mask, object, type, settings.seed, look)
    check_job(base, job)
    area = Area.of(mask, base.config.resolution)
    normal = Picture(np.ascontiguousarray(picture.pixels[area.place]))
    draw, local = draw_defect(normal, area, _BaseFiller(base, replace(job, picture=normal, mask=area.mask)), settings)
    pixels, label = picture.pixels.copy(), torch.zeros_like(mask)
    pixels[area.place] = refined_picture(draw.picture, normal, local.numpy()).pixels
    label[area.place] = local
    return picture.with_pixels(pixels), label, draw


class _BaseFiller:
    """A compact base as a `WindowFiller`. job: in the area."""

    @torch.inference_mode()
    def __init__(self, base: CompactLDM, job: Job):
        self.base, self.job = base, job
        self._encoded = list(encoded_windows(base, [job], CONTEXT))
        self.roundtrip = torch.cat([windows.roundtrip for windows in self._encoded])

    @torch.inference_mode()
    def filled(self, seeds: Sequence[int], steps: int, guidance: float, normal: bool) -> Tensor:
        type, look = (NORMAL, FREE) if normal else (self.job.type, self.job.look)
        settings, batches = Settings(steps=steps, guidance=guidance), []
        for windows in self._encoded:
            again = windows.repeated(range(len(windows.parts)), len(seeds))
            count = len(again.parts)
            own = [part_seed(seed, part.number) for seed in seeds for part in windows.parts]
            types = [(self.job.object, type)] * count
            made, _ = made_windows(self.base, again, types, own, settings, Adapters(), [look] * count)
            batches.append(made.unflatten(0, (len(seeds), -1)))
        return torch.cat(batches, 1)
