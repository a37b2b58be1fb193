"""What a pair changes of its normal image, and what identifies it among pairs: both from pixels as they are written.

A pair is blank where its image shows no defect inside the mask: no pixel differs from the normal image by more than one
level, and at most one pixel in 100 differs at all. Bypassed nodes give equal pixels; one level here and there is what
an autoencoder's last bit becomes when values are rounded to a file's depth, and no defect. A change of one level over
more of the mask, or of two levels in a single pixel, is the model's work: scores decide whether it is visible.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Refused
from ..images.components import pieces
from ..images.pictures import Picture

NOISE_SHARE = 0.01  # of the pixels; batches of other sizes move fewer than 0.001 of them
DIGITS = 4
HEX = 32  # digits of an identity: half of them for object, type, mask and normal image, half for the image


@dataclass(frozen=True)
class Change:
    """What differs between an image and its normal image.

    inside, outside: shares, 0 .. 1, of the mask's pixels and of the others; pieces: connected pieces of the mask, of
    which `unchanged` show no defect; blank: no piece shows one.
    """

    inside: float
    outside: float
    pieces: int
    unchanged: int

    @property
    def blank(self) -> bool:
        return self.unchanged == self.pieces

    @property
    def entries(self) -> dict[str, Any]:
        """For a line of the manifest; `changed` is 0 for a blank pair and for no other."""
        inside = 0.0 if self.blank else _share(self.inside)
        return {"changed": inside, "changed_outside": _share(self.outside), "unchanged_pieces": self.unchanged}


def change(image: Picture, normal: Picture, mask: np.ndarray) -> Change:
    """What differs between an image and its normal image; mask: bool [H, W], not empty.

    Alpha does not count. Raises Refused where the sizes differ.
    """
    levels, deep = _levels(image, normal), image.pixels.dtype == normal.pixels.dtype
    if mask.shape != levels.shape:
        got = f"it is {list(mask.shape)}, the image {list(levels.shape)} (height, width)"
        raise Refused("mask", got, "one size for both")
    found = list(pieces(mask))
    boxes = ((levels[top : top + len(piece), left : left + piece.shape[1]][piece]) for piece, (top, left) in found)
    unchanged = sum(_unchanged(values, deep) for values in boxes)
    if unchanged < len(found) and _unchanged(levels[mask], deep):
        unchanged = len(found)  # pieces of a few pixels, with a level of noise in one of them
    outside = levels[~mask]
    return Change(
        inside=float((levels[mask] > 0).mean()),
        outside=float((outside > 0).mean()) if outside.size else 0.0,
        pieces=len(found),
        unchanged=unchanged,
    )


def same_inside(image: Picture, other: Picture, mask: np.ndarray) -> bool:
    """Whether two images show the same in a mask, by the rule for blank pairs. False where the sizes differ."""
    if image.size != other.size or image.size != mask.shape:
        return False
    return _unchanged(_levels(image, other)[mask], image.pixels.dtype == other.pixels.dtype)


def identity(image: Picture, normal: Picture, mask: np.ndarray, object: str, type: str) -> str:
    """32 hex digits of a pair's content, object and type: `place` of it, and of its image. mask: bool [H, W]."""
    return place(normal, mask, object, type) + content(image)


def place(normal: Picture, mask: np.ndarray, object: str, type: str) -> str:
    """16 hex digits of all that a pair starts from: what pairs of several seeds have in common."""
    parts = [object, type, content(normal), mask.shape]
    return hashlib.sha256(repr(parts).encode() + np.packbits(mask).tobytes()).hexdigest()[:16]


def content(picture: Picture) -> str:
    """16 hex digits of a picture's pixels, depth, channels and alpha."""
    digest = hashlib.sha256(f"{picture.pixels.dtype} {picture.pixels.shape}".encode() + picture.pixels.tobytes())
    digest.update(b"" if picture.alpha is None else picture.alpha.tobytes())
    return digest.hexdigest()[:16]


def pair_entries(
    image: Picture, normal: Picture, mask: np.ndarray, object: str, type: str
) -> tuple[Change, dict[str, Any]]:
    """(change, the entries of a line of the manifest that a pair's pixels give)."""
    found = change(image, normal, mask)
    return found, {"identity": identity(image, normal, mask, object, type), **found.entries}


def _share(value: float) -> float:
    """Rounded for a line of the manifest, and 0 only where nothing is."""
    return max(round(value, DIGITS), 10**-DIGITS) if value else 0.0


def _unchanged(levels: np.ndarray, deep: bool) -> bool:
    """Whether differences, [N] in levels, are none or noise. deep: both pictures have one depth; else rounding alone
    may move every pixel by a level."""
    return bool(levels.max() <= 1 and (not deep or (levels > 0).mean() <= NOISE_SHARE))


def _levels(image: Picture, normal: Picture) -> np.ndarray:
    """The largest difference over the channels, [H, W], in levels of the shallower picture's depth."""
    if image.size != normal.size:
        sizes = [" x ".join(map(str, one.size)) for one in (image, normal)]
        got = f"it is {sizes[0]}, its normal image {sizes[1]} (height x width)"
        raise Refused("image", got, remedy="give both one size")
    ours, theirs = image.pixels, normal.pixels
    if ours.dtype != theirs.dtype:
        ours, theirs = (_eight_bit(pixels) for pixels in (ours, theirs))
    if np.array_equal(ours, theirs):
        return np.zeros(image.size, np.uint16)
    return np.abs(ours.astype(np.int32) - theirs.astype(np.int32)).max(axis=2).astype(np.uint16)


def _eight_bit(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
