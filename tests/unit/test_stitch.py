"""Windows pasted back into their images: only the windows change, and no window covers another's defect."""

import pytest
import torch
from anomaly_synthesis.images.windows import cut_image, image_part
from anomaly_synthesis.synthesis.windows import Crop, crop_parts, stitch, whole_images

from .refusals import refused

SIZE = (300, 400)


def crop_of(*pixels, size=SIZE, resolution=64):
    """The crop of one image per entry, each a list of (row, column) that are defect."""
    parts = []
    for item, places in enumerate(pixels):
        mask = torch.zeros(size, dtype=torch.bool)
        for row, column in places:
            mask[row, column] = True
        parts += crop_parts(item, mask, resolution)
    return Crop(tuple(parts), size, len(pixels))


def images(count, size=SIZE):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def cut(batch, crop):
    return torch.stack([cut_image(batch[part.item], part.window) for part in crop.parts])


@pytest.mark.parametrize("size", [SIZE, (40, 30), (377, 251)])
def test_windows_as_they_were_cut_leave_every_image_as_it_was(size):
    crop = crop_of([(5, 5), (size[0] - 1, size[1] - 1)], [(20, 10)], size=size)
    batch = images(2, size)
    before = batch.clone()
    assert torch.equal(stitch(batch, cut(batch, crop), crop), before) and torch.equal(batch, before)


def test_changed_windows_change_their_own_place_alone():
    crop = crop_of([(10, 10), (290, 390)], [(150, 200)])
    assert len(crop.parts) == 3
    batch = images(2)
    stitched = stitch(batch, 1 - cut(batch, crop), crop)
    inside = torch.zeros(2, *SIZE, dtype=torch.bool)
    for part in crop.parts:
        rows, columns = image_part(part.window, SIZE)
        inside[part.item, rows[0], columns[0]] = True
    assert torch.equal(stitched.movedim(1, -1)[~inside], batch.movedim(1, -1)[~inside])
    assert torch.equal(stitched.movedim(1, -1)[inside], 1 - batch.movedim(1, -1)[inside])


def test_a_window_does_not_cover_another_parts_defect():
    first, second = [(100, column) for column in range(100, 112)], [(100, column) for column in range(135, 146)]
    crop = crop_of(first + second)
    assert len(crop.parts) == 2 and crop.parts[1].window.left < 112  # it covers the end of the first
    values = torch.tensor([0.25, 0.75])
    (stitched,) = stitch(images(1), values.view(2, 1, 1, 1).expand(2, 3, 64, 64), crop)
    masks = [Crop((part,), SIZE, 1).mask(0) for part in crop.parts]
    for mask, value in zip(masks, values, strict=True):
        assert (stitched[:, mask] == value).all()
    assert (stitched[0] == 0.75).sum() == 64 * 64 - masks[0][:, crop.parts[1].window.left :].sum()


def test_a_reduced_window_is_enlarged_again():
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[100:200, 100:200] = True
    crop = Crop(tuple(crop_parts(0, mask, 64)), SIZE, 1)
    (part,) = crop.parts
    assert part.window.factor > 4
    (stitched,) = stitch(images(1), torch.full((1, 3, 64, 64), 0.5), crop)
    rows, columns = image_part(part.window, SIZE)
    assert (stitched[:, rows[0], columns[0]] - 0.5).abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(1, 3, 300, 401), (1, 3, 299, 400), (2, 3, 300, 400)])
def test_images_that_were_not_cropped_are_refused(shape):
    crop = crop_of([(10, 10)])
    with refused("^images$", "were cropped", remedy="connect the images that were cropped"):
        stitch(torch.zeros(shape), torch.zeros(1, 3, 64, 64), crop)


def test_another_number_of_crops_is_refused():
    crop = whole_images([torch.ones(SIZE, dtype=torch.bool)])
    with refused("^images$", "^2, but the crop has 1$", remedy="connect all of them"):
        stitch(images(1), images(2), crop)
