"""Features of a defect from an image encoder such as CLIP's, for `synthesis.nearest_real`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images.masks import mask_box
from .nearest_real import Features
from .visibility import ring

Embed = Callable[[Tensor], Tensor]  # square images [B, 3, n, n] in 0 .. 1, of any side n -> embeddings [B, F]
LEAST_VIEW = 32  # px: a smaller view, enlarged to an encoder's 224 px, is a blur


def embedding_features(embed: Embed) -> Features:
    """The direction in which a defect moves an encoder's view of it, [B, F] of length 1: from the embedding of a close
    view with the mask filled in the mean colour of the ring around it to the embedding of the view itself.

    The embedding of a whole crop was not taken: most of its pixels are surface, so that it tells object, colour and
    light, in which a made pair on another normal image is far from every real one, and hardly the defect. The
    difference to the normal image was not taken either: real defects have none. The filled view stands in for it, and
    is there for real and made defects alike. Its length is not kept, since surface that shows nothing moves the view
    by little, and would lie in the midst of all real defects; its direction does not.
    The view is the square around the mask's box of twice its longer side, at least 32 px, inside the crop: an encoder
    sees 14 to 32 px as one patch, and of a large surface around a small defect little else than the surface.
    """
    return partial(_embedding_features, embed)


@torch.inference_mode()
def _embedding_features(embed: Embed, crops: Tensor, masks: Tensor) -> Tensor:
    found = []
    for crop, mask in zip(crops, masks, strict=True):
        place = _view(mask)
        seen, without = embed(torch.stack([crop[place], _filled(crop, mask)[place]])).float().cpu()
        found.append(F.normalize(seen - without, dim=0))
    return torch.stack(found)


def _view(mask: Tensor) -> tuple:
    """The part of [..., R, R] that is looked at."""
    top, left, height, width = mask_box(mask)
    side = min(max(2 * max(height, width), LEAST_VIEW), mask.shape[0])
    starts = (
        min(max(start + length // 2 - side // 2, 0), mask.shape[0] - side)
        for start, length in ((top, height), (left, width))
    )
    return (..., *(slice(start, start + side) for start in starts))


def _filled(crop: Tensor, mask: Tensor) -> Tensor:
    colour = crop[:, ring(mask)].mean(1)
    return torch.where(mask, colour[:, None, None], crop)
