"""KSampler (Graded Diffusion) and Graded Diffusion Sampler: STAGE's sampler."""

from __future__ import annotations

from collections.abc import Callable

from comfy_api.latest import io

from ..choices import BLENDS, STAGES
from ..errors import Refused
from ..samplers.graded import sample_graded
from ..samplers.mask_schedule import MaskSchedule
from ..synthesis.start import sampling
from . import sockets
from .aias import aias_sigmas, check_variance, foreground_mode_input, ksampler_inputs, solver_inputs
from .errors import answer
from .masked_sampler import MaskedSampler, Model, sample_latent
from .noise_levels import level_table, timestep_of, typed_windows
from .provenance import graph_seed
from .sockets import CATEGORY
from .stage import headed, heads_of

WINDOWS = "1000-800, 400-300"


class KSamplerGraded(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_KSamplerGraded",
            display_name="KSampler (Graded Diffusion)",
            category=f"{CATEGORY}/sampling",
            description=(
                "Makes the anomaly inside the latent's mask with STAGE: anomaly inference, graded diffusion, explicit "
                "mask alignment and the trained MGA heads, in 10 to 20 steps. Takes the place of KSampler, with any "
                "model; FARM of Apply FARM works, too."
            ),
            inputs=[
                *ksampler_inputs(
                    model="Any model, eps, v or flow, through Apply MGA; the stage 'baseline' needs no MGA.",
                    steps="At least one falls into each window; the paper uses 1000.",
                    preset="recommended works from 6 steps on and adds fresh noise from 10 on, all of it where EMA or "
                    "windows work; fast is the same without noise.",
                    positive="The anomaly, from Anomaly Tokens with the same adapter.",
                    latent="From Defect Latent: the normal image with its mask.",
                    lower="keeps some of what the image shows in the mask, and passes by the windows above its start",
                ),
                io.Combo.Input(
                    "stage",
                    options=list(STAGES),
                    default="stage",
                    tooltip="Which parts of STAGE work, as in the paper's ablation: baseline none; then MGA heads, "
                    "anomaly inference (aif), windows (gd), mask alignment (ema). stage (default): all. stage-paper: "
                    "all, with the paper's average of noisy states.",
                ),
                sockets.MaskSchedule.Input(
                    "mask_schedule",
                    optional=True,
                    tooltip="From EMA Mask Schedule, where the stage has ema. Open: t_s 200, linear (paper).",
                ),
                io.String.Input(
                    "windows",
                    default=WINDOWS,
                    optional=True,
                    tooltip="Where the stage has gd: hi-lo in t of 0 to 1000, in which the anomaly alone is seen, with "
                    "commas between. Default '1000-800, 400-300' (paper); empty: none.",
                ),
            ],
            outputs=[io.Latent.Output("latent", display_name="latent", tooltip="The same latents with anomalies.")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, windows=None):
        return answer(cls, typed_windows, windows)

    @classmethod
    def execute(
        cls,
        model,
        seed: int,
        steps: int,
        cfg: float,
        preset: str,
        positive,
        negative,
        latent_image,
        denoise: float,
        stage: str,
        mask_schedule=None,
        windows: str = WINDOWS,
    ) -> io.NodeOutput:
        seed = graph_seed(seed, cls.hidden)
        return io.NodeOutput(
            sample_graded_latent(
                model,
                seed,
                steps,
                cfg,
                preset,
                positive,
                negative,
                latent_image,
                denoise,
                stage,
                mask_schedule,
                windows,
            )
        )


class GradedSamplerNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_GradedSampler",
            display_name="Graded Diffusion Sampler",
            category=f"{CATEGORY}/sampling",
            description=(
                "STAGE's sampler as a SAMPLER, for SamplerCustomAdvanced with any guider and a latent from Defect "
                "Latent. Use it with AIAS Sigmas, given the same windows, and Per-Item Noise. MGA works where the "
                "model comes from Apply MGA. The defaults are the preset 'recommended'."
            ),
            inputs=[
                *solver_inputs(
                    1.0,
                    "Fresh noise per step: 1 (default) ancestral, 0 none. EMA and windows change what the estimate "
                    "aims at, and noise forgets the former aim; without both 0.5 is better.",
                ),
                io.String.Input(
                    "windows",
                    default=WINDOWS,
                    tooltip="hi-lo in t of 0 to 1000, in which the anomaly alone is seen, with commas between. Default "
                    "'1000-800, 400-300' (paper); empty: none.",
                ),
                io.Boolean.Input(
                    "aif",
                    default=True,
                    tooltip="Anomaly inference: outside the mask the estimate is the normal image's. On by default; "
                    "off, the background is put into the state alone, as inpainting does.",
                ),
                io.Combo.Input(
                    "blend",
                    options=list(BLENDS),
                    default="x0",
                    tooltip="What EMA averages. x0 (default): clean estimates. paper: noisy states, which takes most "
                    "of the noise out of the background.",
                ),
                sockets.MaskSchedule.Input(
                    "mask_schedule",
                    optional=True,
                    tooltip="From EMA Mask Schedule. Open: no EMA, the mask is the defect's own at every level.",
                ),
                foreground_mode_input(),
            ],
            outputs=[io.Sampler.Output("sampler", display_name="sampler", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def validate_inputs(cls, windows=None):
        return answer(cls, typed_windows, windows)

    @classmethod
    def execute(
        cls,
        order: int,
        eta: float,
        variance: float,
        pure_start: bool,
        correct: bool,
        windows: str,
        aif: bool,
        blend: str,
        mask_schedule=None,
        foreground_mode: str = "x0_blend",
    ) -> io.NodeOutput:
        check_variance(variance, eta)
        options = {
            "order": order,
            "eta": eta,
            "variance": variance,
            "pure_start": pure_start,
            "correct": correct,
            "windows": typed_windows(windows),
            "aif": aif,
            "blend": blend,
            "mask_schedule": mask_schedule,
            "foreground_mode": foreground_mode,
        }
        return io.NodeOutput(GradedSampler(options))


class GradedSampler(MaskedSampler):
    """SAMPLER with the keywords of `sample_graded`; heads: whether MGA works where Apply MGA left it on the model."""

    engine = staticmethod(sample_graded)
    needs_mask = True

    def __init__(self, options: dict, node: str = "Graded Diffusion Sampler", heads: bool = True):
        super().__init__(options, node)
        self.heads = heads

    def added(self, model_wrap, masked: Callable[[Model], Model]) -> dict:
        patcher, with_change = model_wrap.inner_model.current_patcher, headed(model_wrap)
        return {
            "branches": heads_of(patcher) if self.heads else None,
            "headed": lambda change: masked(with_change(change)),
            "timestep": timestep_of(level_table(patcher)),
        }


def sample_graded_latent(
    model,
    seed,
    steps,
    cfg,
    preset_name,
    positive,
    negative,
    latent,
    denoise,
    stage: str,
    mask_schedule: MaskSchedule | None,
    windows: str,
) -> dict:
    """The LATENT that KSampler (Graded Diffusion) gives; see that node."""
    node = "KSampler (Graded Diffusion)"
    chosen = sampling(preset_name, steps, stage, typed_windows(windows), mask_schedule)
    if chosen.heads and heads_of(model) is None:
        raise Refused(
            "stage",
            f"{stage!r} uses MGA heads, and the model has none",
            remedy="connect Apply MGA with an adapter of STAGE, or choose 'baseline'",
        )
    return sample_latent(
        GradedSampler(chosen.options, node, chosen.heads),
        model,
        seed,
        cfg,
        positive,
        negative,
        latent,
        lambda: aias_sigmas(model, **chosen.grid, denoise=denoise, windows=chosen.windows),
    )


NODES = [KSamplerGraded, GradedSamplerNode]
