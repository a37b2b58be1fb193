"""DRAEM: its textures and its masks."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.baselines import draem as draem_module
from anomaly_synthesis.baselines.draem import Textures, draem, perlin_mask
from anomaly_synthesis.images.pictures import Picture, write_picture

from .baseline_pictures import BLOB, SIZE, picture
from .refusals import refused


def test_the_texture_covers_a_tenth_to_all_of_the_normal_surface(tmp_path, monkeypatch):
    monkeypatch.setattr(draem_module, "augmented", lambda values, generator: values)
    write_picture(tmp_path / "black.png", Picture(np.zeros((9, 9, 3), np.uint8)))
    white, mask, textures = Picture(np.full((8, 8, 1), 255, np.uint8)), torch.ones(8, 8, dtype=bool), Textures(tmp_path)
    left = np.array([draem(white, mask, seed, textures).pixels for seed in range(300)]) / 255
    assert (left == left[:, :1, :1]).all()  # one beta per picture
    assert left.max() <= 0.9 + 0.5 / 255
    assert left.min() < 0.03 and left.max() > 0.87 and abs(left.mean() - 0.45) < 0.05


@pytest.mark.parametrize("size", [(5, 7), (64, 64), (300, 40)])
@pytest.mark.parametrize("kind", [picture(), picture(np.uint16, 1), picture(channels=1, alpha=True, size=(2, 300))])
def test_textures_of_any_size_and_depth_fit(tmp_path, kind, size):
    if kind.alpha is not None or kind.pixels.dtype == np.uint8:
        write_picture(tmp_path / "a.PNG", kind)
    else:
        (tmp_path / "deep").mkdir()
        write_picture(tmp_path / "deep" / "a.png", kind)
    values = Textures(tmp_path).draw(size, np.random.default_rng(0))
    assert values.shape == (*size, kind.pixels.shape[2])
    assert 0 <= values.min() < values.max() <= 1


def test_a_texture_shows_the_whole_picture_not_its_corner(tmp_path):
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[100:, 150:] = 255
    write_picture(tmp_path / "a.png", Picture(pixels))
    values = Textures(tmp_path).draw((20, 30), np.random.default_rng(0))
    assert values[:9].max() < 0.01 and values[11:, 16:].min() > 0.99


def test_every_file_of_the_folder_is_drawn_and_nothing_else(tmp_path):
    for level in (0, 100, 200):
        write_picture(tmp_path / f"{level}.png", Picture(np.full((4, 4, 1), level, np.uint8)))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    textures, generator = Textures(tmp_path), np.random.default_rng(0)
    drawn = {round(float(textures.draw((4, 4), generator).mean()) * 255) for _ in range(40)}
    assert drawn == {0, 100, 200}


def test_procedural_textures_stand_in_for_a_folder():
    generator = np.random.default_rng(0)
    drawn = [Textures().draw((20, 90), generator) for _ in range(6)]
    assert all(values.shape == (20, 90, 3) and 0 <= values.min() < values.max() <= 1 for values in drawn)
    assert len({values.tobytes() for values in drawn}) == 6


def test_a_folder_without_pictures_is_refused(tmp_path):
    with refused(subject=f"^{tmp_path}$", got="no pictures in the folder", remedy="give a folder of textures"):
        Textures(tmp_path)
    for nothing in (tmp_path / "missing", str(tmp_path / "missing")):
        with refused(subject="/missing$", got="no such folder", remedy="give a folder of textures"):
            Textures(nothing)


def test_perlin_masks_are_never_empty_and_of_several_sizes():
    masks = [perlin_mask((96, 128), seed) for seed in range(120)]
    assert all(mask.dtype == torch.bool and mask.shape == (96, 128) and mask.any() for mask in masks)
    shares = np.array([mask.double().mean() for mask in masks])
    assert 0.03 < np.median(shares) < 0.08 and shares.max() < 0.5
    assert min(mask.sum() for mask in masks) > 1  # drawn again: broad noise stays below the threshold in 1 of 40
    edges = np.array([(mask[:, 1:] != mask[:, :-1]).double().sum() / mask.sum() for mask in masks])
    assert np.percentile(edges, 90) > 5 * np.percentile(edges, 10)  # few broad pieces, or many fine ones
    assert torch.equal(perlin_mask((96, 128), 7), masks[7]) and not torch.equal(masks[7], masks[8])


def test_a_perlin_mask_is_not_empty_where_nothing_reaches_the_threshold():
    assert perlin_mask((40, 50), 0, threshold=2.0).sum() == 1
    assert perlin_mask((1, 1), 0).all()
    assert all(perlin_mask(size, seed).any() for size in ((1, 30), (30, 1), (2, 2)) for seed in range(30))


def test_the_threshold_orders_the_masks():
    low, high = perlin_mask((64, 64), 3, 0.3), perlin_mask((64, 64), 3, 0.5)
    assert (low | high).equal(low) and low.sum() > high.sum()


def test_a_grey_picture_gets_a_texture_that_was_augmented_in_colour(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(draem_module, "augmented", lambda values, generator: seen.append(values.shape) or values)
    result = draem(picture(channels=1), BLOB, 0, Textures())
    assert seen == [(*SIZE, 3)] and result.pixels.shape == (*SIZE, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0, 255])
def test_textures_of_one_colour_change_nothing_outside(tmp_path, level, channels):
    write_picture(tmp_path / "flat.png", Picture(np.full((5, 4, 3), level, np.uint8)))
    normal, textures = picture(channels=channels), Textures(tmp_path)
    for seed in range(60):
        pixels = draem(normal, BLOB, seed, textures).pixels
        np.testing.assert_array_equal(pixels[~BLOB.numpy()], normal.pixels[~BLOB.numpy()])
        assert (pixels != normal.pixels)[BLOB.numpy()].mean() > 0.6
