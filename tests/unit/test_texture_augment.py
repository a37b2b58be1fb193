"""The operations with which DRAEM augments its textures."""

import numpy as np
import pytest
from anomaly_synthesis.baselines import texture_augment


def textured(channels=3, size=(40, 56)):
    """Broad and fine structure, 0.1 .. 0.9, in every channel another."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(0.3 * x + c) * np.cos(0.2 * y - c) + 0.3 * np.sin(1.7 * x * (c + 1)) for c in range(channels)]
    return 0.5 + 0.4 * np.stack(waves, axis=2) / 1.3


TEXTURES = {
    "colour": textured(),
    "grey": textured(1),
    "grey in colour": textured(1).repeat(3, 2),
    "low contrast": 0.4 + textured() / 100,
    "noise": np.random.default_rng(0).random((30, 30, 3)),
    "one pixel": textured(size=(1, 1)),
    "one line": textured(1, (1, 50)),
    **{f"all {level}": np.full((12, 9, 3), level) for level in (0.0, 0.37, 1.0)},
    **{f"all {level}, grey": np.full((12, 9, 1), level) for level in (0.0, 0.5, 1.0)},
}
OPERATIONS = texture_augment.OPERATIONS
FIXED = (texture_augment.invert, texture_augment.equalize)  # without random parameters


def parametrized(operations):
    return pytest.mark.parametrize("operation", operations, ids=lambda operation: operation.__name__)


@pytest.mark.parametrize("values", TEXTURES.values(), ids=TEXTURES)
@parametrized([*OPERATIONS, texture_augment.augmented])
def test_an_operation_keeps_shape_and_range_and_the_generator_decides(operation, values):
    before = values.copy()
    for seed in range(20):
        made, again = (operation(values, np.random.default_rng(seed)) for _ in range(2))
        assert made.shape == values.shape and made.dtype == np.float64
        assert np.isfinite(made).all() and made.min() >= 0 and made.max() <= 1
        np.testing.assert_array_equal(made, again)
    np.testing.assert_array_equal(values, before)


@parametrized(OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_operation_changes_a_textured_picture(operation, channels):
    values = textured(channels)
    changes = [np.abs(operation(values, np.random.default_rng(seed)) - values).mean() for seed in range(20)]
    if operation is texture_augment.hue_and_saturation and channels == 1:
        assert not any(changes)  # grey has no hue
        return
    assert max(changes) > 0.01 and (len(set(changes)) > 5 or operation in FIXED)


def test_hue_and_saturation_keep_the_brightest_channels_value():
    values = np.round(textured() * 255) / 255
    changes = []
    for seed in range(10):
        made = texture_augment.hue_and_saturation(values, np.random.default_rng(seed))
        np.testing.assert_allclose(made.max(2), values.max(2), atol=1e-9)
        changes.append(np.abs(made - values).mean())
    assert max(changes) > 0.05


def test_brightness_keeps_what_makes_the_colour():
    values = 0.5 + (textured() - 0.5) / 4  # nothing is cut off
    made = texture_augment.brightness(values, np.random.default_rng(0))
    np.testing.assert_allclose(np.diff(made, axis=2), np.diff(values, axis=2), atol=1e-9)
    assert np.ptp(made - values) > 1e-3


def test_posterize_leaves_as_many_levels_as_its_bits_have():
    values = textured(1, (200, 200))
    made = [texture_augment.posterize(values, np.random.default_rng(seed)) for seed in range(40)]
    counts = [len(np.unique(one)) for one in made]
    assert min(counts) == 2 and 128 < max(counts) <= 256


def test_what_is_turned_out_of_the_picture_is_black():
    values = np.ones((40, 40, 3))
    made = texture_augment.rotate(values, np.random.default_rng(0))
    assert made[20, 20].min() == 1 and made[0, 0].max() == 0


def test_three_different_operations_follow_each_other(monkeypatch):
    drawn = []

    def recorded(name):
        return lambda values, generator: drawn.append(name) or values

    monkeypatch.setattr(texture_augment, "OPERATIONS", tuple(recorded(name) for name in range(10)))
    for seed in range(200):
        texture_augment.augmented(textured(), np.random.default_rng(seed))
    runs = [tuple(drawn[i : i + 3]) for i in range(0, 600, 3)]
    assert all(len(set(run)) == 3 for run in runs) and len(set(runs)) > 100
    assert set(drawn) == set(range(10)) and (1, 0) in {run[:2] for run in runs} | {run[1:] for run in runs}
