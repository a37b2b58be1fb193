"""Images, masks and crops that do not fit together or are not valid: refused with the node's name in front."""

from __future__ import annotations

import torch

from .scenes import base, one, refused
from .start import call


def _crop(image, mask):
    return call("CropToMask", image=image, mask=mask, resolution=128, context=1.0)


def _composed(image, mask, made, crop=None):
    return call(
        "ComposePair",
        normal=image,
        mask=mask,
        made=made,
        roundtrip=made,
        mode="difference",
        feather=0,
        visible_above=1.0,
        crop=crop,
    )


@refused("Defect Latent: ", "mask 0 of the batch: it is empty", "draw at least one pixel")
def check_an_empty_mask_is_refused():
    image, mask = one((64, 64))
    call("DefectLatent", image=image, mask=mask * 0.5, vae=base()[1])


@refused("Crop to Mask: ", "mask 1 of the batch: it is empty", "draw at least one pixel")
def check_one_empty_mask_of_a_batch_is_refused():
    image, mask = one((64, 64))
    _crop(image.repeat(2, 1, 1, 1), torch.cat([mask, mask * 0]))


@refused("Crop to Mask: ", "mask: 64 x 63, the image 64 x 64", "connect a mask of the image's size")
def check_a_mask_of_another_size_is_refused():
    image, mask = one((64, 64))
    _crop(image, mask[:, :, 1:])


@refused("Defect Latent: ", "2 masks for 3 images", "one for each")
def check_another_number_of_masks_is_refused():
    image, mask = one((64, 64))
    call("DefectLatent", image=image.repeat(3, 1, 1, 1), mask=mask.repeat(2, 1, 1), vae=base()[1])


def check_nan_is_refused_by_every_node_that_takes_images():
    image, mask = one((64, 64))
    bad, vae = image.clone(), base()[1]
    bad[0, 5, 6, 1] = float("nan")
    calls = {
        "Crop to Mask": lambda: _crop(bad, mask),
        "Defect Latent": lambda: call("DefectLatent", image=bad, mask=mask, vae=vae),
        "Compose Pair": lambda: _composed(image, mask, bad),
        "Preview Pair": lambda: call("PreviewPair", normal=image, image=bad, mask=mask),
        "Save Pairs": lambda: call("SavePairs", normal=image, image=bad, mask=mask, object="a", type="b", folder="c"),
        "Stitch": lambda: call("Stitch", image=image, crops=bad, crop=_crop(image, mask)[2]),
    }
    for name, attempt in calls.items():
        with refused(f"{name}: ", "NaN", "look at the node that made it"):
            attempt()


def check_a_batch_of_0_is_refused():
    image, mask = one((64, 64))
    with refused("Crop to Mask: ", "batch of 0", "at least one image"):
        _crop(image[:0], mask)
    with refused("Defect Latent: ", "batch of 0", "at least one image"):
        call("DefectLatent", image=image[:0], mask=mask, vae=base()[1])
    with refused("Compose Pair: ", "made: a batch of 0"):
        _composed(image, mask, image[:0])


def check_the_crop_of_another_image_is_refused():
    image, mask = one((300, 300))
    windows, _, crop = _crop(image, mask)
    other, other_mask = one((300, 200))
    both = image.repeat(2, 1, 1, 1)
    with refused(
        "Compose Pair: ", "crop: of 1 images of 300 x 300, and 1 of 300 x 200", "connect the images that were cropped"
    ):
        _composed(other, other_mask, windows, crop)
    with refused("Compose Pair: ", "mask: not the one that Crop to Mask cut by", "connect the same to both"):
        _composed(image, mask.flip(1), windows, crop)
    with refused("Compose Pair: ", "and 2 of 300 x 300", "connect the images that were cropped"):
        _composed(both, mask, windows, crop)
    with refused("Compose Pair: ", "images: 2, but the crop has 1", "connect all of them"):
        _composed(image, mask, windows.repeat(2, 1, 1, 1), crop)
    with refused("Defect Latent: ", "images: 2, but the crop has 1", "connect all of them"):
        call("DefectLatent", image=both, mask=mask, vae=base()[1], crop=crop)
    with refused("Defect Latent: ", "images: 300 x 300 (height x width); accepted is", "leave crop open"):
        call("DefectLatent", image=image, mask=mask, vae=base()[1], crop=crop)
    with refused("Compose Pair: ", "images: 300 x 300", "connect what the crops became"):
        _composed(image, mask, image, crop)
    with refused("Stitch: ", "connect the images that were cropped"):
        call("Stitch", image=other, crops=windows, crop=crop)


@refused("Compose Pair: ", "images: 296 x 296 (height x width); accepted is 300 x 300", "connect the decoded latent")
def check_a_decoded_image_smaller_than_the_normal_is_refused():
    image, mask = one((300, 300))
    _composed(image, mask, image[:, :296, :296])
