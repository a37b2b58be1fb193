"""Put what the model made into the normal image, and nothing outside the mask."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..images.pictures import Picture
from ..images.windows import Window, enlarge, image_part

MODES = ("difference", "paste")


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
        ValueError: unknown mode, mask of another size, negative feather, values not finite.
    """
    check_mode(mode, feather)
    if tuple(mask.shape) != normal.size:
        raise ValueError(
            f"Compose Pair: the mask is {tuple(mask.shape)} and the image {normal.size} (height, width); "
            "give a mask of the image's size."
        )
    rows, columns = image_part(window, normal.size)
    pixels = normal.pixels.copy()
    compose_into(pixels, made, roundtrip, mask[rows[0], columns[0]], window, mode, feather)
    return normal.with_pixels(pixels)


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
        raise ValueError("Compose Pair: the decoded result holds NaN or infinity; check the base and its precision.")
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
    """Raise ValueError for an unknown mode or a negative feather."""
    if mode not in MODES:
        raise ValueError(f"Compose Pair: mode is {mode!r}; choose one of {', '.join(MODES)}.")
    if feather < 0:
        raise ValueError(f"Compose Pair: feather is {feather}; it must be 0 px or more.")
