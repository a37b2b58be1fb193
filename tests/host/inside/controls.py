"""Compose Pair's controls: visibility relative to the same mask filled with normal surface."""

from __future__ import annotations

import torch

import nodes

from .scenes import SEED, base, condition, ksampler, one, refused
from .start import call, room


def composed(controls: str | None = None, above: float = 1.0):
    """The score of a pair of 4 steps; controls: "resampled" ones, the pair itself twice ("made"), or None."""
    (model, vae, resolution), (image, mask) = base(), one()
    windows, window_masks, crop = call("CropToMask", image=image, mask=mask, resolution=resolution, context=1.0)
    (latent,) = call("DefectLatent", image=windows, mask=window_masks, vae=vae, crop=crop)
    made, roundtrip = vae.decode(ksampler(model, condition(model, crop=crop), latent)), vae.decode(latent["samples"])
    choices = {
        None: lambda: None,
        "made": lambda: torch.cat([made, made]),
        "resampled": lambda: resampled(model, vae, latent),
    }
    _, scores = call(
        "ComposePair",
        normal=image,
        mask=mask,
        made=made,
        roundtrip=roundtrip,
        mode="difference",
        feather=0,
        visible_above=above,
        crop=crop,
        controls=choices[controls](),
    )
    return scores[0]


def resampled(model, vae, latent: dict):
    """As the help page says: the latent repeated, and sampled as normal surface."""
    of = room("synthesis.controls")
    (repeated,) = nodes.RepeatLatentBatch().repeat(latent, of.COUNT)
    good, seed = condition(model, type="good"), room("seeds").CONTROL_SEED
    return vae.decode(ksampler(model, good, repeated, seed=seed, steps=of.STEPS, cfg=1.0))


def check_without_controls_visibility_decides_and_excess_is_not_known():
    free = composed()
    assert free.excess is None and free.refined_mask is None
    for above in (0.99 * free.visibility, 1.01 * free.visibility):
        assert composed(above=above).visible == (free.visibility > above)


def check_with_controls_excess_decides():
    itself, shown = composed("made"), composed("resampled")
    assert itself.excess == 0 and not itself.visible and shown.excess > 1
    mask = one()[1][0].numpy() > 0.5
    assert not itself.refined_mask.any() and shown.refined_mask.any() and (shown.refined_mask <= mask).all()
    assert "refined_mask" not in repr(shown), "nodes that show any value, and batch, read it as JSON"
    for above in (0.99 * shown.excess, 1.01 * shown.excess):
        assert composed("resampled", above).visible == (shown.excess > above)


def check_a_graphs_controls_equal_the_command_lines():
    score = composed("resampled")
    pair, pictures, (image, mask) = room("synthesis.pair"), room("nodes.images"), one()
    job = pair.Job(pictures.to_picture(image[0]), mask[0] > 0.5, "brushed_metal", "scratch", SEED)
    loaded, _ = room("modules.base_file").load_base(room("nodes.compact_base").base_path("surfaces (bundled)"))
    (made,) = pair.make_pairs(loaded, [job], pair.Settings(steps=4), controlled=True)
    assert abs(score.excess - made.excess) < 2e-3 * made.excess, (score.excess, made.excess)
    assert (score.refined_mask ^ made.refined_mask).sum() < 0.02 * made.refined_mask.sum()


def check_controls_of_other_windows_or_a_single_control_are_refused():
    (_, vae, _), (image, mask) = base(), one()
    whole = vae.decode(call("DefectLatent", image=image, mask=mask, vae=vae, crop=None)[0]["samples"])
    for controls in (whole, torch.cat([whole, whole])[:, :64, :64]):
        with refused("Compose Pair: controls: ", "Repeat Latent Batch"):
            call(
                "ComposePair",
                normal=image,
                mask=mask,
                made=whole,
                roundtrip=whole,
                mode="difference",
                feather=0,
                visible_above=1.0,
                controls=controls,
            )
