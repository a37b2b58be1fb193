"""Outlines of annotation tools as pixels: polygons, rectangles, circles, run lengths, bitmaps.

A shape is a list [kind, values, ...]:
  ["polygon", [x, y, x, y, ...]]       corners between pixels: (0, 0) is the first pixel's outer corner (COCO)
  ["shares", [x, y, x, y, ...]]        as "polygon", in shares of the image's width and height (YOLO)
  ["points", [x, y, x, y, ...]]        corners on pixels, edges included (LabelMe's polygons)
  ["rectangle", [x, y, x, y]]          opposite corners on pixels
  ["circle", [x, y, x, y]]             its centre and a point on it
  ["rle", [height, width], counts]     run lengths down the columns, nothing first; a list, or COCO's text
  ["bitmap", [x, y], base64]           an image file, non-zero on the defect, with its top left corner
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..errors import Refused
from .run_lengths import decompressed

FARTHEST = 10**6  # px: no image is as large, and what lies beyond is damaged


def draw(shapes: str | Sequence[list], size: tuple[int, int]) -> np.ndarray:
    """The union of shapes (a list, or its JSON text) on an image of `size` (H, W), bool [H, W].

    What reaches over the edge is cut; a polygon thinner than a pixel still marks the pixels that it passes through.
    Raises Refused for a shape that is none.
    """
    canvas = Image.new("1", (size[1], size[0]))
    drawn, mask = ImageDraw.Draw(canvas), np.zeros(size, dtype=bool)
    for kind, *values in json.loads(shapes) if isinstance(shapes, str) else shapes:
        if kind == "rle":
            mask |= _from_runs(*values, size)
        elif kind == "bitmap":
            _paste(canvas, *values)
        elif kind == "polygon":
            _fill(mask, _numbers(values[0], 6))
        elif kind == "shares":
            height, width = size
            _fill(mask, [v * (height if n % 2 else width) for n, v in enumerate(_numbers(values[0], 6))])
        else:
            _DRAWN[kind](drawn, _numbers(*values, 6 if kind == "points" else 4))
    return mask | np.array(canvas, dtype=bool)


def check_shape(shape: list) -> None:
    """Raise Refused for a shape that could not be drawn on any image."""
    kind, *values = shape
    if kind == "rle":
        _counts(values[1], values[0])
    elif kind == "bitmap":
        _numbers(values[0], 2)
        if _bitmap(values[1]).getbbox() is None:
            raise Refused("outline", "its bitmap marks no pixel")
    else:
        _numbers(values[0], 6 if kind in ("polygon", "shares", "points") else 4)


def check_on(shapes: Sequence[list], size: tuple[int, int]) -> None:
    """Raise Refused where shapes, sound by themselves, mark no pixel of an image of `size` (H, W) or are of another.

    Circles and bitmaps are taken by their box and their corner.
    """
    if not any(_touches(shape, size) for shape in shapes):
        raise Refused("outline", f"it marks no pixel of the image of {size[0]} x {size[1]} (height x width)")


def _touches(shape: list, size: tuple[int, int]) -> bool:
    kind, *values = shape
    if kind == "rle":
        if list(values[0]) != list(size):
            raise _of_another_size(values[0], size)
        return sum(_counts(values[1], values[0])[1::2]) > 0
    x, y = values[0][::2], values[0][1::2]
    if kind == "circle":
        radius = math.dist(*zip(x[:2], y[:2], strict=True))
        x, y = (x[0] - radius, x[0] + radius), (y[0] - radius, y[0] + radius)
    elif kind == "bitmap":
        width, height = _bitmap(values[1]).size
        x, y = (x[0], x[0] + width - 1), (y[0], y[0] + height - 1)
    return max(x) >= 0 and max(y) >= 0 and min(x) < size[1] and min(y) < size[0]


def _points(drawn: ImageDraw.ImageDraw, xy: list[float]) -> None:
    drawn.polygon(xy, fill=1, outline=1)


def _rectangle(drawn: ImageDraw.ImageDraw, xy: list[float]) -> None:
    x, y = sorted(xy[::2]), sorted(xy[1::2])
    drawn.rectangle([x[0], y[0], x[-1], y[-1]], fill=1, outline=1)


def _circle(drawn: ImageDraw.ImageDraw, xy: list[float]) -> None:
    radius = math.dist(xy[:2], xy[2:4])
    drawn.ellipse([xy[0] - radius, xy[1] - radius, xy[0] + radius, xy[1] + radius], fill=1, outline=1)


_DRAWN = {"points": _points, "rectangle": _rectangle, "circle": _circle}


def _fill(mask: np.ndarray, xy: list[float]) -> None:
    """Mark the pixels whose centre is inside, by the even-odd rule; where there is none, those under the outline."""
    height, width = mask.shape
    x, y = np.array(xy[::2]), np.array(xy[1::2])
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    filled = False
    for row in range(max(math.floor(y.min()), 0), min(math.ceil(y.max()), height)):
        centre = row + 0.5
        crossed = (y <= centre) != (y_next <= centre)
        part = (centre - y[crossed]) / (y_next[crossed] - y[crossed])
        at = np.sort(x[crossed] + part * (x_next[crossed] - x[crossed]))
        for first, last in np.clip(np.ceil(at - 0.5), 0, width).astype(int).reshape(-1, 2):
            mask[row, first:last] = True
            filled = filled or last > first
    if not filled:
        _trace(mask, [(math.floor(a), math.floor(b)) for a, b in zip(xy[::2], xy[1::2], strict=True)])


def _trace(mask: np.ndarray, corners: list[tuple[int, int]]) -> None:
    """Mark the pixels on the closed line through these; in a cut-out, since thin polygons are many and small."""
    columns, rows = zip(*corners, strict=True)
    left, right = max(min(columns), 0), min(max(columns) + 1, mask.shape[1])
    top, bottom = max(min(rows), 0), min(max(rows) + 1, mask.shape[0])
    if left < right and top < bottom:
        line = Image.new("1", (right - left, bottom - top))
        points = [(column - left, row - top) for column, row in corners]
        ImageDraw.Draw(line).line([*points, points[0]], fill=1)
        mask[top:bottom, left:right] |= np.array(line, dtype=bool)


def _from_runs(shape: list[int], counts: list[int] | str, size: tuple[int, int]) -> np.ndarray:
    if list(shape) != list(size):
        raise _of_another_size(shape, size)
    runs = _counts(counts, shape)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape[1], shape[0]).T


def _of_another_size(shape: list[int], size: tuple[int, int]) -> Refused:
    return Refused("outline", f"its run lengths are of {shape} (height, width), the image is {list(size)}")


def _counts(counts: list[int] | str, shape: list[int]) -> list[int]:
    runs = decompressed(counts) if isinstance(counts, str) else counts
    whole = all(isinstance(number, int) for number in (*runs, *shape)) and len(shape) == 2
    if not whole or min([*runs, *shape], default=-1) < 0 or sum(runs) != shape[0] * shape[1]:
        raise Refused("outline", f"its run lengths do not fill an image of {shape} (height, width)")
    return runs


def _paste(canvas: Image.Image, place: list[float], data: str) -> None:
    bitmap = _bitmap(data)
    canvas.paste(1, (round(place[0]), round(place[1])), bitmap)


def _bitmap(data: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("L").point(bool, "1")
    except (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError) as error:
        raise Refused("outline", "its bitmap is no image in base64") from error


def _numbers(values: Sequence, least: int) -> list[float]:
    plain = isinstance(values, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if not plain or len(values) < least or len(values) % 2:
        raise Refused("outline", f"it has {values!r:.60} for points", f"{least // 2} points or more, x and y")
    if not all(abs(value) <= FARTHEST for value in values):  # NaN fails this too
        raise Refused("outline", f"a point is farther than {FARTHEST} pixels, or no number")
    return values
