"""Thumbnails without a float copy of the image, and their uses."""

import numpy as np
import pytest
import torch
from anomaly_synthesis.datasets.inspection import inspect_dataset
from anomaly_synthesis.images import decoding, pictures
from anomaly_synthesis.images.pictures import Picture
from anomaly_synthesis.images.thumbnails import Thumbnails, box_means
from PIL import Image


def noise(size, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, size, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(64, 64, 1), (33, 50, 3), (5, 100, 3), (1, 1, 1), (701, 17, 1)])
def test_boxes_are_those_of_adaptive_average_pooling(size, dtype):
    pixels = noise(size, dtype)
    grey = torch.from_numpy(pixels.astype(np.float64) / np.iinfo(dtype).max).mean(2)
    wanted = torch.nn.functional.adaptive_avg_pool2d(grey[None], 16)[0].numpy()
    assert np.allclose(box_means(pixels, 16), wanted, rtol=0, atol=1e-12)


def test_the_widest_sums_do_not_overflow():
    assert (box_means(np.full((70_000, 2, 3), 65535, np.uint16), 16) == 1).all()


def test_likeness_is_transitive_and_uniform_images_resemble_none():
    ramp, other = np.linspace(0, 200, 64 * 64).reshape(64, 64, 1), noise((64, 64, 1), seed=1)
    chain = {"b": ramp, "d": ramp * 0.72 + other * 0.28, "a": ramp * 0.45 + other * 0.55}
    thumbnails = Thumbnails(5)
    for name, pixels in chain.items():
        thumbnails.add(name, Picture(pixels.astype(np.uint8)))
    for name, value in (("c", 90), ("e", 90)):
        thumbnails.add(name, Picture(np.full((40, 30, 3), value, np.uint8)))
    values = {name: thumbnails._values[thumbnails._rows[name]] for name in "abcde"}
    near = min(values["b"] @ values["d"], values["d"] @ values["a"])
    assert values["a"] @ values["b"] < near and np.abs(values["c"]).max() < 1e-6
    assert thumbnails.near_duplicates(list("abcde"), near) == {"a": "a", "b": "a", "c": "c", "d": "a", "e": "e"}


def test_inspection_decodes_every_image_once_with_every_option(put, spot, tmp_path, monkeypatch):
    for number in range(3):
        put(f"tile/train/good/{number}.png")
    for type in ("crack", "hole"):  # LOCO: two types on one image are two masks
        put(f"tile/test/{type}/0.png")
        put(f"tile/ground_truth/{type}/0_mask.png", spot())
    decoded, decode = [], pictures.picture_of
    monkeypatch.setattr(pictures, "picture_of", lambda data, path: decoded.append(path) or decode(data, path))
    inspection = inspect_dataset(tmp_path / "tile")
    assert "near-duplicates" in inspection.groups and inspection.unusable == 0
    assert len(decoded) == len(set(decoded)) == 5


def test_an_image_with_several_types_is_decoded_once(put, tmp_path, monkeypatch):
    values = np.zeros((12, 16), np.uint8)
    values[2:4, 3:6], values[8:10, 9:12] = 1, 2
    for number in range(2):
        put(f"images/{number}.png")
        put(f"masks/{number}.png", values)
    decoded, decode = [], pictures.picture_of
    monkeypatch.setattr(pictures, "picture_of", lambda data, path: decoded.append(path.name) or decode(data, path))
    inspection = inspect_dataset(tmp_path, "index")
    (one,) = inspection.objects.values()
    assert {type: masks.images for type, masks in one.types.items()} == {"class 1": 2, "class 2": 2}
    assert sorted(decoded) == ["0.png", "1.png"]


def test_the_search_for_near_duplicates_can_be_stopped(put, tmp_path):
    for number in range(3):
        put(f"tile/train/good/{number}.png")
    seen = []

    def stop(done, total):
        seen.append((done, total))
        if len(seen) == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        inspect_dataset(tmp_path / "tile", report=stop)
    assert seen == [(1, 3), (2, 3), (3, 3), (3, 3)], "three images read, then the comparison of all three"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bits_are_the_rounded_image(dtype, channels):
    picture = Picture(noise((40, 30, channels), dtype))
    assert torch.equal(picture.eight_bit(), (picture.image() * 255).round().to(torch.uint8))


def test_all_sixteen_bit_values_round_to_the_nearest_of_eight():
    found = Picture(np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)).eight_bit()[0].flatten()
    assert torch.equal(found.long(), (torch.arange(65536) + 128) // 257)


def test_large_images_are_converted_band_by_band_to_the_same_values(tmp_path, monkeypatch):
    for mode, values in (("L", noise((50, 31))), ("RGBA", noise((50, 31, 4))), ("RGB", noise((50, 31, 3)))):
        Image.fromarray(values).save(tmp_path / f"{mode}.png")
        monkeypatch.setattr(decoding, "_BAND", 31 * 7)
        banded = pictures.read_picture(tmp_path / f"{mode}.png")
        monkeypatch.setattr(decoding, "_BAND", 1 << 20)
        whole = pictures.read_picture(tmp_path / f"{mode}.png")
        assert np.array_equal(banded.pixels, whole.pixels)
        assert np.array_equal(banded.pixels[..., 0], values.reshape(50, 31, -1)[..., 0])
