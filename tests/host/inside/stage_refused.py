"""Inputs that STAGE's sampling nodes refuse, and the messages."""

from __future__ import annotations

import torch
from comfy_extras.nodes_custom_sampler import CFGGuider, SamplerCustomAdvanced

import nodes

from .fast_scenes import random_adapter, sd15, with_tokens
from .other_models import flow
from .scenes import Conditioning, base, condition, plain_latent, refused
from .stage_scenes import GRADED_FORMS, graded, graded_advanced, random_stage, with_mga
from .start import call, own, room

KSAMPLER, SAMPLER, SCHEDULE = "KSampler (Graded Diffusion): ", "Graded Diffusion Sampler: ", "EMA Mask Schedule: "
FORM = "1000-800, 400-300"
BAD_WINDOWS = {
    "800-1000": ("windows: (800, 1000) is reversed", "the noisier end first"),
    "900-700, 800-600": ("windows: (900, 700) and (800, 600) overlap", "make them one"),
    "1200-800": ("windows: (1200, 800) is out of range", "t of 0 .. 1000"),
    "high-low": ("windows: 'high-low'", FORM),
    "1000": ("windows: '1000'", FORM),
    "1000-800,": ("windows: '1000-800,'", FORM),
    "1000-800; 400-300": ("windows:", FORM),
    "-5-10": ("windows:", FORM),
}


def _widgets(windows: str) -> dict:
    return {
        "order": 1,
        "eta": 1.0,
        "variance": 0.0,
        "pure_start": False,
        "correct": False,
        "windows": windows,
        "aif": True,
        "blend": "x0",
    }


def check_bad_windows_are_refused_by_every_node_before_and_while_it_runs():
    latent, _ = plain_latent()
    uses = {
        ("KSamplerGraded", KSAMPLER): lambda text: graded(with_mga(), condition(), latent, windows=text),
        ("GradedSampler", SAMPLER): lambda text: call("GradedSampler", **_widgets(text)),
        ("AIASSigmas", "AIAS Sigmas: "): lambda text: call(
            "AIASSigmas", model=base()[0], steps=9, kind="half", refine=0, denoise=1.0, windows=text
        ),
    }
    for (name, start), use in uses.items():
        validated = own(name).validate_inputs
        assert validated() is True and validated(windows="") is True and validated(windows=f" {FORM} ") is True
        for text, words in BAD_WINDOWS.items():
            with refused(start, *words):
                use(text)
            refusal = validated(windows=text)
            assert refusal.startswith(start) and all(word in refusal for word in words), refusal


def check_a_grid_too_short_for_the_windows_says_how_many_steps_it_needs():
    latent, _ = plain_latent()
    with refused(KSAMPLER, "steps: 1 cannot reach all of the windows", "2 or more"):
        graded(with_mga(), condition(), latent, steps=1)
    with refused(KSAMPLER, "steps: 3 cannot reach all of the windows", "4 or more"):
        graded(with_mga(), condition(), latent, steps=3, preset="paper")
    with refused("AIAS Sigmas: ", "steps: 3 cannot", "4 or more", "(2 steps at denoise 0.6 are the end of a run of 3)"):
        call(
            "AIASSigmas",
            model=base()[0],
            steps=2,
            kind="half",
            refine=0,
            denoise=0.6,
            windows="400-390, 200-190, 100-90",
        )
    assert graded(with_mga(), condition(), latent, steps=2).isfinite().all()


def check_levels_that_miss_a_window_are_refused_with_where_to_get_others():
    latent, _ = plain_latent()
    (sigmas,) = call("AIASSigmas", model=base()[0], steps=3, kind="half", refine=0, denoise=1.0)
    (sampler,) = call("GradedSampler", **_widgets("1000-990, 5-4"))
    (guider,) = call(CFGGuider, model=base()[0], positive=condition().positive, negative=condition().negative, cfg=1.0)
    (noise,) = call("PerItemNoise", seed=0)
    with refused(SAMPLER, "sigmas: none of the 3 levels falls into the window (5, 4)", "AIAS Sigmas, with its windows"):
        call(SamplerCustomAdvanced, noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent)


def check_a_model_without_heads_is_refused_where_the_stage_has_them():
    latent, _ = plain_latent()
    for stage in room("choices").STAGES[1:]:
        with refused(KSAMPLER, f"stage: '{stage}' uses MGA heads", "connect Apply MGA", "choose 'baseline'"):
            graded(base()[0], condition(), latent, stage=stage)


def check_adapters_that_do_not_fit_are_refused():
    with refused("Apply MGA: ", "adapter: one of FAST", "Load STAGE Adapter"):
        with_mga(adapter=random_adapter())
    with refused("Apply MGA: ", "another model", "kind CompactLDM", "SD15"):
        with_mga(sd15())
    with refused("Apply MGA: ", "prediction v", "flow"):
        with_mga(flow())
    with refused("Apply FARM: ", "adapter: one of STAGE", "Load FAST Adapter"):
        call("ApplyFARM", model=base()[0], adapter=random_stage(), object="a", type="b", strength=1.0, until=40.0)
    with refused("Anomaly Tokens: brushed_metal/rust: ", "not in the adapter"):
        with_tokens(condition(), random_stage(), "brushed_metal", "rust")


def check_latents_without_mask_are_refused():
    latent, _ = plain_latent()
    for start, form in zip((KSAMPLER, SAMPLER), GRADED_FORMS, strict=True):
        with refused(start, "latent: no mask", "Defect Latent"):
            form(with_mga(), condition(), {"samples": torch.zeros(1, 4, 16, 16)})
    with refused(KSAMPLER, "without noise_mask", "Defect Latent"):
        graded(with_mga(), condition(), {"samples": latent["samples"]})
    with refused(SAMPLER, "latent: no mask", "Defect Latent"):
        graded_advanced(with_mga(), condition(), {"samples": latent["samples"]})


def check_a_conditioning_for_an_area_is_refused_beside_heads():
    latent, _ = plain_latent()
    positive = condition().positive
    (half,) = call(nodes.ConditioningSetArea, conditioning=positive, width=64, height=64, x=0, y=0, strength=1.0)
    with refused(KSAMPLER, "an area of 8 x 8 cells", "latent of 16 x 16", "remove Conditioning (Set Area)"):
        graded(with_mga(), Conditioning(half, condition().negative), latent)


def check_bad_schedules_are_refused():
    for t_s in (-1.0, 1000.0, float("nan")):
        with refused(SCHEDULE, f"t_s: {t_s}", "0 to 999"):
            call("EMAMaskSchedule", t_s=t_s, shape="linear", levels="1000")
    for levels in ("", "noisy", "1000, 1001", "800,,600", "-5", ", ".join(["1"] * 21)):
        words = f"levels: {levels!r}; accepted is t of 0 to", "'1000, 800, 600'"
        with refused(SCHEDULE, *words):
            call("EMAMaskSchedule", t_s=200.0, shape="linear", levels=levels)
        refusal = own("EMAMaskSchedule").validate_inputs(levels=levels)
        assert refusal.startswith(SCHEDULE) and all(word in refusal for word in words)
    with refused(SCHEDULE, "mask: [4]; accepted is a MASK"):
        call("EMAMaskSchedule", t_s=200.0, shape="linear", levels="1000", mask=torch.zeros(4))
    with refused(SCHEDULE, "NaN"):
        call("EMAMaskSchedule", t_s=200.0, shape="linear", levels="1000", mask=torch.full((1, 8, 8), float("nan")))


@refused(KSAMPLER, "mask_schedule: it is for 500 levels", "runs over 1000")
def check_a_schedule_for_another_number_of_levels_is_refused():
    schedule = room("samplers.mask_schedule").MaskSchedule(100, 500)
    call(
        "KSamplerGraded",
        model=with_mga(),
        seed=0,
        steps=4,
        cfg=1.0,
        preset="recommended",
        positive=condition().positive,
        negative=condition().negative,
        latent_image=plain_latent()[0],
        denoise=1.0,
        stage="stage",
        mask_schedule=schedule,
    )


@refused(SAMPLER, "needs eta 1")
def check_variance_needs_eta_1():
    call("GradedSampler", **_widgets("") | {"eta": 0.5, "variance": 0.5})
