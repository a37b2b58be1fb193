"""What the baselines share: pictures as float arrays and back, and colours shifted a little."""

from __future__ import annotations

import numpy as np

from ..images.pictures import Picture


def to_float(picture: Picture) -> np.ndarray:
    """[H, W, C] in 0 .. 1, float64."""
    return picture.pixels.astype(np.float64) / np.iinfo(picture.pixels.dtype).max


def replaced(normal: Picture, values: np.ndarray, mask: np.ndarray) -> Picture:
    """The normal picture with `values` [H, W, C] in 0 .. 1 inside the mask, every other pixel its own."""
    top = np.iinfo(normal.pixels.dtype).max
    pixels = normal.pixels.copy()
    pixels[mask] = np.clip(np.round(values[mask] * top), 0, top).astype(pixels.dtype)
    return normal.with_pixels(pixels)


def like(values: np.ndarray, channels: int) -> np.ndarray:
    """[H, W, C] with `channels`: grey repeated, colour averaged."""
    if values.shape[2] == channels:
        return values
    return values.repeat(channels, 2) if channels == 3 else values.mean(2, keepdims=True)


def jittered(values: np.ndarray, generator: np.random.Generator, amount: float = 0.1) -> np.ndarray:
    """Brightness, contrast and (for colour) each channel's gain changed by up to `amount`, all as factors: 12-bit data
    in a 16-bit file lie near 0, where an offset would be larger than the picture's own range."""
    gain = 1 + generator.uniform(-amount, amount, (1, 1, values.shape[2]))
    contrast, brightness = 1 + generator.uniform(-amount, amount, 2)
    mean = values.mean()
    return np.clip(((values - mean) * contrast + mean) * brightness * gain, 0, 1)
