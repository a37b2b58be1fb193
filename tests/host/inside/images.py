"""Images of every size and depth: outside the mask every bit stays, inside it changes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from PIL import Image

from .scenes import FORMS, base, eight, one, pairs
from .start import OUTPUT, TEMPORARY, call, own, room


def _changed(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    assert before.shape == after.shape, f"{tuple(before.shape)} came back as {tuple(after.shape)}"
    return (before != after).any(-1)


def check_a_defect_of_one_pixel_changes_that_pixel_and_no_other():
    image, mask = one((150, 160), (149, 7))
    for form in FORMS:
        for cropped in (True, False):
            made = pairs(image, mask, form, cropped, steps=2)
            assert made.latent["noise_mask"].sum() == 1 and made.latent["noise_mask"].shape[1] == 1
            changed = _changed(image, made.images)
            assert torch.equal(changed, mask > 0), f"{form.__name__}, {cropped}: {changed.nonzero().tolist()}"


def check_an_image_of_odd_size_comes_back_in_its_size():
    shares = []
    for size, cropped, mode in (
        ((251, 377), True, "paste"),
        ((251, 377), False, "difference"),
        ((377, 251), True, "difference"),
        ((377, 251), False, "paste"),
    ):
        image, mask = one(size)
        changed = _changed(image, pairs(image, mask, cropped=cropped, mode=mode, steps=2).images)
        assert not changed[mask == 0].any()
        shares.append(changed[mask > 0].float().mean().item())
    assert min(shares) > 0.8, shares
    return {"smallest share of the mask that changed": min(shares)}


def check_an_image_smaller_than_the_window_comes_back():
    image, mask = one((40, 30))
    changed = _changed(image, pairs(image, mask).images)
    assert not changed[mask == 0].any() and changed[mask > 0].any()


def _sixteen_bit() -> tuple[torch.Tensor, torch.Tensor]:
    """Grey of 65536 levels, almost none of which exist in 8 bit."""
    image, mask = one((150, 140))
    fine = torch.rand(1, 150, 140, 1, generator=torch.Generator().manual_seed(0)) / 255
    return ((image.mean(-1, keepdim=True) + fine).clamp(0, 1) * 65535).round().expand(-1, -1, -1, 3) / 65535, mask


def check_a_16_bit_image_stays_exact_outside():
    image, mask = _sixteen_bit()
    for cropped in (True, False):
        made = pairs(image, mask, cropped=cropped).images
        changed = _changed(image, made)
        assert not changed[mask == 0].any() and changed[mask > 0].float().mean() > 0.95
        levels = made[mask > 0] * 65535
        assert (levels - levels.round()).abs().max() < 0.01 and (levels % 257).unique().numel() > 50


def _saved(folder: str, image, mask, normal, **inputs) -> list[dict]:
    """The manifest after Save Pairs, which gets the prompt as a hidden input, as in the host."""
    prompt = {
        "1": {"class_type": "SIAS_LoadAnomalyLDM", "inputs": {"base_name": "surfaces (bundled)", "aware": True}},
        "2": {"class_type": "SIAS_KSamplerAIAS", "inputs": {"latent_image": ["1", 0], "seed": 40, "steps": 4}},
        "3": {"class_type": "SIAS_SavePairs", "inputs": {"image": ["2", 0], "folder": folder}},
    }
    hidden = SimpleNamespace(prompt=prompt, unique_id="3", extra_pnginfo={"workflow": {"nodes": [1]}})
    node = type("WithHidden", (own("SavePairs"),), {"hidden": hidden})
    inputs = {"object": "plate", "type": "scratch"} | inputs
    call(node, folder=folder, image=image, mask=mask, normal=normal, **inputs)
    return room("datasets.pairs").read_manifest(OUTPUT / folder)


def check_a_saved_16_bit_pair_is_16_bit_and_exact_outside():
    image, mask = _sixteen_bit()
    made = pairs(image, mask)
    (record,) = _saved("deep", made.images, mask, image, scores=made.scores)
    read = room("images.pictures")
    saved, normal = (read.read_picture(OUTPUT / "deep" / record[key]).pixels for key in ("image", "normal"))
    assert saved.dtype == normal.dtype == "uint16" and saved.shape == normal.shape == (150, 140, 1)
    inside = room("images.mask_files").read_mask(OUTPUT / "deep" / record["mask"])
    assert torch.equal(inside, mask[0] > 0) and (saved == normal)[~inside.numpy()].all()
    assert torch.equal(torch.from_numpy(normal[..., 0] / 65535).float(), image[0, ..., 0].float())


def check_the_manifest_holds_base_seeds_scores_and_settings():
    batch = eight()
    made = pairs(batch.images[:2], batch.masks[:2])
    options = {"object": "a\nb", "type": "x\ny", "scores": made.scores}
    records = _saved("recorded", made.images, batch.masks[:2], batch.images[:2], **options)
    bundled = room("nodes.compact_base").base_path("surfaces (bundled)")
    for index, record in enumerate(records):
        assert record["index"] == index and record["seed"] == 40 + index
        assert (record["object"], record["type"]) == (("a", "x"), ("b", "y"))[index]
        assert record["base"] == room("modules.base_file").file_digest(bundled)
        assert record["settings"]["2"] == {"node": "SIAS_KSamplerAIAS", "seed": 40, "steps": 4}
        assert record.items() >= made.scores[index].entries.items() and len(record["windows"]) == 1
        assert record["visibility"] == round(made.scores[index].visibility, 4) and 0 < record["completeness"] <= 1
        assert 0 < record["precision"] <= 1 and 0 <= record["boundary"] <= 1 and record["nearest_real"] is None
    assert json.loads((OUTPUT / "recorded" / "workflow.json").read_text()) == {"nodes": [1]}
    more = _saved("recorded", made.images, batch.masks[:2], batch.images[:2], seed=7, **options | {"type": "z"})
    assert len(more) == 4 and [record["seed"] for record in more] == [40, 41, 7, 8]


def check_stitch_puts_windows_back_as_they_were_cut():
    batch = eight()
    crops, _, crop = call("CropToMask", image=batch.images, mask=batch.masks, resolution=64, context=0.0)
    native = [part.window.factor == 1 for part in crop.parts]
    kept = [i for i in range(8) if all(native[place] for place, _ in crop.of(i))]
    (stitched,) = call("Stitch", image=batch.images, crops=crops, crop=crop)
    assert kept and torch.equal(stitched[kept], batch.images[kept])
    (inverted,) = call("Stitch", image=batch.images, crops=1 - crops, crop=crop)
    changed = _changed(batch.images, inverted)
    assert changed[batch.masks > 0].float().mean() > 0.9 and not changed.all()


def check_previews_of_narrow_images_come_as_one_batch():
    image, mask = one((600, 40))
    images, masks = image.expand(2, -1, -1, -1), mask.expand(2, -1, -1)
    score = room("nodes.compose").Score
    others = dict.fromkeys(("strength", "excess", "completeness", "precision", "boundary", "seam"), 1.0)
    values = ((9.5, -0.5, True), (0.25, -10.25, False))
    scores = [score(visibility=v, contrast=c, visible=seen, windows=(), **others) for v, c, seen in values]
    shown = own("PreviewPair").execute(normal=images, image=images, mask=masks, scores=scores).ui.as_dict()["images"]
    sizes = {Image.open(TEMPORARY / one["filename"]).size for one in shown}
    assert len(shown) == 2 and len(sizes) == 1


def check_latent_previews_show_the_image():
    import comfy.cli_args
    import latent_preview

    (model, vae, _), batch, options = base(), eight(), comfy.cli_args.args
    before, options.preview_method = options.preview_method, comfy.cli_args.LatentPreviewMethod.Latent2RGB
    try:
        previewer = latent_preview.get_previewer(torch.device("cpu"), model.get_model_object("latent_format"))
    finally:
        options.preview_method = before
    correlations = []
    for image in batch.images:
        latent = vae.encode(image[None])
        shown = previewer.decode_latent_to_preview(model.model.process_latent_in(latent))
        preview = torch.tensor(list(shown.getdata()), dtype=torch.float32).flatten() / 255
        real = F.avg_pool2d(vae.decode(latent).movedim(-1, 1), 4)[0].movedim(0, -1).flatten()
        correlations.append(torch.corrcoef(torch.stack([preview, real]))[0, 1].item())
        assert (preview - real).abs().mean() < 0.1
    assert min(correlations) > 0.8, correlations
    return {"smallest correlation": min(correlations)}
