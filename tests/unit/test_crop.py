"""What synthesis looks at: parts of a batch in order, whole images as windows, and a seed for every part."""

import pytest
import torch
from anomaly_synthesis.datasets.windows import Window, cut_image, image_part
from anomaly_synthesis.synthesis.crop import Crop, crop_parts, part_seed, whole_images, windows_of

SIZES = [(377, 251), (251, 377), (64, 64), (1, 9)]


def speckled(size=(300, 400), seed=0):
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) > 0.9995


def images(count, height, width):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_parts_are_numbered_and_each_lies_in_its_window():
    mask = speckled()
    parts = crop_parts(3, mask, 64)
    assert len(parts) > 5 and [part.number for part in parts] == list(range(len(parts)))
    assert {part.item for part in parts} == {3}
    assert torch.equal(torch.stack([part.mask for part in parts]).sum(0), mask.long())
    for part in parts:
        rows, columns = image_part(part.window, mask.shape)
        assert part.mask[rows[0], columns[0]].sum() == part.mask.sum() > 0 and part.window.resolution == 64


def test_of_gives_the_places_of_one_images_crops():
    masks = [speckled(seed=seed) for seed in range(3)]
    parts = tuple(part for item, mask in enumerate(masks) for part in crop_parts(item, mask, 64))
    crop = Crop(parts, (300, 400), 3)
    for item in range(3):
        assert all(parts[place] is part and part.item == item for place, part in crop.of(item))
    assert [place for item in range(3) for place, _ in crop.of(item)] == list(range(len(parts)))


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_image_comes_back_from_its_window(size):
    masks = [torch.ones(size, dtype=torch.bool)] * 2
    crop = whole_images(masks)
    assert (crop.size, crop.items, len(crop.parts)) == (size, 2, 2)
    batch = images(2, *size)
    for part, window, image in zip(crop.parts, windows_of("Node", batch, crop), batch, strict=True):
        assert part.window.factor == 1 and part.number == 0
        rows, columns = image_part(part.window, size)
        assert torch.equal(window[:, rows[1], columns[1]], image)


@pytest.mark.parametrize("bottom, right", [(0, 0), (7, 5), (200, 200)])
def test_what_the_vae_was_given_beyond_the_image_is_cut_off(bottom, right):
    size = (377, 251)
    crop = whole_images([torch.ones(size, dtype=torch.bool)])
    image = images(1, size[0] + bottom, size[1] + right)
    (window,) = windows_of("Node", image, crop)
    assert torch.equal(window[:, :377, :251], image[0, :, :377, :251])


def test_crops_are_windows_already():
    mask = speckled()
    crop = Crop(tuple(crop_parts(0, mask, 64)), (300, 400), 1)
    image = images(1, 300, 400)[0]
    cut = torch.stack([cut_image(image, part.window) for part in crop.parts])
    assert torch.equal(windows_of("Node", cut, crop), cut)


@pytest.mark.parametrize(
    "shape, words",
    [
        ((2, 377, 251), "2 images, but the crop tells of 1"),
        ((1, 376, 251), "the images are 376 x 251, smaller than the 377 x 251"),
        ((1, 377, 250), "the images are 377 x 250, smaller than the 377 x 251"),
    ],
)
def test_images_that_are_not_the_crops_are_refused(shape, words):
    crop = whole_images([torch.ones(377, 251, dtype=torch.bool)])
    with pytest.raises(ValueError, match=f"^Compose Pair: {words}"):
        windows_of("Compose Pair", images(*shape), crop)


def test_a_small_image_in_a_large_window_needs_only_what_it_shows():
    mask = torch.zeros(40, 30, dtype=torch.bool)
    mask[20, 10] = True
    crop = Crop(tuple(crop_parts(0, mask, 64)), (40, 30), 1)
    assert crop.parts[0].window == Window(-12, -17, 64, 64)
    assert windows_of("Node", images(1, 64, 64), crop).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("seed", [0, 5, 2**63 - 1, 2**64 - 1])
def test_seeds_of_parts_fit_a_generator_and_never_meet_those_of_neighbours(seed):
    assert part_seed(seed, 0) == seed % 2**63
    seeds = [part_seed(seed + item, number) for item in range(64) for number in range(64)]
    assert len(set(seeds)) == len(seeds) and all(0 <= one < 2**63 for one in seeds)
