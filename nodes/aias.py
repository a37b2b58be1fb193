"""KSampler (AIAS), AIAS Sampler, AIAS Sigmas: FAST's sampler, and the noise levels that it visits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from comfy_api.latest import io
from torch import Tensor

from ..choices import FOREGROUND_MODES, KINDS
from ..errors import Refused
from ..samplers.aias import sample_aias
from ..samplers.graded_windows import Window, graded_grid
from ..samplers.grid import aias_grid, grid_sigmas
from ..samplers.schedule import TIMESTEPS
from ..synthesis.settings import Settings
from ..synthesis.start import sampling
from .errors import answer
from .masked_sampler import MaskedSampler, Model, sample_latent
from .noise_levels import flow_alpha, level_table, typed_windows
from .provenance import graph_seed
from .sockets import CATEGORY, MAX_SEED, SEED, widget
from .stage import heads_of

_log = logging.getLogger(__name__)


class KSamplerAIAS(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_KSamplerAIAS",
            display_name="KSampler (AIAS)",
            category=f"{CATEGORY}/sampling",
            description=(
                "Makes the anomaly inside the latent's mask, in 10 to 20 steps, with FAST's sampler. The background "
                "stays the normal image's at every step. Takes the place of KSampler, with any model."
            ),
            inputs=[
                *ksampler_inputs(
                    model="Any model: eps, v or flow.",
                    steps="10 is quick, the paper uses 50.",
                    preset="recommended works from 6 steps on and adds a little fresh noise from 10 on; fast is the "
                    "same without noise.",
                    positive="The anomaly, from Anomaly Conditioning.",
                    latent="From Defect Latent: the normal image with its mask. An empty latent is sampled as a whole.",
                    lower="keeps some of what the image shows in the mask (0.7: a defect that follows the structure "
                    "below it)",
                )
            ],
            outputs=[io.Latent.Output("latent", display_name="latent", tooltip="The same latents with anomalies.")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model, seed: int, steps: int, cfg: float, preset: str, positive, negative, latent_image, denoise: float
    ) -> io.NodeOutput:
        seed = graph_seed(seed, cls.hidden)
        return io.NodeOutput(
            sample_aias_latent(model, seed, steps, cfg, preset, positive, negative, latent_image, denoise)
        )


class AIASSamplerNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_AIASSampler",
            display_name="AIAS Sampler",
            category=f"{CATEGORY}/sampling",
            description=(
                "FAST's sampler as a SAMPLER, for SamplerCustomAdvanced with any guider. Inside the latent's mask the "
                "anomaly is made, outside it the background is replaced at every step; without a mask it samples the "
                "whole image. Use it with AIAS Sigmas and Per-Item Noise. The defaults are the preset 'recommended'."
            ),
            inputs=[
                *solver_inputs(
                    0.5,
                    "Fresh noise per step: 1 ancestral, 0 none. Some of it (default 0.5) forgives an imperfect model; "
                    "below 10 steps 0 is better.",
                ),
                foreground_mode_input(),
            ],
            outputs=[io.Sampler.Output("sampler", display_name="sampler", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(
        cls, order: int, eta: float, variance: float, pure_start: bool, correct: bool, foreground_mode: str = "x0_blend"
    ) -> io.NodeOutput:
        check_variance(variance, eta)
        options = {
            "order": order,
            "eta": eta,
            "variance": variance,
            "pure_start": pure_start,
            "correct": correct,
            "foreground_mode": foreground_mode,
        }
        return io.NodeOutput(AIASSampler(options))


class AIASSigmas(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_AIASSigmas",
            display_name="AIAS Sigmas",
            category=f"{CATEGORY}/sampling",
            description="The noise levels that an AIAS run visits: coarse where the shape is decided, fine at the end.",
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample; its table of noise levels is used."),
                widget(Settings, "steps"),
                io.Combo.Input(
                    "kind",
                    options=list(KINDS),
                    default="half",
                    tooltip="half (default): about the data's own scale, for order 2 with pure_start and correct. "
                    "quadratic: uniform in the root of t. uniform: FAST as published. lambda: uniform in log sigma, "
                    "for eps and v models.",
                ),
                io.Int.Input(
                    "refine",
                    default=0,
                    min=0,
                    max=50,
                    tooltip="How many of the steps are single steps at the very end, for fine texture: 0 (default) "
                    "with 'half', 2 in the paper. Must be less than steps.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 (default) starts at pure noise; lower starts in the middle and keeps some of the image; "
                    "0 gives no levels.",
                ),
                io.String.Input(
                    "windows",
                    default="",
                    optional=True,
                    tooltip="For Graded Diffusion Sampler: its windows of t, such as '1000-800, 400-300'; every one "
                    "gets a level. Empty (default): none.",
                ),
            ],
            outputs=[io.Sigmas.Output("sigmas", display_name="sigmas", tooltip="steps + 1 levels, the last is 0.")],
        )

    @classmethod
    def validate_inputs(cls, windows=None):
        return answer(cls, typed_windows, windows)

    @classmethod
    def execute(cls, model, steps: int, kind: str, refine: int, denoise: float, windows: str = "") -> io.NodeOutput:
        return io.NodeOutput(aias_sigmas(model, steps, kind, refine, denoise, typed_windows(windows)))


def ksampler_inputs(*, model: str, steps: str, preset: str, positive: str, latent: str, lower: str) -> list[io.Input]:
    """What every KSampler of this pack is asked, in this order. The texts say what differs between them: of the inputs
    of these names, and what a denoise that is lower than 1 does."""
    return [
        io.Model.Input("model", tooltip=model),
        io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip=SEED),
        widget(Settings, "steps", more=steps),
        widget(Settings, "guidance", "cfg", more="2 suits compact bases, 5 to 8 text models.", max=100.0, step=0.1),
        widget(Settings, "preset", more=preset),
        io.Conditioning.Input("positive", tooltip=positive),
        io.Conditioning.Input("negative", tooltip="From Anomaly Conditioning, or any text to avoid."),
        io.Latent.Input("latent_image", tooltip=latent),
        io.Float.Input(
            "denoise",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip=f"1 (default) makes the defect from pure noise; lower {lower}; 0 changes nothing.",
        ),
    ]


def solver_inputs(eta: float, eta_tooltip: str) -> list[io.Input]:
    """What every SAMPLER of this pack is asked; eta: its default."""
    return [
        io.Int.Input(
            "order",
            default=2,
            min=1,
            max=2,
            tooltip="1: each step uses the model's last answer. 2 (default): extrapolates from the last two, "
            "which is more exact.",
        ),
        io.Float.Input("eta", default=eta, min=0.0, max=1.0, step=0.01, tooltip=eta_tooltip),
        io.Float.Input(
            "variance",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Size of that noise between the posterior's variance (0, default) and its upper bound (1). "
            "Needs eta 1.",
        ),
        io.Boolean.Input(
            "pure_start",
            default=True,
            tooltip="Take the first state as pure noise, as the levels 'half' want it. On by default; has no "
            "effect on flow models, and on runs that start in the middle.",
        ),
        io.Boolean.Input(
            "correct",
            default=True,
            tooltip="Correct every state by the estimate made at it, at no cost. On by default; meant for order 2 "
            "and the levels 'half'.",
        ),
    ]


def foreground_mode_input() -> io.Input:
    return io.Combo.Input(
        "foreground_mode",
        options=list(FOREGROUND_MODES),
        default=FOREGROUND_MODES[0],
        optional=True,
        tooltip="How FARM's estimate enters, for a model from Apply FARM. x0_blend (default): mixed into the model's. "
        "renoise: noised and put into the state (preset paper), with pure_start and correct off.",
    )


def check_variance(variance: float, eta: float) -> None:
    """Raise Refused for a variance that eta does not allow."""
    if variance and eta != 1:
        raise Refused("variance", f"{variance:g} needs eta 1, and eta is {eta:g}")


class AIASSampler(MaskedSampler):
    """SAMPLER with the keywords of `sample_aias`."""

    engine = staticmethod(sample_aias)

    def __init__(self, options: dict, node: str = "AIAS Sampler"):
        super().__init__(options, node)

    def added(self, model_wrap, masked: Callable[[Model], Model]) -> dict:
        if heads_of(model_wrap.inner_model.current_patcher):
            _log.warning(
                "%s: the model has MGA heads, which AIAS leaves out; sample with KSampler (Graded Diffusion).",
                self.node,
            )
        return {}


def sample_aias_latent(model, seed, steps, cfg, preset_name, positive, negative, latent, denoise) -> dict:
    """The LATENT that KSampler (AIAS) gives; see that node."""
    node = "KSampler (AIAS)"
    chosen = sampling(preset_name, steps)
    return sample_latent(
        AIASSampler(chosen.options, node),
        model,
        seed,
        cfg,
        positive,
        negative,
        latent,
        lambda: aias_sigmas(model, **chosen.grid, denoise=denoise),
    )


def aias_sigmas(
    model, steps: int, kind: str, refine: int, denoise: float = 1.0, windows: Sequence[Window] = ()
) -> Tensor:
    """The model's noise levels that a run visits, descending, the last 0; none where `denoise` is 0.

    `denoise` below 1 keeps the last `steps` levels of a run of steps / denoise, as ComfyUI's KSampler does. At least
    one level is in every one of `windows`, (hi, lo) in t, but for those that the run begins below.

    Raises:
        Refused: see `graded_grid`; a kind that the model's schedule does not allow; a model without a sigma table.
    """
    if denoise <= 0:
        return torch.FloatTensor([])
    sampling = model.get_model_object("model_sampling")
    table = level_table(model)
    if flow_alpha(sampling) and kind == "lambda":
        got = "'lambda', made for eps and v models, and this is a flow model"
        raise Refused("kind", got, remedy="choose half, quadratic or uniform")
    total = int(steps / denoise)
    tail = f" ({steps} steps at denoise {denoise:g} are the end of a run of {total})" if total > steps else ""
    if total > len(table):
        most = int(len(table) * denoise)
        got = f"{steps}, and the model has {len(table)} levels{tail}"
        raise Refused("steps", got, remedy=f"use at most {most} steps")
    try:
        return grid_sigmas(_last_levels(steps, total, windows, kind=kind, refine=refine, sigmas=table), table)
    except Refused as error:
        raise Refused(error.subject, error.got + tail, error.accepted, error.remedy) from error


def _last_levels(steps: int, total: int, windows: Sequence[Window], *, sigmas: Tensor, **options) -> list[int]:
    """The last `steps` levels of a run of `total`, at least one in every window that they do not begin below."""
    options |= {"sigmas": sigmas, "timesteps": len(sigmas)}
    begin = aias_grid(total, **options)[-steps] * (TIMESTEPS - 1) / (len(sigmas) - 1)
    return graded_grid(total, [window for window in windows if window[1] <= begin], **options)[-steps:]


NODES = [KSamplerAIAS, AIASSamplerNode, AIASSigmas]
