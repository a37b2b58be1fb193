"""The windows of synthesis: parts of a batch in order, whole images as windows, and a seed for every part."""

import pytest
import torch
from anomaly_synthesis.images.windows import Window, context_window, cut_image, cut_mask, image_part
from anomaly_synthesis.seeds import part_seed
from anomaly_synthesis.synthesis.windows import Crop, check_windows, crop_parts, whole_images, window_of

from .refusals import refused

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
    assert sum(int(part.inside.sum()) for part in parts) == mask.sum()
    assert torch.equal(Crop(tuple(parts), tuple(mask.shape), 4).mask(3), mask)
    for part in parts:
        alone = Crop((part,), tuple(mask.shape), 4).mask(3)
        assert part.window == context_window(alone, 64)
        area, inside = part.in_area(mask.shape)
        assert torch.equal(inside, alone[area]) and inside.sum() == alone.sum() > 0
        assert torch.equal(part.shown(), cut_mask(alone, part.window))


def test_of_gives_the_places_of_one_images_crops():
    masks = [speckled(seed=seed) for seed in range(3)]
    parts = tuple(part for item, mask in enumerate(masks) for part in crop_parts(item, mask, 64))
    crop = Crop(parts, (300, 400), 3)
    for item in range(3):
        assert all(parts[place] is part and part.item == item for place, part in crop.of(item))
    assert [place for item in range(3) for place, _ in crop.of(item)] == list(range(len(parts)))


def test_some_images_of_a_crop_are_a_crop_of_their_own():
    masks = [speckled(seed=seed) for seed in range(4)]
    crop = Crop(tuple(p for i, mask in enumerate(masks) for p in crop_parts(i, mask, 64)), (300, 400), 4)
    some, places = crop.some([3, 1])
    assert some.items == 2 and places == [place for item in (3, 1) for place, _ in crop.of(item)]
    assert all(torch.equal(some.mask(new), masks[item]) for new, item in enumerate((3, 1)))
    assert [part.number for part in some.parts] == [crop.parts[place].number for place in places]
    assert len({len(crop.of(item)) for item in range(4)}) > 1, "a place is no item"
    everything, places = crop.some(range(4))
    assert places == list(range(len(crop.parts)))
    assert [part.window for part in everything.parts] == [part.window for part in crop.parts]


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_image_comes_back_from_its_window(size):
    masks = [torch.ones(size, dtype=torch.bool)] * 2
    crop = whole_images(masks)
    assert (crop.size, crop.items, len(crop.parts)) == (size, 2, 2)
    batch = images(2, *size)
    check_windows(batch, crop)
    for part, image in zip(crop.parts, batch, strict=True):
        assert part.window.factor == 1 and part.number == 0
        rows, columns = image_part(part.window, size)
        assert torch.equal(window_of(image, max(size))[:, rows[1], columns[1]], image)


@pytest.mark.parametrize("bottom, right", [(0, 0), (7, 5), (63, 63)])
def test_padding_for_the_vae_is_cut_off(bottom, right):
    size = (377, 251)
    crop = whole_images([torch.ones(size, dtype=torch.bool)])
    image = images(1, size[0] + bottom, size[1] + right)
    check_windows(image, crop)
    assert torch.equal(window_of(image[0], 377)[:, :377, :251], image[0, :, :377, :251])


def test_crops_are_windows_already():
    mask = speckled()
    crop = Crop(tuple(crop_parts(0, mask, 64)), (300, 400), 1)
    image = images(1, 300, 400)[0]
    cut = torch.stack([cut_image(image, part.window) for part in crop.parts])
    check_windows(cut, crop)
    assert torch.equal(window_of(cut[0], 64), cut[0])


@pytest.mark.parametrize(
    "shape, words",
    [
        ((2, 377, 251), "^2, but the crop has 1$"),
        ((1, 376, 251), "^376 x 251"),
        ((1, 377, 250), "^377 x 250"),
        ((1, 441, 251), "^441 x 251"),
    ],
)
def test_images_that_are_not_the_crops_are_refused(shape, words):
    crop = whole_images([torch.ones(377, 251, dtype=torch.bool)])
    with refused("^images$", words, remedy="^connect "):
        check_windows(images(*shape), crop)


@pytest.mark.parametrize("shape", [(1, 40, 30), (1, 300, 400), (1, 128, 128)])
def test_a_whole_image_is_no_crop(shape):
    mask = torch.zeros(40, 30, dtype=torch.bool)
    mask[20, 10] = True
    crop = Crop(tuple(crop_parts(0, mask, 64)), (40, 30), 1)
    assert crop.parts[0].window == Window(-12, -17, 64, 64)
    check_windows(images(1, 64, 64), crop)
    with refused("^images$", remedy="connect what the crops became"):
        check_windows(images(*shape), crop)


def test_hundreds_of_specks_on_a_large_image_take_little_memory():
    mask = torch.zeros(2048, 2048, dtype=torch.bool)
    places = torch.arange(60, 2048, 140)
    mask[places[:, None], places[None]] = True
    parts = crop_parts(0, mask, 128)
    assert len(parts) == len(places) ** 2 and sum(part.inside.numel() for part in parts) == len(parts)


@pytest.mark.parametrize("seed", [0, 5, 2**63 - 1, 2**64 - 1])
def test_seeds_of_parts_fit_a_generator_and_differ_from_those_of_neighbours(seed):
    assert part_seed(seed, 0) == seed % 2**63
    seeds = [part_seed(seed + item, number) for item in range(64) for number in range(64)]
    assert len(set(seeds)) == len(seeds) and all(0 <= one < 2**63 for one in seeds)
