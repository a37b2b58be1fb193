"""Put windows back into the images they were cut from."""

from __future__ import annotations

from torch import Tensor

from ..images.windows import enlarge, image_part
from .crop import Crop, Part, check_windows, window_of


def stitch(images: Tensor, crops: Tensor, crop: Crop) -> Tensor:
    """Copies of `images` [B, C, H, W] with the windows `crops` [P, C, R, R] in them.

    Where windows overlap, the later lies on top; then every part's own mask is laid once more, so that no window
    covers another one's defect.

    Raises:
        ValueError: another number of crops, or images of another size, than `crop` tells.
    """
    if tuple(images.shape[2:]) != crop.size or len(images) != crop.items:
        raise ValueError(
            f"Stitch: {len(images)} images of {images.shape[2]} x {images.shape[3]}, but Crop to Mask saw {crop.items} "
            f"of {crop.size[0]} x {crop.size[1]} (height x width); connect the images that were cropped."
        )
    check_windows("Stitch", crops, crop)
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
