"""What the checks of STAGE's sampling share: adapters with heads of random weights, and both forms of the sampler."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from comfy_extras.nodes_custom_sampler import CFGGuider, SamplerCustomAdvanced
from torch import Tensor

from .scenes import CFG, SEED, Conditioning, base
from .start import call, room

WINDOWS = "1000-800, 400-300"  # the paper's
STEPS = 6


def stage_adapter(spread: float = 0.05, fit: tuple = (), seed: int = 0):
    """An adapter of STAGE with narrow heads; `spread`: standard deviation of their last layers' weights, 0 as before
    training; `fit`: fields of another base than the bundled one."""
    stage, file, model = room("modules.stage"), room("modules.base_file"), base()[0]
    digest = file.file_digest(room("nodes.compact_base").base_path("surfaces (bundled)"))
    fit = room("modules.adapter_file").Fit(*(fit or ("CompactLDM", digest, 4, 128, "v")))
    torch.manual_seed(seed)
    types = [label for label in model.model.anomaly_labels if label[1] != "good"]
    modules = stage.StageModules(types, 4, fit.token_channels, count=3, widths=(16, 32, 16))
    for head in modules.branches:
        torch.nn.init.normal_(head.conv[-1].weight, std=spread)
    return room("nodes.adapters").loaded("random", stage.to_adapter(modules, fit, "split", {}))


@cache
def random_stage():
    return stage_adapter()


def with_mga(model=None, adapter=None):
    return call("ApplyMGA", model=model or base()[0], adapter=adapter or random_stage())[0]


class Schedule(NamedTuple):
    """The widgets of EMA Mask Schedule."""

    t_s: float = 200.0
    shape: str = "linear"

    def made(self):
        return call("EMAMaskSchedule", **self._asdict(), levels="1000, 0", mask=None)[0]


def graded(
    model,
    conditioning: Conditioning,
    latent: dict,
    *,
    seed=SEED,
    steps=STEPS,
    cfg=CFG,
    preset="recommended",
    denoise=1.0,
    stage="stage",
    schedule: Schedule | None = None,
    windows=WINDOWS,
) -> Tensor:
    """Latents of KSampler (Graded Diffusion)."""
    (made,) = call(
        "KSamplerGraded",
        model=model,
        seed=seed,
        steps=steps,
        cfg=cfg,
        preset=preset,
        positive=conditioning.positive,
        negative=conditioning.negative,
        latent_image=latent,
        denoise=denoise,
        stage=stage,
        mask_schedule=schedule and schedule.made(),
        windows=windows,
    )
    return made["samples"]


def graded_advanced(
    model,
    conditioning: Conditioning,
    latent: dict,
    *,
    seed=SEED,
    steps=STEPS,
    cfg=CFG,
    preset="recommended",
    denoise=1.0,
    stage="stage",
    schedule: Schedule | None = None,
    windows=WINDOWS,
) -> Tensor:
    """Latents of SamplerCustomAdvanced with the same values on Graded Diffusion Sampler and AIAS Sigmas; the heads work
    where the model has them, whatever the stage."""
    grid, options = room("samplers.presets").preset(preset, steps)
    stages = room("samplers.stage_presets")
    options = stages.with_stage(options, stages.stage_preset(stage)[1])
    windows = windows if options["windows"] else ""
    widgets = {
        "order": 1,
        "eta": 1.0,
        "variance": 0.0,
        "pure_start": False,
        "correct": False,
        "aif": True,
        "blend": "x0",
        "foreground_mode": "x0_blend",
    }
    (sampler,) = call(
        "GradedSampler",
        **{name: options.get(name, value) for name, value in widgets.items()},
        windows=windows,
        mask_schedule=(schedule or Schedule()).made() if options["mask_schedule"] else None,
    )
    (sigmas,) = call("AIASSigmas", model=model, denoise=denoise, **grid, windows=windows)
    (noise,) = call("PerItemNoise", seed=seed)
    (guider,) = call(CFGGuider, model=model, positive=conditioning.positive, negative=conditioning.negative, cfg=cfg)
    made, _ = call(
        SamplerCustomAdvanced, noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent
    )
    return made["samples"]


GRADED_FORMS = (graded, graded_advanced)
