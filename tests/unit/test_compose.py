import numpy as np
import pytest
import torch
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.images.windows import Window, context_window, place_window
from anomaly_synthesis.synthesis.compose import MODES, compose

from .refusals import refused

SIZE = (377, 251)
KINDS = [(np.uint8, 1), (np.uint8, 3), (np.uint16, 1), (np.uint16, 3)]


def picture(dtype=np.uint8, channels=3, size=SIZE, alpha=False):
    generator, top = np.random.default_rng(0), np.iinfo(dtype).max
    pixels = generator.integers(0, top + 1, (*size, channels)).astype(dtype)
    return Picture(pixels, generator.integers(0, top + 1, size).astype(dtype) if alpha else None)


def patch(resolution, value=None, seed=0):
    if value is not None:
        return torch.full((3, resolution, resolution), value)
    return torch.rand(3, resolution, resolution, generator=torch.Generator().manual_seed(seed))


def blob(size=SIZE, top=100, left=180, height=90, width=71):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    mask[top + 10 : top + 20, left + 10 : left + 20] = False
    mask[3, 5] = False
    return mask


@pytest.mark.parametrize("feather", [0, 3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype, channels", KINDS)
def test_outside_the_mask_every_pixel_is_the_normal_images(dtype, channels, mode, feather):
    normal, mask = picture(dtype, channels, alpha=True), blob()
    before = normal.pixels.copy()
    for window in (context_window(mask, 64), place_window((145, 215), 300, SIZE, 300)):
        made, roundtrip = patch(window.resolution), patch(window.resolution, seed=1)
        result = compose(normal, made, roundtrip, mask, window, mode, feather)
        assert result.pixels.dtype == dtype and result.pixels.shape == normal.pixels.shape
        np.testing.assert_array_equal(result.pixels[~mask.numpy()], before[~mask.numpy()])
        np.testing.assert_array_equal(result.alpha, normal.alpha)
        assert (result.pixels != before)[mask.numpy()].mean() > 0.9
        np.testing.assert_array_equal(normal.pixels, before)


def test_a_window_beyond_a_small_image_changes_the_mask_alone():
    normal, mask = picture(size=(40, 30)), blob((40, 30), 10, 12, 20, 18)
    result = compose(normal, patch(128, 1.0), patch(128, 0.0), mask, context_window(mask, 128))
    np.testing.assert_array_equal(result.pixels[~mask.numpy()], normal.pixels[~mask.numpy()])
    assert (result.pixels[mask.numpy()] == 255).all()


@pytest.mark.parametrize("dtype, channels", KINDS)
def test_difference_adds_what_was_made_to_the_normal_picture(dtype, channels):
    normal, mask, window, top = picture(dtype, channels), blob(), Window(90, 100, 128, 128), np.iinfo(dtype).max
    mask[:, 228:] = False
    result = compose(normal, patch(128, 0.7), patch(128, 0.5), mask, window)
    inside = normal.pixels[mask.numpy()].astype(float)
    expected = np.clip(inside + 0.2 * top, 0, top)
    assert np.abs(result.pixels[mask.numpy()] - expected).max() <= 0.51


@pytest.mark.parametrize("dtype, channels", KINDS)
def test_difference_of_nothing_changes_nothing(dtype, channels):
    normal, mask = picture(dtype, channels), blob()
    window = context_window(mask, 64)
    result = compose(normal, patch(64), patch(64), mask, window)
    np.testing.assert_array_equal(result.pixels, normal.pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_paste_takes_what_was_made(dtype):
    normal, window, made, top = picture(dtype), Window(90, 100, 128, 128), patch(128), np.iinfo(dtype).max
    mask = blob()
    mask[:, 228:] = False
    result = compose(normal, made, patch(128, 0.5), mask, window, "paste")
    expected = (made.double() * top).round().permute(1, 2, 0).numpy()
    rows, columns = mask.numpy().nonzero()
    np.testing.assert_array_equal(result.pixels[rows, columns], expected[rows - 90, columns - 100])


def test_grey_takes_the_mean_of_the_channels():
    made = patch(64, 0.0)
    made[0], made[1] = 0.9, 0.3
    normal, mask = picture(channels=1, size=(64, 64)), torch.ones(64, 64, dtype=torch.bool)
    result = compose(normal, made, patch(64, 0.5), mask, Window(0, 0, 64, 64), "paste")
    assert (result.pixels == 102).all()  # 0.4 * 255


def test_the_feather_reaches_inwards_only_and_grows_with_depth():
    normal = Picture(np.zeros((64, 64, 3), np.uint8))
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[20:41, 10:51] = True
    change = compose(normal, patch(64, 1.0), patch(64, 0.0), mask, Window(0, 0, 64, 64), feather=4).pixels[..., 0]
    assert change[30, 9] == 0 and change[30, 51] == 0 and change[19, 30] == 0  # outside nothing
    for depth in range(10):  # 1/5 at the edge, then 2/5 .., all from four pixels on
        assert abs(int(change[30, 10 + depth]) - 255 * min(depth + 1, 5) / 5) <= 0.51
        assert change[20 + depth, 30] == change[30, 10 + depth] == change[40 - depth, 30]


def test_without_a_feather_the_edge_is_hard():
    normal = Picture(np.zeros((64, 64, 3), np.uint8))
    mask = blob((64, 64), 20, 10, 20, 40)
    change = compose(normal, patch(64, 1.0), patch(64, 0.0), mask, Window(0, 0, 64, 64)).pixels[..., 0]
    np.testing.assert_array_equal(change, 255 * mask.numpy())


@pytest.mark.parametrize("mode", MODES)
def test_values_beyond_the_range_are_cut_not_wrapped(mode):
    normal, mask = picture(size=(64, 64)), torch.ones(64, 64, dtype=torch.bool)
    for value, expected in ((3.0, 255), (-3.0, 0)):
        result = compose(normal, patch(64, value), patch(64, 0.5), mask, Window(0, 0, 64, 64), mode)
        assert (result.pixels == expected).all()


def with_nan():
    values = patch(64)
    values[1, 30, 30] = float("nan")
    return values


@pytest.mark.parametrize(
    "options, subject, got",
    [
        ({"mode": "blend"}, "mode", "^'blend'$"),
        ({"feather": -1}, "feather", "^-1$"),
        ({"mask": torch.ones(64, 63, dtype=torch.bool)}, "mask", r"^\(64, 63\), and the image \(64, 64\)"),
        ({"made": with_nan()}, "decoded result", "holds NaN"),
        ({"roundtrip": with_nan()}, "decoded result", "holds NaN"),
    ],
)
def test_what_cannot_be_composed_is_refused(options, subject, got):
    accepted = {"made": patch(64), "roundtrip": patch(64), "mask": torch.ones(64, 64, dtype=torch.bool)}
    with refused(f"^{subject}$", got):
        compose(picture(size=(64, 64)), window=Window(0, 0, 64, 64), **{**accepted, **options})


def test_paste_does_not_read_the_roundtrip():
    normal, mask = picture(size=(64, 64)), torch.ones(64, 64, dtype=torch.bool)
    window = Window(0, 0, 64, 64)
    pasted = (compose(normal, patch(64), other, mask, window, "paste").pixels for other in (with_nan(), patch(64, 0.0)))
    np.testing.assert_array_equal(*pasted)
