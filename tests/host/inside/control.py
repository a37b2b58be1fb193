"""Compose Pair's control: what is visible, measured against the same mask made again as normal surface."""

from __future__ import annotations

from .scenes import SEED, base, ksampler, one, refused, told
from .start import call, room


def composed(control=None, above: float = 1.0, seed: int = SEED):
    """(score, control's windows): one pair of 4 steps, its control given as "resampled", "roundtrip", "made" or not."""
    (model, vae, resolution), (image, mask) = base(), one()
    windows, window_masks, crop = call("CropToMask", image=image, mask=mask, resolution=resolution, context=1.0)
    (latent,) = call("DefectLatent", image=windows, mask=window_masks, vae=vae, crop=crop)
    of = room("synthesis.control")
    normal = told(model, type="good", crop=crop)
    choices = {
        "made": lambda: vae.decode(ksampler(model, told(model, crop=crop), latent, seed=seed)),
        "roundtrip": lambda: vae.decode(latent["samples"]),
        "resampled": lambda: vae.decode(ksampler(model, normal, latent, seed=of.SEED, steps=of.STEPS, cfg=1.0)),
    }
    against = choices[control]() if control else None
    _, scores = call(
        "ComposePair", normal=image, mask=mask, made=choices["made"](), roundtrip=choices["roundtrip"](),
        mode="difference", feather=0, visible_above=above, crop=crop, control=against,
    )  # fmt: skip
    return scores[0], against


def check_without_a_control_visibility_decides_and_excess_is_not_known():
    free, _ = composed()
    assert free.excess is None
    for above in (0.99 * free.visibility, 1.01 * free.visibility):
        assert composed(above=above)[0].visible == (free.visibility > above)


def check_with_a_control_excess_decides():
    itself, nothing = composed("made")[0], composed("roundtrip")[0]
    assert 0.5 < itself.excess < 1 and not itself.visible and nothing.excess > itself.excess
    for above in (0.99 * nothing.excess, 1.01 * nothing.excess):
        assert composed("roundtrip", above)[0].visible == (nothing.excess > above)


def check_a_graph_s_control_is_the_command_line_s():
    score, _ = composed("resampled")
    pair, pictures, (image, mask) = room("synthesis.pair"), room("nodes.images"), one()
    job = pair.Job(pictures.to_picture(image[0]), mask[0] > 0.5, "brushed_metal", "scratch", SEED)
    loaded, _ = room("modules.base_file").load_base(room("nodes.loaders").base_path("surfaces (bundled)"))
    (made,) = pair.make_pairs(loaded, [job], pair.Settings(steps=4), control=True)
    assert abs(score.excess - made.excess) < 2e-3 * made.excess, (score.excess, made.excess)
    assert abs(score.strength - made.strength) < 2e-3 * made.strength


def check_a_control_of_other_windows_is_refused():
    (_, vae, _), (image, mask) = base(), one()
    whole = vae.decode(call("DefectLatent", image=image, mask=mask, vae=vae, crop=None)[0]["samples"])
    with refused("Compose Pair:", "control", "one size and batch"):
        call("ComposePair", normal=image, mask=mask, made=whole, roundtrip=whole, mode="difference", feather=0,
             visible_above=1.0, control=whole[:, :64, :64])  # fmt: skip
