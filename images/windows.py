"""Square windows on images of any size: cut at native scale or reduced, never enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .masks import mask_box
from .pictures import Picture

CONTEXT, MIN_CONTEXT = 1.0, 16


@dataclass(frozen=True)
class Window:
    """A square of `side` image pixels at (top, left), shown to a model at `resolution` pixels.

    Parts that lie outside the image (it may be smaller than the window) are filled by reflection.
    """

    top: int
    left: int
    side: int
    resolution: int

    @property
    def factor(self) -> float:
        """Reduction: 1 at native scale, 2 where two image pixels become one."""
        return self.side / self.resolution


def context_side(mask: Tensor, resolution: int, context: float = CONTEXT) -> int:
    """Side in pixels of the square window for a defect: its box and the context around it, at least `resolution`.

    The context on each side is `context` times the box's length along that axis, at least 16 px; the window never
    grows past the longer side of the image. `mask`: bool [H, W], not empty.
    """
    _, _, height, width = mask_box(mask)
    return box_side(height, width, mask.shape, resolution, context)


def box_side(height: int, width: int, size: tuple[int, int], resolution: int, context: float) -> int:
    """`context_side` from the lengths of the mask's box and the image's `size` (H, W)."""
    wanted = max(length + 2 * max(round(context * length), MIN_CONTEXT) for length in (height, width))
    return max(resolution, min(wanted, max(size)))


def context_window(mask: Tensor, resolution: int, context: float = CONTEXT) -> Window:
    """The window that synthesis uses for `mask`, bool [H, W]: centred on its box, of `context_side` pixels."""
    return box_window(mask_box(mask), mask.shape, resolution, context)


def box_window(
    box: tuple[int, int, int, int], size: tuple[int, int], resolution: int, context: float = CONTEXT
) -> Window:
    """`context_window` from the mask's box (top, left, height, width) and the image's `size` (H, W)."""
    top, left, height, width = box
    side = box_side(height, width, size, resolution, context)
    return place_window((top + height / 2, left + width / 2), side, size, resolution)


def place_window(centre: tuple[float, float], side: int, size: tuple[int, int], resolution: int) -> Window:
    """The window of `side` pixels nearest to `centre` (row, column) that lies inside an image of `size` (H, W).

    An axis shorter than the window is centred in it.
    """
    top, left = (_start(c, side, n) for c, n in zip(centre, size, strict=True))
    return Window(top, left, side, resolution)


def cut_picture(picture: Picture, window: Window) -> Tensor:
    """The window of a picture, float32 [3, R, R] in 0 .. 1; its cost follows the window, not the picture."""
    rows, columns = (index.numpy() for index in _indices(window, picture.size))
    channels = []
    for channel in range(picture.pixels.shape[2]):  # one by one: a wide window's floats are four times its pixels
        values = picture.pixels[rows[:, None], columns[None], channel]
        channels.append(_reduced(Picture(values[..., None]).planes(), window))
    return torch.cat(channels).expand(3, -1, -1).contiguous()


def cut_image(image: Tensor, window: Window) -> Tensor:
    """The window of a tensor [C, H, W] of any dtype, float32 [C, R, R] in the tensor's own range."""
    rows, columns = _indices(window, image.shape[1:])
    return _reduced(image[:, rows][:, :, columns].float(), window)


def cut_mask(mask: Tensor, window: Window) -> Tensor:
    """[H, W] bool -> [R, R] bool. A reduced pixel is set where any of its pixels is; outside the image nothing is."""
    inside = mask.new_zeros(window.side, window.side)
    rows, columns = image_part(window, mask.shape)
    inside[rows[1], columns[1]] = mask[rows[0], columns[0]]
    return shrink_mask(inside, window)


def shrink_mask(inside: Tensor, window: Window) -> Tensor:
    """A mask of the window's own pixels, bool [side, side], as the model sees it, [R, R]: set where any pixel is."""
    if window.side == window.resolution:
        return inside
    return F.adaptive_max_pool2d(inside[None].float(), window.resolution)[0] > 0


def enlarge(patch: Tensor, window: Window) -> Tensor:
    """[C, R, R] back to the window's own pixels, [C, side, side], by bicubic interpolation."""
    if window.side == window.resolution:
        return patch
    return F.interpolate(patch[None], (window.side, window.side), mode="bicubic", align_corners=False)[0]


def image_part(window: Window, size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """For rows, then columns: the slice of the image that the window covers, and where it lies in the window."""
    parts = []
    for start, length in zip((window.top, window.left), size, strict=True):
        first, last = max(start, 0), min(start + window.side, length)
        parts.append((slice(first, last), slice(first - start, last - start)))
    return parts[0], parts[1]


def covered(windows: Sequence[Window], size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and the columns of an image of `size` (H, W) between the first and the last that any window covers."""
    parts = [image_part(window, size) for window in windows]
    rows, columns = (
        slice(min(part[axis][0].start for part in parts), max(part[axis][0].stop for part in parts)) for axis in (0, 1)
    )
    return rows, columns


def _indices(window: Window, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    rows, columns = (
        _reflected(start, window.side, n) for start, n in zip((window.top, window.left), size, strict=True)
    )
    return rows, columns


def _reduced(crop: Tensor, window: Window) -> Tensor:
    """[C, side, side] -> [C, R, R] by antialiased bilinear sampling; untouched at native scale."""
    if window.side == window.resolution:
        return crop
    size = (window.resolution, window.resolution)
    return F.interpolate(crop[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


def _start(centre: float, side: int, length: int) -> int:
    if length <= side:
        return -((side - length) // 2)
    return min(max(round(centre - side / 2), 0), length - side)


def _reflected(start: int, count: int, length: int) -> Tensor:
    """Indices start .. start + count - 1 folded back into 0 .. length - 1, the edge pixel not repeated."""
    if length == 1:
        return torch.zeros(count, dtype=torch.long)
    period = 2 * (length - 1)
    folded = torch.arange(start, start + count) % period
    return torch.minimum(folded, period - folded)
