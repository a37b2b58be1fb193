"""A defect on one photograph: what `make` and `draw` of the command line do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..images.pictures import Picture
from ..images.windows import covered
from ..modules.compact_ldm import CompactLDM, known_type
from .controls import KnownControls
from .draws import VISIBLE_ABOVE, best_draw
from .labels import refined_picture
from .make import Job, check_job
from .pair import Pair, make_pairs
from .settings import FREE, Look, MakeSettings, Settings
from .windows import crop_parts


def make_defect(
    base: CompactLDM, picture: Picture, mask: Tensor, type: str, look: Look = FREE, settings: MakeSettings | None = None
) -> tuple[Picture, Tensor, Pair, bool]:
    """A photograph with a defect in its mask, as the node Make Defects draws it.

    Args:
        picture: any size; only the area around the mask is read.
        mask: bool [H, W], where the defect goes.
        type: that the base knows, see `known_type`.

    Returns:
        the picture; its mask, bool [H, W]; the pair of the area, with its scores; whether the defect is visible.

    Raises:
        Refused: an empty mask or one of another size, a type that the base does not know, a look that it cannot be
            asked for.
    """
    how = settings or MakeSettings()
    sampled = Settings(steps=how.steps, guidance=how.guidance)
    object, type = known_type(base.config.labels, type)
    job = Job(picture, mask, object, type, how.seed, look)
    check_job(base, job)
    windows = [part.window for part in crop_parts(0, mask, base.config.resolution, sampled.context)]
    place = covered(windows, picture.size)
    area = Picture(np.ascontiguousarray(picture.pixels[place]))
    local, known = replace(job, picture=area, mask=mask[place]), KnownControls()

    def draw(seed: int) -> Pair:
        return make_pairs(base, [replace(local, seed=seed)], sampled, controlled=True, known=known)[0]

    pair = best_draw(draw, how.seed, how.tries)
    shown = pair.refined if how.refine and pair.refined.any() else local.mask.numpy()
    pixels, label = picture.pixels.copy(), torch.zeros_like(mask)
    pixels[place] = refined_picture(pair.picture, area, shown).pixels
    label[place] = torch.from_numpy(shown)
    return picture.with_pixels(pixels), label, pair, pair.excess > VISIBLE_ABOVE
