"""Endless crops to train on: a drawn surface, one defect on it, its mask as a person might draw it, and its look."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import binary_closing, gaussian_filter

from ...errors import Refused
from .defects import TYPES, draw_defect
from .fields import Rng
from .materials import FAMILIES
from .request_masks import requested_mask
from .shapes import Place
from .surface import Surface, draw_surface, expose, random_lamp

SMALLEST = 32  # px of a crop's side
_CHANGED = 4  # levels of 255 from which a pixel counts as changed
_ATTEMPTS = 12
_LARGEST = 0.22  # reach of a defect against the crop's side: across, it then fills some two fifths
_JPEG = 0.3  # share of crops that were compressed
_BLUR = 0.6  # px: no camera draws an edge sharper than this
_FULL = 80.0  # levels of mean change that count as full contrast or strength


@dataclass(frozen=True)
class Appearance:
    """How a defect looks, measured on it: what sliders can ask for.

    contrast: mean change of brightness, -1 (darker) .. 1 (lighter); strength: mean change of any sign and colour,
    0 .. 1; softness: share of its pixels that change by less than half of what the strongest do.
    """

    contrast: float
    strength: float
    softness: float


@dataclass(frozen=True, eq=False)
class DrawnCrop:
    """One crop, uint8 [H, W, 3] without and with its defect; they are equal outside `exact`.

    exact: bool [H, W], what changed; requested: bool [H, W], holds `exact`; kind: of the requested mask.
    """

    normal: np.ndarray
    image: np.ndarray
    exact: np.ndarray
    requested: np.ndarray
    family: str
    type: str
    kind: str
    appearance: Appearance


def draw_crop(
    seed: int,
    index: int,
    side: int = 128,
    types: Sequence[str] = tuple(TYPES),
    families: Sequence[str] = tuple(FAMILIES),
) -> DrawnCrop:
    """Crop `index` of the endless row of `seed`; it depends on nothing else.

    Raises:
        Refused: a side below 32, a type or family that is not known, a negative seed or index.
    """
    _check(seed, index, side, types, families)
    rng = np.random.default_rng([seed, index])
    type, family = types[rng.integers(len(types))], families[rng.integers(len(families))]
    for _ in range(_ATTEMPTS):
        surface = draw_surface((side, side), rng, [family])
        place = _place(surface, side, rng)
        normal, image = expose([surface.picture, draw_defect(surface, type, place, rng)], rng)
        exact = _changed(normal, image)
        image, normal = _stored(np.where(exact[..., None], image, normal), normal, rng)
        if _shows(normal, image, exact):  # JPEG may have washed a small one out
            break
    else:  # this family hardly shows this type: another one of each
        return draw_crop(seed, index + 2**31, side, types, families)
    normal = np.where(exact[..., None], normal, image)
    requested, kind = requested_mask(exact, rng)
    return DrawnCrop(normal, image, exact, requested, family, type, kind, measured_appearance(normal, image, exact))


def draw_on(picture: np.ndarray, rng: Rng, types: Sequence[str] = tuple(TYPES)) -> DrawnCrop | None:
    """A photograph's crop, uint8 [H, W, 3], at least 32 px a side, with one drawn defect; None where none of a few
    attempts shows."""
    surface_picture = picture.astype(np.float32) / 255
    grey = not np.ptp(picture, axis=2).any()
    for _ in range(_ATTEMPTS):
        type = types[rng.integers(len(types))]
        surface = Surface(surface_picture, None, random_lamp(rng), rng.uniform(0.05, 0.3), grey=grey)
        drawn = draw_defect(surface, type, _place(surface, min(picture.shape[:2]), rng), rng)
        image = np.rint(
            np.clip(gaussian_filter(drawn - surface_picture, (_BLUR, _BLUR, 0)) + surface_picture, 0, 1) * 255
        )
        image = image.astype(np.uint8)
        exact = _changed(picture, image)
        image = np.where(exact[..., None], image, picture)
        if _shows(picture, image, exact):
            requested, kind = requested_mask(exact, rng)
            look = measured_appearance(picture, image, exact)
            return DrawnCrop(picture, image, exact, requested, "photograph", type, kind, look)
    return None


def measured_appearance(normal: np.ndarray, image: np.ndarray, mask: np.ndarray) -> Appearance:
    """The look of a defect from the pictures without and with it, uint8 [H, W, 3], inside mask, bool [H, W]."""
    change = image[mask].astype(np.float32) - normal[mask]
    size = np.abs(change).max(1)
    level = float((change @ np.array([0.299, 0.587, 0.114], np.float32)).mean())
    softness = float((size < 0.5 * np.quantile(size, 0.9)).mean())
    return Appearance(float(np.clip(level / _FULL, -1, 1)), float(np.clip(size.mean() / _FULL, 0, 1)), softness)


def _place(surface: Surface, side: int, rng: Rng) -> Place:
    """A place of random scale, from 3 px across to two fifths of the crop; on an object, if there is one."""
    largest = _LARGEST * side
    reach = 1.5 + (largest - 1.5) * rng.random() ** 1.5
    room = side / 2 - reach - 2
    centre = tuple(side / 2 + rng.uniform(-1, 1, 2) * min(room, 0.25 * side))
    if surface.inside is not None and rng.random() < 0.85:
        rows, columns = np.nonzero(surface.inside > 0.5)
        near = np.hypot(rows - side / 2, columns - side / 2) < max(room, 1)
        if near.any():
            pick = rng.integers(int(near.sum()))
            centre = (float(rows[near][pick]), float(columns[near][pick]))
    return Place(centre, reach, rng.uniform(0, np.pi))


def _stored(image: np.ndarray, normal: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Both as some cameras store them: with the traces of JPEG."""
    if rng.random() > _JPEG:
        return image, normal
    quality = int(rng.integers(55, 97))
    return _recompressed(image, quality), _recompressed(normal, quality)


def _recompressed(picture: np.ndarray, quality: int) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=quality)
    return np.array(Image.open(data))


def _changed(normal: np.ndarray, image: np.ndarray) -> np.ndarray:
    """What changed, without pinholes where the defect happens to have the surface's own value."""
    changed = np.abs(image.astype(np.int16) - normal).max(2) >= _CHANGED
    return binary_closing(np.pad(changed, 2), np.ones((3, 3)))[2:-2, 2:-2] | changed


def _shows(normal: np.ndarray, image: np.ndarray, exact: np.ndarray) -> bool:
    """Whether anyone could see it: enough change against the surface's own texture, and not everywhere."""
    if exact.sum() < 3 or exact.mean() > 0.3:
        return False
    change = np.abs(image[exact].astype(np.float32) - normal[exact]).max(1).mean()
    texture = normal[exact].astype(np.float32).mean(1).std()
    return change > max(8.0, 0.4 * texture)


def _check(seed: int, index: int, side: int, types: Sequence[str], families: Sequence[str]) -> None:
    if side < SMALLEST:
        raise Refused("side", f"{side} px", f"{SMALLEST} or more")
    for what, number in (("seed", seed), ("index", index)):
        if number < 0:
            raise Refused(what, number, "0 or more")
    for what, names, known in (("type", types, TYPES), ("family", families, FAMILIES)):
        strange = [name for name in names if name not in known]
        if strange or not names:
            raise Refused(what, ", ".join(map(repr, strange)) or "none", ", ".join(known))
