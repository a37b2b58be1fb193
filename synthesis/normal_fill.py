"""Normal surface in the place of a defect: what a base that edits learns a defect's change from."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..images.pictures import Picture
from ..images.windows import CONTEXT
from ..modules.compact_ldm import NORMAL, CompactLDM
from ..seeds import part_seed
from .adapters import Adapters
from .compose import DecodedPart, composed_picture
from .make import Job, encoded_windows, made_windows
from .settings import Settings

_STEPS = 10


@torch.inference_mode()
def normal_fill(base: CompactLDM, picture: Picture, mask: Tensor, seed: int = 0) -> Picture:
    """The picture with its mask, bool [H, W], filled with normal surface by the base, which sees only what lies
    around it. Raises Refused for an empty mask or one of another size."""
    object = next(object for object, type in base.config.labels if type == NORMAL)
    job, decoded = Job(picture, mask, object, NORMAL, seed), []
    for windows in encoded_windows(base, [job], CONTEXT):
        hidden = replace(windows, background=windows.background * (1 - windows.mask))
        seeds = [part_seed(seed, part.number) for part in windows.parts]
        settings = Settings(steps=_STEPS, guidance=1.0)
        made, _ = made_windows(base, hidden, [(object, NORMAL)] * len(seeds), seeds, settings, Adapters())
        decoded += map(DecodedPart, windows.parts, made, windows.roundtrip)
    return composed_picture(picture, decoded)
