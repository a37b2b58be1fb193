"""Make Defects: one node from a photograph and a mask to a defect; exact outside, repeatable, clear refusals."""

from __future__ import annotations

import torch
from torch import Tensor

from .scenes import apart, base, one, refused
from .start import BASES, call, room

NODE = "Make Defects"


def _photograph(height: int = 300, width: int = 260, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Images that no base was trained on, and a mask of two pieces."""
    rows, columns = torch.meshgrid(torch.linspace(0, 9, height), torch.linspace(0, 7, width), indexing="ij")
    grey = 0.5 + 0.2 * (rows.sin() * columns.cos())
    images = torch.stack([grey.roll(7 * item, 0) for item in range(batch)])[..., None].repeat(1, 1, 1, 3)
    mask = torch.zeros(height, width)
    mask[40:70, 50:120] = mask[-20:-12, -20:-12] = 1
    return images, mask[None]


def _made(image: Tensor, mask: Tensor, **changed) -> tuple:
    return call("MakeDefects", **{"image": image, "mask": mask, "type": "stain", "seed": 3, "steps": 2} | changed)


def check_nothing_changes_outside_the_mask_that_comes_out():
    image, mask = _photograph(batch=2)
    for refine in (True, False):
        made, label, scores, kind = _made(image, mask, refine=refine)
        assert made.shape == image.shape and label.shape == image.shape[:3] and len(scores) == 2
        assert kind == "stain"
        assert torch.equal(made[label == 0], image[label == 0])
        assert ((label > 0) <= (mask > 0)).all() and label.flatten(1).any(1).all()
        assert not torch.equal(made, image)
        if not refine:
            assert torch.equal(label, mask.expand(2, -1, -1))


def check_an_item_of_a_batch_is_what_it_is_alone():
    image, mask = _photograph(batch=2)
    together, alone = _made(image, mask), _made(image[1:], mask, seed=4)
    assert apart(together[0][1], alone[0][0]) < 1e-4
    assert not torch.equal(together[0][0], _made(image[:1], mask, seed=9)[0][0])


def check_the_position_in_a_large_image_does_not_matter():
    """What is drawn in a window depends only on its surroundings."""
    image, mask = _photograph()
    mask[:] = 0
    mask[:, 140:170, 110:150] = 1  # far from the border: the window is the same in both
    large, there = torch.full((1, 1200, 900, 3), 0.4), torch.zeros(1, 1200, 900)
    large[:, 500:800, 300:560], there[:, 500:800, 300:560] = image, mask
    ours, theirs = _made(image, mask), _made(large, there)
    assert apart(ours[0], theirs[0][:, 500:800, 300:560]) < 1e-3


def check_it_draws_as_the_long_graph_does():
    image, mask = one()
    model, vae, resolution = base()
    made, _, (score,), kind = _made(
        image, mask, model=model, vae=vae, other_type="brushed_metal/scratch", tries=1, refine=False
    )
    assert kind == "scratch"
    crops, masks, crop = call("CropToMask", image=image, mask=mask, resolution=resolution, context=1.0)
    latent = call("DefectLatent", image=crops, mask=masks, vae=vae, crop=crop)[0]
    positive, negative = call("AnomalyConditioning", model=model, object="brushed_metal", type="scratch", crop=crop)
    sampled = call(
        "KSamplerAIAS",
        model=model,
        seed=3,
        steps=2,
        cfg=2.0,
        preset="recommended",
        positive=positive,
        negative=negative,
        latent_image=latent,
        denoise=1.0,
    )[0]
    by_graph = call(
        "ComposePair",
        normal=image,
        mask=mask,
        made=vae.decode(sampled["samples"]),
        roundtrip=vae.decode(latent["samples"]),
        mode="difference",
        feather=0,
        visible_above=1.0,
        crop=crop,
    )
    assert apart(made, by_graph[0].to(made)) < 1e-5
    assert abs(score.visibility - by_graph[1][0].visibility) < 1e-4


def check_a_checkpoint_draws_by_its_conditioning():
    image, mask = one()
    model, vae, _ = base()
    conditioning = dict(
        zip(
            ("positive", "negative"),
            call("AnomalyConditioning", model=model, object="brushed_metal", type="pit"),
            strict=True,
        )
    )
    made, label, *_ = _made(image, mask, model=model, vae=vae, window=128, **conditioning)
    assert torch.equal(made[label == 0], image[label == 0]) and not torch.equal(made, image)
    with refused(NODE, "contrast"):
        _made(image, mask, model=model, vae=vae, contrast=0.5, **conditioning)


def check_appearance_reaches_a_base_that_knows_it_and_others_refuse_it():
    image, mask = _photograph()
    room("modules.base_file").save_base(BASES / "drawn.safetensors", _drawn_base(), {})
    options = {"base_name": "drawn.safetensors", "other_type": "pit", "refine": False, "tries": 1}
    free = _made(image, mask, **options)[0]
    for name in ("contrast", "strength", "softness"):
        assert not torch.equal(free, _made(image, mask, **options, **{name: 0.8})[0])
    with refused(NODE, "contrast", "-1 to 1"):
        _made(image, mask, **options, contrast=2.0)
    with refused(NODE, "contrast, strength and softness", "--drawn"):
        _made(image, mask, contrast=0.5)


def _drawn_base():
    """A base as of `train-base --drawn`, small and untrained."""
    ldm = room("modules.compact_ldm")
    sizes = {"resolution": 64, "autoencoder_widths": (8, 16), "unet_widths": (32, 32), "token_channels": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = ldm.CompactLDM(ldm.CompactLDMConfig((("any", "good"), ("any", "pit")), appearance=True, **sizes))
        torch.nn.init.normal_(base.unet.outlet[-1].weight, std=0.1)  # it starts at zero: no condition has an effect
    return base.eval().requires_grad_(False)


def check_masks_of_every_kind():
    image, mask = _photograph()
    pixel, whole = torch.zeros_like(mask), torch.ones_like(mask)
    pixel[0, 17, 200] = 1
    for some in (pixel, whole, mask[:, None], mask[..., None]):
        made, label, *_ = _made(image, some)
        assert torch.equal(made[label == 0], image[label == 0]) and label.any()
    tiny, dot = torch.full((1, 1, 1, 3), 0.5), torch.ones(1, 1, 1)
    assert _made(tiny, dot)[0].shape == tiny.shape
    with refused(NODE, "MaskEditor"):
        _made(image, torch.zeros(1, 64, 64))
    with refused(NODE, "empty"):
        _made(image, torch.zeros_like(mask))
    with refused(NODE, "20 x 30", "300 x 260"):
        _made(image, torch.ones(1, 20, 30))


def check_what_does_not_go_together_is_refused():
    image, mask = _photograph()
    model, vae, _ = base()
    with refused(NODE, "does not know", "crack"):
        _made(image, mask, other_type="spaghetti")
    with refused(NODE, "vae"):
        _made(image, mask, model=model)
    with refused(NODE, "model"):
        _made(image, mask, vae=vae)


def check_a_run_can_be_interrupted():
    management = room("nodes.make_defects").comfy.model_management
    image, mask = _photograph()
    management.interrupt_current_processing(True)
    try:
        _made(image, mask, steps=20)
    except management.InterruptProcessingException:
        return
    finally:
        management.interrupt_current_processing(False)
    raise AssertionError("the run went on")


def check_draw_defects_needs_no_model_and_changes_the_mask_alone():
    image, mask = _photograph(batch=2)
    for kind in ("scratch", "stain"):
        drawn, changed, named = call("DrawDefects", image=image, mask=mask, type=kind, seed=5)
        assert named == kind and torch.equal(drawn[changed == 0], image[changed == 0]) and not torch.equal(drawn, image)
        assert ((changed > 0) <= (mask > 0)).all() and changed.flatten(1).any(1).all()
        alone = call("DrawDefects", image=image[1:], mask=mask, type=kind, seed=6)
        assert torch.equal(alone[0][0], drawn[1]) and torch.equal(alone[1][0], changed[1])
    with refused("Draw Defects", "empty"):
        call("DrawDefects", image=image, mask=torch.zeros_like(mask), type="stain", seed=0)
