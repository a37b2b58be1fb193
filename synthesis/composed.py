"""The parts of one picture put together, and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..images.pictures import Picture
from ..images.windows import enlarge, image_part
from .compose import check_mode, compose_into
from .crop import Part
from .pair_check import (
    CHANGED_ABOVE,
    Scores,
    boundary_agreement,
    change_levels,
    changed_region,
    completeness,
    mean_scores,
    precision,
)
from .seam import seam
from .visibility import excess, signed_contrast, strength, unit, visibility

Made = tuple[Part, tuple[Tensor, Tensor]]  # a part, its window with the anomaly and without, decoded, [3, R, R]


@dataclass(frozen=True, kw_only=True)
class Composed(Scores):
    """A picture with its anomaly, and its scores."""

    picture: Picture


def compose_parts(
    normal: Picture,
    made: Sequence[Made],
    mode: str = "difference",
    feather: int = 0,
    changed_above: float = CHANGED_ABOVE,
    controls: Sequence[Picture] = (),
) -> Composed:
    """Put the parts of one picture together and score the result.

    Args:
        normal: the normal picture.
        made: for every part of its mask: the window with the anomaly and the normal window, both decoded, [3, R, R] in
            0 .. 1.
        mode, feather: see `compose`.
        changed_above: change above which a pixel counts as filled, see `pair_check.completeness`.
        controls: the normal picture with the same mask made again as normal surface; `excess` is measured by them.
    """
    result = composed_picture(normal, made, mode, feather)
    return Composed(**vars(scores_of(result, normal, made, changed_above, controls)), picture=result)


def composed_picture(normal: Picture, made: Sequence[Made], mode: str = "difference", feather: int = 0) -> Picture:
    """`compose_parts` without scores."""
    check_mode(mode, feather)
    pixels = normal.pixels.copy()
    for part, (anomalous, roundtrip) in made:
        compose_into(pixels, anomalous, roundtrip, part.in_area(normal.size)[1], part.window, mode, feather)
    return normal.with_pixels(pixels)


def scores_of(
    result: Picture,
    normal: Picture,
    made: Sequence[Made],
    changed_above: float = CHANGED_ABOVE,
    controls: Sequence[Picture] = (),
) -> Scores:
    """Scores of a result however it came about: means over the parts by area, see `compose_parts`."""
    scores = [_scores(result, normal, one, changed_above, controls) for one in made]
    return mean_scores(scores, [part.inside.sum().item() for part, _ in made])


def part_levels(result: Picture, normal: Picture, made: Made) -> Tensor:
    """`pair_check.change_levels` of one part, read on its window."""
    seen, surface, known, mask = _area(result, normal, made)
    return change_levels(seen, known, mask, unit(surface, mask))


def _scores(result: Picture, normal: Picture, made: Made, changed_above: float, controls: Sequence[Picture]) -> Scores:
    """Scores of one part, read on its window; before composing, at the window's own resolution."""
    part, windows = made
    seen, surface, known, mask = _area(result, normal, made)
    scale, shown = unit(surface, mask), part.shown()
    return Scores(
        visibility=visibility(seen, known, surface, mask),
        strength=strength(seen, known, surface, mask),
        excess=excess(seen, [_area(one, normal, made)[0] for one in controls], mask) if controls else None,
        contrast=signed_contrast(seen, mask, surface),
        completeness=completeness(seen, known, mask, scale, changed_above),
        precision=precision(*windows, shown),
        boundary=boundary_agreement(changed_region(*windows, scale, changed_above), shown),
        seam=seam(seen, mask),
    )


def _area(result: Picture, normal: Picture, made: Made) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a part's window covers: result, normal, the normal window encoded and decoded, and the part's mask."""
    part, (_, roundtrip) = made
    rows, columns = image_part(part.window, normal.size)
    area, mask = part.in_area(normal.size)
    seen, surface = (Picture(picture.pixels[area]).image() for picture in (result, normal))
    return seen, surface, enlarge(roundtrip, part.window)[:, rows[1], columns[1]], mask
