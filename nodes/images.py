"""IMAGE and MASK tensors at the border: checked, matched in batch, and turned into the engine's types and back."""

from __future__ import annotations

from collections.abc import Sequence

import comfy.model_management
import numpy as np
import torch
from torch import Tensor

from ..errors import Refused
from ..images.pictures import Picture

DEFECT_ABOVE = 0.5
UNPAINTED = (64, 64)  # size of the empty mask that Load Image gives for an image without one


def check_image(image: Tensor, name: str = "image") -> Tensor:
    """An IMAGE [B, H, W, C] as [B, H, W, 3], finite.

    Raises:
        Refused: no image in the batch, another shape, whole numbers, NaN.
    """
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        raise Refused(name, list(image.shape), "an IMAGE, [batch, height, width, 3]")
    if not image.is_floating_point():
        raise Refused(name, image.dtype, "an IMAGE, floats from 0 to 1")
    if not image.shape[0]:
        raise Refused(name, "a batch of 0", remedy="connect at least one image")
    if not torch.isfinite(image).all():
        raise Refused(name, "it holds NaN or infinity", remedy="look at the node that made it")
    return image.expand(-1, -1, -1, 3) if image.shape[-1] == 1 else image[..., :3]


def mask_batch(mask: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """A MASK as float [B, H, W], 1 is defect: from [H, W], [B, H, W], [B, 1, H, W] or [B, H, W, 1], of any number type.

    Args:
        size: (H, W) that it should have, which resolves axes of length 1; a mask of another size is not refused.

    Raises:
        Refused: other axes, NaN.
    """
    shape = tuple(mask.shape)
    if mask.ndim == 2 or (mask.ndim == 3 and shape == (*(size or ()), 1)):
        masks = mask.reshape(1, *shape[:2])
    elif mask.ndim == 4 and shape[1] == 1 and (shape[3] != 1 or shape[2:] == size):
        masks = mask[:, 0]
    elif mask.ndim == 4 and shape[3] == 1:
        masks = mask[..., 0]
    else:
        masks = mask
    if masks.ndim != 3 or not masks.numel():
        raise Refused(
            "mask",
            list(shape),
            "a MASK, [batch, height, width], with a further axis of 1 or without",
            "make one of an image with Convert Image to Mask",
        )
    if not masks.is_floating_point():
        masks = masks.float()
        top = masks.max()  # 1, or the largest level of a picture of 8 or 16 bit
        masks = masks / (1 if top <= 1 else 255 if top <= 255 else 65535)
    if not torch.isfinite(masks).all():
        raise Refused("mask", "it holds NaN or infinity", remedy="look at the node that made it")
    return masks


def with_masks(image: Tensor, mask: Tensor, name: str = "image") -> tuple[Tensor, list[Tensor]]:
    """An IMAGE with its MASK, matched as core matches batches: one image for several masks is repeated, one mask for
    several images too.

    Returns:
        [B, H, W, 3], and a bool [H, W] for each.

    Raises:
        Refused: as `check_image` and `check_masks`.
    """
    image = check_image(image, name)
    count = len(mask_batch(mask, tuple(image.shape[1:3])))
    if len(image) == 1 and count > 1:
        image = image.expand(count, -1, -1, -1)
    return image, check_masks(mask, image)


def check_masks(mask: Tensor, image: Tensor) -> list[Tensor]:
    """A MASK, see `mask_batch`, as one bool [H, W] per image of `image` [B, H, W, C]: above 0.5 is defect.

    Raises:
        Refused: another size or batch than the image's, NaN, or an empty mask.
    """
    batch, size = image.shape[0], tuple(image.shape[1:3])
    masks = mask_batch(mask, size)
    if tuple(masks.shape[1:]) == UNPAINTED != size and not masks.any():
        raise Refused(
            "mask",
            "the empty one of 64 x 64 that Load Image gives where no mask is painted",
            remedy="paint the defect there (right-click Load Image, Open in MaskEditor), or connect another mask",
        )
    if tuple(masks.shape[1:]) != size:
        raise Refused(
            "mask",
            f"{' x '.join(map(str, masks.shape[-2:]))}, the image {size[0]} x {size[1]} (height x width)",
            remedy="connect a mask of the image's size",
        )
    if masks.shape[0] not in (1, batch):
        raise Refused(
            "mask",
            f"{masks.shape[0]} masks for {batch} images",
            remedy="connect one for all, or one for each",
        )
    empty = [index for index, one in enumerate(masks) if not (one > DEFECT_ABOVE).any()]
    if empty:
        raise Refused(
            f"mask {empty[0]} of the batch",
            f"it is empty (its largest value is {float(masks[empty[0]].max()):.2g})",
            f"a mask with values above {DEFECT_ABOVE}, which are defect",
            "draw at least one pixel, in Load Image with Open in MaskEditor",
        )
    return [one.cpu() > DEFECT_ABOVE for one in masks.expand(batch, *size)]


def repeated(image: Tensor, batch: int, name: str) -> Tensor:
    """An IMAGE of `batch` items from one of 1 or `batch`. Raises Refused for any other."""
    if image.shape[0] not in (1, batch):
        known = "1" if batch == 1 else f"1 or {batch}"
        raise Refused(name, f"{image.shape[0]} images, the batch {batch}", remedy=f"connect {known}")
    return image.expand(batch, *image.shape[1:])


def to_picture(image: Tensor, depth: np.dtype | None = None) -> Picture:
    """An image [H, W, 3] in 0 .. 1 as its file held it: grey where the three channels are equal; of `depth` (uint8 or
    uint16), else 8 bit where every value is a multiple of 1/255 within its float type's precision, else 16 bit."""
    tolerance = max(1e-3, 255 * torch.finfo(image.dtype).eps)
    values = image.detach().cpu().double().clamp(0, 1)
    scaled = values * 255
    whole = scaled.round()
    if depth == np.uint8 or (depth is None and scaled.sub_(whole).abs_().max() < tolerance):
        pixels = whole.to(torch.uint8).numpy()
    else:
        pixels = values.mul_(65535).round_().numpy().astype(np.uint16)
    grey = all(np.array_equal(pixels[..., 0], pixels[..., channel]) for channel in (1, 2))
    return Picture(np.ascontiguousarray(pixels[..., :1] if grey else pixels))


def to_image(picture: Picture) -> Tensor:
    """A picture as [H, W, 3] in 0 .. 1; `to_picture` gives the same pixels back."""
    return picture.image().permute(1, 2, 0)


def lines(text: str, count: int, name: str) -> list[str]:
    """One entry per item from a text of one line (for all) or of `count` lines. Raises Refused for any other."""
    entries = [line.strip() for line in text.strip().splitlines()] or [""]
    if len(entries) not in (1, count):
        raise Refused(name, f"{len(entries)} lines for {count} images", remedy=f"give one line, or {count}")
    return entries * count if len(entries) == 1 else entries


def to_batch(images: Sequence[Tensor]) -> Tensor:
    """[H, W, C] images of one size as one batch on the host's device for intermediate results."""
    return torch.stack(list(images)).to(comfy.model_management.intermediate_device())
