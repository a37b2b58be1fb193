"""The baselines as nodes: exact outside the mask, every item from its own seed, every image as the engine makes it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .scenes import eight, one, refused
from .start import INPUT, call, own, room

SEED = 11


def _cutpaste(normal: Tensor, mask: Tensor, seed: int = SEED, variant: str = "patch") -> Tensor:
    return call("CutPaste", normal=normal, mask=mask, variant=variant, seed=seed)[0]


def _draem(normal: Tensor, mask: Tensor, seed: int = SEED, textures: str = "") -> Tensor:
    return call("DRAEM", normal=normal, mask=mask, textures=textures, seed=seed)[0]


def _copy_paste(normal: Tensor, mask: Tensor, source=None, source_mask=None) -> Tensor:
    source, source_mask = _defect() if source is None else (source, source_mask)
    return call("CopyPaste", normal=normal, mask=mask, source=source, source_mask=source_mask)[0]


def _defect(size: tuple[int, int] = (70, 90)) -> tuple[Tensor, Tensor]:
    """A bright blotch on brushed metal, with its mask."""
    image, mask = one(size)
    return torch.where(mask[..., None] > 0, 0.5 + image / 2, image), mask


METHODS: dict[str, Callable[..., Tensor]] = {
    "CutPaste (baseline)": _cutpaste,
    "DRAEM (baseline)": _draem,
    "Copy-Paste (baseline)": _copy_paste,
}


def _exact(normal: Tensor, mask: Tensor, made: Tensor, least: float = 0.5) -> None:
    """Outside the masks [B, H, W] every value is the normal's; of the masks' pixels at least a share changed."""
    assert made.shape == normal.shape and made.dtype == normal.dtype and made.min() >= 0 and made.max() <= 1
    changed = (made != normal).any(-1)
    assert not changed[mask == 0].any() and changed[mask > 0].float().mean() > least


def check_outside_the_mask_every_value_is_the_normal_images():
    batch = eight()
    for method in METHODS.values():
        _exact(batch.images, batch.masks, method(batch.images, batch.masks))


def check_values_that_no_file_holds_stay_exact_outside():
    image, mask = one((61, 47))
    odd = (image + torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) / 100).clamp(0, 1)
    for values in (odd, odd.half(), odd.double()):
        for method in METHODS.values():
            _exact(values, mask, method(values, mask))


def check_item_3_alone_is_item_3_of_a_batch():
    batch = eight()
    for method in (_cutpaste, _draem):
        together = method(batch.images, batch.masks)
        assert torch.equal(method(batch.images[3:4], batch.masks[3:4], SEED + 3)[0], together[3])
        assert torch.equal(method(batch.images[3:5], batch.masks[3:5], SEED + 3), together[3:5])
        assert not torch.equal(method(batch.images[3:4], batch.masks[3:4])[0], together[3])
    together = _copy_paste(batch.images, batch.masks)
    assert torch.equal(_copy_paste(batch.images[3:4], batch.masks[3:4])[0], together[3])


def check_the_nodes_give_the_engines_pictures():
    """What `evaluate` makes of the same normal, mask and seed."""
    batch, images = eight(), room("nodes.images")
    draem, cutpaste = room("baselines.draem"), room("baselines.cutpaste").cutpaste
    engines = {
        "patch": (_cutpaste, lambda p, m, seed: cutpaste(p, m, seed)),
        "scar": (lambda n, m: _cutpaste(n, m, variant="scar"), lambda p, m, seed: cutpaste(p, m, seed, "scar")),
        "draem": (_draem, lambda p, m, seed: draem.draem(p, m, seed, draem.Textures())),
    }
    for method, engine in engines.values():
        for item, made in enumerate(method(batch.images[:3], batch.masks[:3])):
            picture = engine(images.to_picture(batch.images[item]), batch.masks[item] > 0.5, SEED + item)
            assert torch.equal(made, images.to_image(picture))


def check_images_of_two_sizes_in_a_list():
    """The host runs a node once per item of a list."""
    for size in ((40, 90), (133, 71)):
        image, mask = one(size)
        for method in METHODS.values():
            _exact(image, mask, method(image, mask))


def check_one_mask_serves_all_images_and_two_axes_are_a_mask():
    image, mask = one((50, 60))
    both = image.repeat(2, 1, 1, 1)
    for method in METHODS.values():
        made = method(both, mask)
        _exact(both, mask.repeat(2, 1, 1), made)
        assert torch.equal(method(both, mask[0]), made)
    assert not torch.equal(*_cutpaste(both, mask)) and torch.equal(*_copy_paste(both, mask))


def check_grey_images_get_grey_defects_and_16_bit_stays():
    image, mask = one((64, 80))
    fine = torch.rand(1, 64, 80, 1, generator=torch.Generator().manual_seed(0))
    deep = ((image.mean(-1, keepdim=True) + fine / 255).clamp(0, 1) * 65535).round() / 65535
    for method in METHODS.values():
        made = method(deep, mask)
        _exact(deep.expand(-1, -1, -1, 3), mask, made)
        assert torch.equal(made[..., 0], made[..., 1]) and torch.equal(made[..., 0], made[..., 2])
        levels = made[mask > 0] * 65535
        assert (levels - levels.round()).abs().max() < 0.01 and (levels.round() % 257).unique().numel() > 20


def check_colour_images_get_coloured_defects_also_from_a_grey_source():
    image, mask = one((64, 80))
    tinted = (image * torch.tensor([1.0, 0.8, 0.5]) * 255).round() / 255
    source, source_mask = _defect()
    made = _copy_paste(tinted, mask, source.mean(-1, keepdim=True), source_mask)
    _exact(tinted, mask, made)
    assert not torch.equal(made[..., 0], made[..., 1])


def check_alpha_is_left_out():
    image, mask = one((40, 40))
    for method in METHODS.values():
        made = method(torch.cat([image, image[..., :1]], -1), mask)
        assert torch.equal(made, method(image, mask))


def check_every_normal_gets_its_own_source():
    image, mask = one((64, 64))
    (bright, source_mask), both = _defect(), image.repeat(2, 1, 1, 1)
    dark = torch.where(source_mask[..., None] > 0, bright / 3, bright)
    sources, masks = torch.cat([bright, dark]), source_mask.repeat(2, 1, 1)
    made = _copy_paste(both, mask, sources, masks)
    for item, source in enumerate((bright, dark)):
        assert torch.equal(made[item : item + 1], _copy_paste(image, mask, source, source_mask))
    assert made[0][mask[0] > 0].mean() > image[mask > 0].mean() > made[1][mask[0] > 0].mean()
    assert torch.equal(_copy_paste(both, mask, sources, source_mask), made)


def check_textures_come_from_a_folder_below_the_input():
    pictures = room("images.pictures")
    image, mask = one((48, 48))
    for name, level in (("flat", 255), ("other", 0)):
        (INPUT / name / "deep").mkdir(parents=True)
        pixels = torch.full((8, 8, 3), level, dtype=torch.uint8).numpy()
        pictures.write_picture(INPUT / name / "deep" / "t.png", pictures.Picture(pixels))
    made = [_draem(image, mask, textures=name) for name in ("flat", "other", " flat ", str(INPUT / "flat"), "")]
    assert torch.equal(made[0], made[2]) and torch.equal(made[0], made[3])
    assert not torch.equal(made[0], made[1]) and not torch.equal(made[0], made[4])


def check_another_file_among_the_textures_is_seen():
    node, folder, pictures = own("DRAEM"), INPUT / "growing", room("images.pictures")
    folder.mkdir()
    seen = []
    for name in ("a", "b"):
        pixels = torch.zeros(4, 4, 3, dtype=torch.uint8).numpy()
        pictures.write_picture(folder / f"{name}.png", pictures.Picture(pixels))
        seen += [node.fingerprint_inputs(textures="growing", seed=seed) for seed in (0, 1)]
    assert seen[0] == seen[1] != seen[2] == seen[3]
    assert node.fingerprint_inputs(textures="") and node.fingerprint_inputs(textures=None) is None


def check_a_folder_without_textures_is_refused_before_the_run():
    (INPUT / "bare").mkdir()
    node, (image, mask) = own("DRAEM"), one((32, 32))
    assert node.validate_inputs(textures="") is True and node.validate_inputs(textures=None) is True
    for name, words in (("missing", "no such folder"), ("bare", "no pictures in the folder")):
        said = node.validate_inputs(textures=name)
        assert said.startswith(f"DRAEM (baseline): {INPUT / name}: {words}")
        assert "give a folder of textures, its path or its name below ComfyUI's input" in said
        with refused("DRAEM (baseline): ", words, "give a folder of textures"):
            _draem(image, mask, textures=name)


def check_masks_and_images_that_do_not_fit_are_refused_by_every_baseline():
    image, mask = one((64, 64))
    bad = image.clone()
    bad[0, 1, 2, 0] = float("nan")
    for name, method in METHODS.items():
        with refused(f"{name}: ", "mask 0 of the batch: it is empty", "draw at least one pixel"):
            method(image, mask * 0.5)
        with refused(f"{name}: ", "mask: 64 x 63, the image 64 x 64", "connect a mask of the image's size"):
            method(image, mask[:, :, 1:])
        with refused(f"{name}: ", "3 masks for 2 images", "one for each"):
            method(image.repeat(2, 1, 1, 1), mask.repeat(3, 1, 1))
        with refused(f"{name}: ", "normal: it holds NaN", "look at the node that made it"):
            method(bad, mask)
        with refused(f"{name}: ", "normal: a batch of 0", "at least one image"):
            method(image[:0], mask)


def check_sources_that_do_not_fit_are_refused():
    image, mask = one((64, 64))
    source, source_mask = _defect()
    node = "Copy-Paste (baseline)"
    with refused(f"{node}: ", "source, mask 0 of the batch: it is empty", "draw at least one pixel"):
        _copy_paste(image, mask, source, source_mask * 0)
    with refused(f"{node}: ", "source, mask: 64 x 64, the image 70 x 90", "connect a mask of the image's size"):
        _copy_paste(image, mask, source, mask)
    with refused(f"{node}: ", "source: 2 images, the batch 3", "connect 1 or 3"):
        _copy_paste(image.repeat(3, 1, 1, 1), mask, source.repeat(2, 1, 1, 1), source_mask)
    with refused(f"{node}: ", "source: it holds NaN"):
        _copy_paste(image, mask, source * float("nan"), source_mask)


@refused("CutPaste (baseline): ", "variant: 'swap'", "accepted is one of patch, scar")
def check_a_variant_that_another_node_made_up_is_refused():
    _cutpaste(*one((32, 32)), variant="swap")
