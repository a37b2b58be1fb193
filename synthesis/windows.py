"""What synthesis looks at: the pieces of every mask, each in the window that it is made in, and back into the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import Refused
from ..images.components import Box, windowed_parts
from ..images.windows import CONTEXT, Window, enlarge, image_part, place_window, shrink_mask

PADDING = 64  # px that Defect Latent may add at the right and the bottom: no VAE reduces by more


@dataclass(frozen=True, eq=False)
class Part:
    """One window's share of the mask of image `item`: its piece `number`, `inside` its box, bool [h, w].

    Only the box is kept: a large image may have hundreds of specks.
    """

    item: int
    number: int
    box: Box
    inside: Tensor
    window: Window

    def shown(self) -> Tensor:
        """The piece in its window, as the model sees it: bool [R, R]."""
        return shrink_mask(self._placed((self.window.side,) * 2, self.window.top, self.window.left), self.window)

    def in_area(self, size: tuple[int, int]) -> tuple[tuple[slice, slice], Tensor]:
        """The area of an image of `size` (H, W) that the window covers, and the piece in it, bool."""
        (rows, _), (columns, _) = image_part(self.window, size)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        return (rows, columns), self._placed(shape, rows.start, columns.start)

    def _placed(self, shape: tuple[int, int], top: int, left: int) -> Tensor:
        canvas = torch.zeros(shape, dtype=torch.bool)
        canvas[self.box[0] - top : self.box[2] - top, self.box[1] - left : self.box[3] - left] = self.inside
        return canvas


@dataclass(frozen=True, eq=False)
class Crop:
    """The parts of a batch of masks, in the order of their crops.

    size: (H, W) of the images; items: how many; whole: the windows are the images themselves, see `whole_images`.
    """

    parts: tuple[Part, ...]
    size: tuple[int, int]
    items: int
    whole: bool = False

    def of(self, item: int) -> list[tuple[int, Part]]:
        """(place among the crops, part) of one image."""
        return [(place, part) for place, part in enumerate(self.parts) if part.item == item]

    def some(self, items: Sequence[int]) -> tuple[Crop, list[int]]:
        """The crop of some images alone, in that order, and the places of its parts among the crops."""
        found = [(place, replace(part, item=new)) for new, item in enumerate(items) for place, part in self.of(item)]
        parts = tuple(part for _, part in found)
        return Crop(parts, self.size, len(items), self.whole), [place for place, _ in found]

    def mask(self, item: int) -> Tensor:
        """The mask of one image, bool [H, W]: the union of its parts."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        for _, part in self.of(item):
            mask[part.box[0] : part.box[2], part.box[1] : part.box[3]] |= part.inside
        return mask


def crop_parts(item: int, mask: Tensor, resolution: int, context: float = CONTEXT) -> list[Part]:
    """The parts of one mask, bool [H, W], not empty, in windows as `windowed_parts` divides it."""
    parts = []
    for number, (box, inside, side) in enumerate(windowed_parts(mask, resolution, context)):
        top, left, bottom, right = box
        centre = top + (bottom - top) / 2, left + (right - left) / 2
        window = place_window(centre, side, mask.shape, resolution)
        parts.append(Part(item, number, box, inside, window))
    return parts


def whole_images(masks: Sequence[Tensor]) -> Crop:
    """The crop of images that are not cropped: one square window from the top left corner over each, at native scale.

    masks: bool [H, W], of one size.
    """
    height, width = masks[0].shape
    side = max(height, width)
    box, window = (0, 0, height, width), Window(0, 0, side, side)
    parts = tuple(Part(item, 0, box, mask, window) for item, mask in enumerate(masks))
    return Crop(parts, (height, width), len(masks), whole=True)


def check_windows(images: Tensor, crop: Crop) -> None:
    """Raise Refused where images [P, C, h, w] are not those of `crop`, with some padding."""
    if len(images) != len(crop.parts):
        raise Refused("images", f"{len(images)}, but the crop has {len(crop.parts)}", remedy="connect all of them")
    resolution = crop.parts[0].window.resolution
    wanted = crop.size if crop.whole else (resolution, resolution)
    if not all(w <= got < w + PADDING for w, got in zip(wanted, images.shape[2:], strict=True)):
        raise Refused(
            "images",
            f"{images.shape[2]} x {images.shape[3]} (height x width)",
            f"{wanted[0]} x {wanted[1]}",
            "connect the decoded latent of these images, or the crop"
            if crop.whole
            else "connect what the crops became, or leave crop open",
        )


def window_of(image: Tensor, resolution: int) -> Tensor:
    """[C, h, w] as a window [C, R, R]: what was padded at the right and the bottom is cut off, what lies outside a
    whole image is 0."""
    cut = image[:, :resolution, :resolution]
    return F.pad(cut, (0, resolution - cut.shape[2], 0, resolution - cut.shape[1]))


def stitch(images: Tensor, crops: Tensor, crop: Crop) -> Tensor:
    """Copies of `images` [B, C, H, W] with the windows `crops` [P, C, R, R] in them.

    Where windows overlap, the later lies on top; then every part's own mask is pasted once more, so that no window
    covers another one's defect.

    Raises:
        Refused: another number of crops, or images of another size, than `crop` says.
    """
    if tuple(images.shape[2:]) != crop.size or len(images) != crop.items:
        raise Refused(
            "images",
            f"{len(images)} of {images.shape[2]} x {images.shape[3]}, but {crop.items} of {crop.size[0]} x "
            f"{crop.size[1]} (height x width) were cropped",
            remedy="connect the images that were cropped",
        )
    check_windows(crops, crop)
    stitched = images.clone()
    for whole in (True, False):
        for part, patch in zip(crop.parts, crops, strict=True):
            _lay(stitched[part.item], patch, part, whole)
    return stitched


def _lay(image: Tensor, patch: Tensor, part: Part, whole: bool) -> None:
    """Write a window into `image` [C, H, W]: all of it, or its mask's pixels."""
    rows, columns = image_part(part.window, image.shape[1:])
    enlarged = enlarge(window_of(patch, part.window.resolution), part.window)[:, rows[1], columns[1]]
    inside = part.in_area(image.shape[1:])[1] | whole
    image[:, rows[0], columns[0]][:, inside] = enlarged[:, inside].to(image)
