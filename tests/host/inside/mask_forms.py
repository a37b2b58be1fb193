"""Masks as other packs make them: more axes, other dtypes, one image with many masks, and empty ones."""

from __future__ import annotations

import torch

from .scenes import apart, base, one, pairs, refused
from .start import call, room


def _forms(mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """The mask [1, H, W] in every shape and number type that is the same mask."""
    byte = (mask * 255).byte()
    return {
        "[H, W]": mask[0],
        "[B, 1, H, W]": mask[:, None],
        "[B, H, W, 1]": mask[..., None],
        "[H, W, 1]": mask[0, ..., None],
        "bool": mask > 0.5,
        "bytes of 0 and 1": (mask > 0.5).byte(),
        "bytes": byte,
        "bytes, 4 axes": byte[:, None],
        "noise below": (byte.int() + 3).clamp(max=255),
        "16 bit": byte.int() * 257,
        "half": mask.half(),
    }


def check_every_node_takes_every_form_of_a_mask():
    image, mask = one((70, 64))
    check = room("nodes.images").check_masks
    for name, form in _forms(mask).items():
        (found,) = check(form, image)
        assert found.dtype == torch.bool and torch.equal(found, mask[0] > 0.5), name
    for size in ((1, 1), (1, 64), (64, 1)):
        for shape in (size, (1, *size), (1, 1, *size), (1, *size, 1)):
            (found,) = check(torch.ones(shape), torch.zeros(1, *size, 3))
            assert found.shape == size and found.all()
    four, vae = mask[:, None], base()[1]
    windows, shown, crop = call("CropToMask", image=image, mask=four, resolution=64, context=1.0)
    (latent,) = call("DefectLatent", image=windows, mask=shown[..., None], vae=vae, crop=crop)
    decoded = vae.decode(latent["samples"])
    made, scores = call(
        "ComposePair",
        normal=image,
        mask=four,
        made=1 - decoded,
        roundtrip=decoded,
        mode="difference",
        feather=0,
        visible_above=1.0,
        crop=crop,
    )
    again, _ = call(
        "ComposePair",
        normal=image,
        mask=mask,
        made=1 - decoded,
        roundtrip=decoded,
        mode="difference",
        feather=0,
        visible_above=1.0,
        crop=crop,
    )
    assert apart(made, again) == 0 and len(scores) == 1
    for name, more in (("CutPaste", {"variant": "patch"}), ("DRAEM", {"textures": ""})):
        plain = call(name, normal=image, mask=mask, seed=1, **more)[0]
        assert apart(call(name, normal=image, mask=four, seed=1, **more)[0], plain) == 0
    pasted = call("CopyPaste", normal=image, mask=four, source=1 - image, source_mask=mask[..., None])[0]
    assert apart(pasted, call("CopyPaste", normal=image, mask=mask, source=1 - image, source_mask=mask)[0]) == 0
    shown = call("EMAMaskSchedule", t_s=200.0, shape="linear", levels="1000", mask=four)[1]
    assert apart(shown, call("EMAMaskSchedule", t_s=200.0, shape="linear", levels="1000", mask=mask)[1]) == 0


def check_masks_with_channels_are_refused_by_their_axes():
    image, mask = one((64, 64))
    for wrong in (mask[..., None].repeat(1, 1, 1, 3), mask[:, None].repeat(1, 3, 1, 1), mask[None, None], mask[0, 0]):
        with refused("Crop to Mask: ", f"mask: {list(wrong.shape)}", "[batch, height, width]", "Image to Mask"):
            call("CropToMask", image=image, mask=wrong, resolution=64, context=1.0)


def check_one_image_with_several_masks_is_as_many_pairs():
    image, _ = one((96, 80))
    masks = torch.zeros(3, 96, 80)
    masks[0, 4:12, 4:12] = masks[1, 40:60, 30:44] = masks[2, 80:90, 60:70] = 1
    repeated = image.repeat(3, 1, 1, 1)
    for cropped in (True, False):
        few = pairs(image, masks, cropped=cropped, steps=2)
        many = pairs(repeated, masks, cropped=cropped, steps=2)
        assert few.images.shape == repeated.shape and apart(few.images, many.images) == 0
        changed = (few.images != repeated).any(-1)
        assert not changed[masks == 0].any() and all(one.any() for one in changed)
        assert [one.visibility for one in few.scores] == [one.visibility for one in many.scores]
    for name, more in (
        ("CutPaste", {"variant": "patch", "seed": 1}),
        ("DRAEM", {"textures": "", "seed": 1}),
        ("CopyPaste", {"source": 1 - image, "source_mask": masks[:1]}),
    ):
        made = call(name, normal=image, mask=masks, **more)[0]
        assert apart(made, call(name, normal=repeated, mask=masks, **more)[0]) == 0 and len(made) == 3
    windows, _, crop = call("CropToMask", image=image, mask=masks, resolution=64, context=1.0)
    assert apart(call("Stitch", image=image, crops=windows, crop=crop)[0], repeated) < 1e-6
    assert len(room("nodes.compose").Batch.checked(image, image, masks, None).images) == 3
    assert len(room("nodes.compose").Batch.checked(image, repeated, masks[:1], None).masks) == 3


def check_load_images_empty_mask_asks_for_paint():
    for size in ((128, 96), (64, 65)):
        image, _ = one(size)
        with refused("Defect Latent: ", "no mask is painted", "Open in MaskEditor"):
            call("DefectLatent", image=image, mask=torch.zeros(1, 64, 64), vae=base()[1])
    with refused("Defect Latent: ", "mask: 64 x 64, the image 128 x 96"):
        call("DefectLatent", image=one((128, 96))[0], mask=torch.ones(1, 64, 64), vae=base()[1])
    with refused("Defect Latent: ", "mask 0 of the batch: it is empty", "Open in MaskEditor"):
        call("DefectLatent", image=one((64, 64))[0], mask=torch.zeros(1, 64, 64), vae=base()[1])
