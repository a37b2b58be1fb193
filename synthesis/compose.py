"""Put what the model made into the normal image, and nothing outside the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..choices import MODES
from ..errors import Refused
from ..images.pictures import Picture
from ..images.windows import Window, enlarge, image_part
from .windows import Part

Made = tuple[Part, tuple[Tensor, Tensor]]  # a part, its window with the anomaly and without, decoded, [3, R, R]


SAME_WINDOW = 1e-4  # of 0 .. 1: what two decodings of one latent may differ by, far below a level of 8 bits


def is_changed(made: Made) -> bool:
    """Whether a part's window differs from the normal window in the mask, both decoded."""
    part, (anomalous, roundtrip) = made
    return bool((anomalous - roundtrip).abs().amax(0)[part.shown()].max() > SAME_WINDOW)


def compose(
    normal: Picture,
    made: Tensor,
    roundtrip: Tensor,
    mask: Tensor,
    window: Window,
    mode: str = "difference",
    feather: int = 0,
) -> Picture:
    """The normal picture with the anomaly in it; outside the mask its own pixels, bit for bit.

    Args:
        normal: the normal picture, any size, 8 or 16 bit.
        made: decoded result of the window, [3, R, R] in 0 .. 1.
        roundtrip: the normal window encoded and decoded, [3, R, R]; read by `difference` only.
        mask: bool [H, W] at the picture's size.
        window: where `made` lies on the picture.
        mode: `difference` adds made - roundtrip, which keeps the fine texture that the autoencoder blurs;
            `paste` takes `made` itself (the papers).
        feather: pixels over which the anomaly fades in, from the mask's edge inwards; 0 is a hard edge.

    Raises:
        Refused: unknown mode, mask of another size, negative feather, values not finite.
    """
    check_mode(mode, feather)
    if tuple(mask.shape) != normal.size:
        raise Refused(
            "mask",
            f"{tuple(mask.shape)}, and the image {normal.size} (height, width)",
            remedy="give a mask of the image's size",
        )
    rows, columns = image_part(window, normal.size)
    pixels = normal.pixels.copy()
    compose_into(pixels, made, roundtrip, mask[rows[0], columns[0]], window, mode, feather)
    return normal.with_pixels(pixels)


def composed_picture(normal: Picture, made: Sequence[Made], mode: str = "difference", feather: int = 0) -> Picture:
    """The normal picture with the anomalies of all parts of its mask; mode, feather: see `compose`."""
    check_mode(mode, feather)
    pixels = normal.pixels.copy()
    for part, (anomalous, roundtrip) in made:
        compose_into(pixels, anomalous, roundtrip, part.in_area(normal.size)[1], part.window, mode, feather)
    return normal.with_pixels(pixels)


def composed_values(
    normal: Picture, part: Part, made: Sequence[Tensor], roundtrip: Tensor, mode: str = "difference", feather: int = 0
) -> np.ndarray:
    """What `composed_picture` gives the pixels of a part's mask, for each of several windows: [k, N, C], of the
    picture's dtype.

    made: k decoded windows, [3, R, R]; roundtrip, mode, feather: see `compose`.
    """
    check_mode(mode, feather)
    area, mask = part.in_area(normal.size)
    # Only the area of the window is copied: an image may be far larger.
    local = replace(part.window, top=part.window.top - area[0].start, left=part.window.left - area[1].start)
    values = []
    for window in made:
        pixels = normal.pixels[area].copy()
        compose_into(pixels, window, roundtrip, mask, local, mode, feather)
        values.append(pixels[mask.numpy()])
    return np.stack(values)


def compose_into(
    pixels: np.ndarray, made: Tensor, roundtrip: Tensor, part: Tensor, window: Window, mode: str, feather: int
) -> None:
    """`compose` in place, on a picture's pixels [H, W, C]; `part`: the mask in the area that the window covers."""
    rows, columns = image_part(window, pixels.shape[:2])
    region = pixels[rows[0], columns[0]]
    top = np.iinfo(pixels.dtype).max
    base = torch.from_numpy(region.astype(np.float64)).permute(2, 0, 1)
    change = made - roundtrip if mode == "difference" else made
    patch = enlarge(change.double(), window)[:, rows[1], columns[1]]
    if not torch.isfinite(patch).all():
        raise Refused("decoded result", "it holds NaN or infinity", remedy="check the base and its precision")
    if base.shape[0] == 1:
        patch = patch.mean(0, keepdim=True)
    target = base + top * patch if mode == "difference" else top * patch
    blended = torch.lerp(base, target, _weight(part, feather))
    changed = blended.round().clamp(0, top).permute(1, 2, 0).numpy().astype(pixels.dtype)
    region[part.numpy()] = changed[part.numpy()]


def _weight(mask: Tensor, feather: int) -> Tensor:
    """1 deep inside, falling towards the mask's edge, 0 outside: the mean of its erosions.

    A mask that is nowhere deep enough reaches 1 along its middle all the same, so that thin defects stay visible.
    """
    outside = (~mask)[None, None].double()
    eroded, total = outside, 1 - outside
    for _ in range(feather):
        eroded = F.max_pool2d(eroded, 3, stride=1, padding=1)
        total = total + 1 - eroded
    return (total / total.max())[0]


def check_mode(mode: str, feather: int) -> None:
    """Raise Refused for an unknown mode or a negative feather."""
    if mode not in MODES:
        raise Refused("mode", repr(mode), f"one of {', '.join(MODES)}")
    if feather < 0:
        raise Refused("feather", feather, "0 px or more")
