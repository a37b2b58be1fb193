"""How DRAEM varies its textures (Zavrtanik et al., ICCV 2021): three of ten operations, drawn anew for every picture.

Which ten, and how strongly each acts, is as in the authors' data_loader.py (github.com/VitjanZ/DRAEM), which takes them
from imgaug. They work on 8 bits there, and here where Pillow does the work.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

DRAWN = 3
_LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue in a colour's brightness (ITU-R BT.601)


def augmented(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A texture [H, W, C], C 1 or 3, in 0 .. 1, after three different operations of `OPERATIONS`, one after the other.

    The result is finite and in 0 .. 1, whatever the texture; the generator alone decides.
    """
    for place in generator.choice(len(OPERATIONS), DRAWN, replace=False):
        values = OPERATIONS[place](values, generator)
    return values


# Each takes and gives [H, W, C] in 0 .. 1.


def gamma(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Every channel to a power of its own, 0.5 to 2."""
    return values ** generator.uniform(0.5, 2.0, values.shape[2])


def brightness(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Brightness times 0.8 to 1.2, plus up to 30/255 either way; what makes the colour stays.

    Always luma; imgaug draws one of several meanings of brightness.
    """
    before = (values @ _LUMA)[..., None] if values.shape[2] == 3 else values
    factor, offset = generator.uniform(0.8, 1.2), generator.uniform(-30, 30) / 255
    return np.clip(values + before * (factor - 1) + offset, 0, 1)


def sharpness(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """From smoothed (factor 0) over unchanged (1) to sharpened (2)."""
    return _values(ImageEnhance.Sharpness(_image(values)).enhance(generator.uniform(0.0, 2.0)))


def hue_and_saturation(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Up to 50/255 added to each: of the colour circle, and of full saturation. Grey has no hue and stays."""
    if values.shape[2] == 1:
        return values
    hue, saturation = generator.integers(-50, 51, 2).tolist()
    h, s, v = _image(values).convert("HSV").split()
    h = h.point([(level + hue) % 256 for level in range(256)])
    s = s.point([min(max(level + saturation, 0), 255) for level in range(256)])
    return _values(Image.merge("HSV", (h, s, v)).convert("RGB"))


def solarize(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """In half of all cases: what is brighter than a threshold of 32 to 128 of 255 is inverted."""
    applied, threshold = generator.random() < 0.5, generator.uniform(32, 128) / 255
    return np.where(values > threshold, 1 - values, values) if applied else values


def posterize(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As many levels as 1 to 8 bits have."""
    levels = 2 ** int(generator.integers(1, 9))
    return (np.floor(values * levels).clip(max=levels - 1) + 0.5) / levels


def invert(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The negative."""
    return 1 - values


def autocontrast(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Every channel stretched to the full range; 0 to 20 % of its darkest and of its brightest pixels are cut off."""
    return _values(ImageOps.autocontrast(_image(values), cutoff=int(generator.integers(0, 21))))


def equalize(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Every channel's histogram made flat."""
    return _values(ImageOps.equalize(_image(values)))


def rotate(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Turned by up to 45 degrees either way; the corners that nothing is turned into are black, as the original's."""
    return _values(_image(values).rotate(generator.uniform(-45, 45), Image.Resampling.BILINEAR))


Operation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
OPERATIONS: tuple[Operation, ...] = (
    gamma,
    brightness,
    sharpness,
    hue_and_saturation,
    solarize,
    posterize,
    invert,
    autocontrast,
    equalize,
    rotate,
)


def _image(values: np.ndarray) -> Image.Image:
    pixels = np.round(values * 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _values(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image) / 255
    return pixels if pixels.ndim == 3 else pixels[..., None]
