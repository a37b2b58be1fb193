import base64
import io
import json

import numpy as np
import pytest
from anomaly_synthesis.images.outlines import check_shape, draw
from PIL import Image

from .refusals import refused


def rectangle(rows, columns, size=(12, 16)):
    mask = np.zeros(size, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        (["polygon", [4, 3, 9, 3, 9, 6, 4, 6]], (3, 6), (4, 9)),  # corners between pixels: 5 x 3 of them
        (["polygon", [4.2, 3.4, 9.4, 3.4, 9.4, 6.4, 4.2, 6.4]], (3, 6), (4, 9)),
        (["polygon", [-50, 3, 900, 3, 900, 6, -50, 6]], (3, 6), (0, 16)),
        (["polygon", [4.1, 3.1, 4.2, 3.1, 4.2, 3.2]], (3, 4), (4, 5)),  # thinner than a pixel, and not lost
        (["points", [4, 3, 8, 3, 8, 5, 4, 5]], (3, 6), (4, 9)),  # corners on pixels: 4 to 8 and 3 to 5 included
        (["rectangle", [8, 5, 4, 3]], (3, 6), (4, 9)),
        (["rle", [12, 16], [51, 3, 9, 3, 9, 3, 9, 3, 9, 3, 90]], (3, 6), (4, 9)),
    ],
)
def test_shapes_are_drawn_to_the_pixel(shape, rows, columns):
    check_shape(shape)
    assert np.array_equal(draw([shape], (12, 16)), rectangle(rows, columns))
    assert np.array_equal(draw(json.dumps([shape]), (12, 16)), rectangle(rows, columns))


def test_a_concave_polygon_is_filled_by_the_even_odd_rule():
    u = ["polygon", [1, 1, 9, 1, 9, 9, 6, 9, 6, 4, 4, 4, 4, 9, 1, 9]]
    expected = rectangle((1, 9), (1, 9)) & ~rectangle((4, 9), (4, 6))
    assert np.array_equal(draw([u], (12, 16)), expected)


def test_a_circle_has_its_area_and_shapes_are_joined():
    mask = draw([["circle", [30, 30, 30, 20]], ["rectangle", [0, 0, 1, 1]]], (64, 64))
    assert abs(mask.sum() - 4 - np.pi * 100) < 40 and mask[30, 30] and mask[0, 0] and not mask[10, 10]


def test_a_bitmap_lies_where_its_corner_is():
    buffer = io.BytesIO()
    Image.fromarray(np.eye(3, dtype=np.uint8)).save(buffer, "PNG")
    mask = draw([["bitmap", [4, 3], base64.b64encode(buffer.getvalue()).decode()]], (12, 16))
    assert [tuple(place) for place in np.argwhere(mask)] == [(3, 4), (4, 5), (5, 6)]


def encoded(runs):
    """COCO's compressed text of run lengths, written from its description."""
    text = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            last = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if last else 32))
            if last:
                break
    return text


def test_compressed_runs_are_those_of_the_list():
    mask = np.random.default_rng(0).random((40, 30)) < 0.3
    mask[5:30, 3:20] = True  # long runs, whose differences are negative
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [not flat[-1]]])))
    runs = np.diff(np.concatenate([[0], edges])).tolist()
    assert sum(runs) == mask.size
    for counts in (runs, encoded(runs)):
        assert np.array_equal(draw([["rle", [40, 30], counts]], (40, 30)), mask)


def test_a_known_compressed_mask():
    # A 3 x 4 image whose second column is set: 3 pixels without, 3 with, 6 without.
    assert np.array_equal(draw([["rle", [3, 4], "336"]], (3, 4)), rectangle((0, 3), (1, 2), (3, 4)))


@pytest.mark.parametrize(
    ("shape", "got", "accepted"),
    [
        (["polygon", [1, 2, 3, 4]], "4] for points", "3 points or more"),
        (["polygon", [1, 2, 3, 4, 5]], "5] for points", "3 points or more"),
        (["polygon", "1 2 3 4 5 6"], "for points", "3 points or more"),
        (["polygon", [1, 2, 3, 4, 5, float("nan")]], "no number", ""),
        (["polygon", [1, 2, 3, 4, 5, 1e12]], "farther than", ""),
        (["rle", [12, 16], [1, 2, 3]], "do not fill", ""),
        (["rle", [12, 16], [200, -8]], "do not fill", ""),
        (["rle", [10**9, 10**9], "0"], "do not fill", ""),
        (["rle", [12], [12]], "do not fill", ""),
        (["rle", [12, 16], "\u00ff\u0100"], "do not fill", ""),
        (["bitmap", [1, 1], "nonsense"], "no image", ""),
        (["bitmap", [1, 1], [3]], "no image", ""),
        (["circle", [1, 1]], "1] for points", "2 points or more"),
    ],
)
def test_damaged_shapes_are_refused(shape, got, accepted):
    with refused(subject="^outline$", got=got, accepted=accepted):
        check_shape(shape)


def test_runs_of_another_image_are_refused_before_they_are_unrolled():
    with refused(got="are of .*, the image is"):
        draw([["rle", [10**6, 10**6], [10**12]]], (12, 16))
