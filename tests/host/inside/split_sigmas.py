"""Split Sigmas before this pack's samplers: two halves in a row, noise off for the second, as with core's samplers."""

from __future__ import annotations

from comfy_extras import nodes_custom_sampler as core
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion

from .scenes import CFG, SEED, apart, base, condition, plain_latent, refused
from .start import call

EXACT = {"order": 1, "eta": 0.0, "variance": 0.0, "pure_start": False, "correct": False}


def _part(sampler, sigmas, latent: dict, on: bool, model=None) -> dict:
    model = model or base()[0]
    positive, negative = condition()
    (guider,) = call(core.CFGGuider, model=model, positive=positive, negative=negative, cfg=CFG)
    (noise,) = call("PerItemNoise", seed=SEED) if on else call(core.DisableNoise)
    return call(
        core.SamplerCustomAdvanced, noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent
    )[0]


def _halves(sampler, latent: dict, step: int, steps: int = 6, windows: str = "") -> tuple[dict, dict, dict]:
    """(result of the first half, of both halves, of one whole run)."""
    (sigmas,) = call("AIASSigmas", model=base()[0], steps=steps, kind="uniform", refine=0, denoise=1.0, windows=windows)
    upper, lower = call(core.SplitSigmas, sigmas=sigmas, step=step)
    left = _part(sampler, upper, latent, True)
    return left, _part(sampler, lower, left, False), _part(sampler, sigmas, latent, True)


def _aias(**changed):
    return call("AIASSampler", **EXACT | changed)[0]


def _graded():
    return call("GradedSampler", **EXACT, windows="1000-800, 400-300", aif=True, blend="x0")[0]


def check_without_a_mask_two_halves_are_one_run_and_the_cut_is_cores():
    latent, _ = plain_latent()
    latent = {"samples": latent["samples"] * 0}
    (euler,) = call(core.KSamplerSelect, sampler_name="euler")
    for step in (1, 3):
        left, done, whole = _halves(_aias(), latent, step, steps=4)
        assert apart(done["samples"], whole["samples"]) < 1e-4
        cores, _, _ = _halves(euler, latent, step, steps=4)
        assert apart(left["samples"], cores["samples"]) < 1e-3  # eta 0 and order 1 is Euler


def check_with_a_mask_the_background_is_exact_and_the_second_half_knows_it():
    latent, inside = plain_latent()
    figures = {}
    for name, sampler, windows in (
        ("AIAS", _aias(), ""),
        ("Graded", _graded(), "1000-800, 400-300"),
        ("AIAS, all options", _aias(eta=1.0, order=2, pure_start=True, correct=True), ""),
    ):
        left, done, whole = _halves(sampler, latent, 3, windows=windows)
        clean = latent["samples"]
        for one in (left, done, whole):
            assert apart(one["samples"][~inside], clean[~inside]) < 1e-5, name
        assert left["samples"][inside].std() > 1.2 * whole["samples"][inside].std(), name  # the noise of the cut
        near = (done["samples"] - whole["samples"])[inside].abs().mean()
        change = (whole["samples"] - clean)[inside].abs().mean()
        figures[name] = (float(near), float(change))
        assert near < change and done["samples"].isfinite().all(), figures
    return figures


def check_splits_at_the_ends_leave_one_level_and_no_step():
    latent, inside = plain_latent()
    for step in (0, 6):
        left, done, whole = _halves(_aias(), latent, step)
        if step == 6:
            assert apart(left["samples"], whole["samples"]) == 0 and apart(done["samples"], whole["samples"]) < 1e-5
        assert apart(done["samples"][~inside], latent["samples"][~inside]) < 1e-5
    (sigmas,) = call("AIASSigmas", model=base()[0], steps=6, kind="uniform", refine=0, denoise=1.0, windows="")
    upper, lower = call(core.SplitSigmasDenoise, sigmas=sigmas, denoise=0.5)
    done = _part(_aias(), lower, _part(_aias(), upper, latent, True), False)
    assert apart(done["samples"][~inside], latent["samples"][~inside]) < 1e-5


def check_a_mask_that_changes_by_level_needs_one_run():
    latent, _ = plain_latent()
    (model, *_) = call(DifferentialDiffusion, model=base()[0])
    (sigmas,) = call("AIASSigmas", model=model, steps=4, kind="uniform", refine=0, denoise=1.0, windows="")
    upper, lower = call(core.SplitSigmas, sigmas=sigmas, step=2)
    left = _part(_aias(), upper, latent, True, model)
    with refused("AIAS Sampler: ", "changes the mask from level to level", "in one run"):
        _part(_aias(), lower, left, False, model)
