"""Menu "sampling": graded diffusion, STAGE's sampler, and its mask schedule."""

from __future__ import annotations

from comfy_api.latest import io, ui

from .sampling import MAX_SEED, MAX_STEPS, MENU, PRESETS, SEED, check_variance, foreground_mode_input, solver_inputs
from .sockets import MaskSchedule

# As in samplers.stage_presets, samplers.mask_schedule and samplers.graded; a test holds them together.
STAGES = ["baseline", "mga", "mga-aif", "mga-aif-gd", "mga-aif-ema", "stage", "stage-paper"]
SHAPES = ["linear", "cosine"]
BLENDS = ["x0", "paper"]
WINDOWS, LEVELS = "1000-800, 400-300", "1000, 800, 600, 400, 200"


class EMAMaskSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_EMAMaskSchedule",
            display_name="EMA Mask Schedule",
            category=MENU,
            description=(
                "STAGE's explicit mask alignment: at pure noise the mask is the whole map, and it closes to the "
                "defect's own as the noise falls, so that the defect grows out of its surroundings. Shows the curve, "
                "and the mask at the levels of your choice. For the graded diffusion nodes."
            ),
            inputs=[
                io.Float.Input(
                    "t_s",
                    default=200.0,
                    min=0.0,
                    max=999.0,
                    step=1.0,
                    tooltip="Noise level t from which on the mask is the defect's own: 999 is almost from the start, "
                    "0 never before the end. Default 200 (paper).",
                ),
                io.Combo.Input(
                    "shape",
                    options=SHAPES,
                    default="linear",
                    tooltip="How the mask closes from t = 1000 to t_s. linear (default, paper): evenly. cosine: slowly "
                    "at both ends.",
                ),
                io.String.Input(
                    "levels",
                    default=LEVELS,
                    tooltip="The t at which the picture shows the mask, 1000 noisiest, 0 finished; at most 20. Changes "
                    "the picture only.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="A mask to show at these levels, the first of a batch; without one the curve is shown "
                    "alone. Changes the picture only.",
                ),
            ],
            outputs=[
                MaskSchedule.Output(
                    "mask_schedule",
                    display_name="mask_schedule",
                    tooltip="For KSampler (Graded Diffusion) and Graded Diffusion Sampler.",
                ),
                io.Image.Output("picture", display_name="picture", tooltip="The curve, and the mask at the levels."),
            ],
        )

    @classmethod
    def validate_inputs(cls, levels=None):
        from .level_text import in_order, typed_levels

        return in_order(typed_levels, "EMA Mask Schedule", levels)

    @classmethod
    def execute(cls, t_s: float, shape: str, levels: str, mask=None) -> io.NodeOutput:
        from ..samplers.mask_schedule import MaskSchedule as Schedule
        from .level_text import typed_levels
        from .mask_schedule import schedule_picture

        node = "EMA Mask Schedule"
        schedule = Schedule(t_s, shape=shape)
        shown = schedule_picture(node, schedule, mask, typed_levels(node, levels))
        return io.NodeOutput(schedule, shown, ui=ui.PreviewImage(shown, cls=cls))


class KSamplerGraded(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_KSamplerGraded",
            display_name="KSampler (Graded Diffusion)",
            category=MENU,
            description=(
                "Makes the anomaly inside the latent's mask with STAGE: anomaly inference, graded diffusion, explicit "
                "mask alignment and the trained MGA heads, in 10 to 20 steps. Takes the place of KSampler, with any "
                "model; FARM of Apply FARM works, too."
            ),
            inputs=[
                io.Model.Input(
                    "model", tooltip="Any model, eps, v or flow, through Apply MGA; the stage 'baseline' needs no MGA."
                ),
                io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip=SEED),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=MAX_STEPS,
                    tooltip="Calls of the model in all; each runs it twice where cfg is not 1. At least one falls into "
                    "each window. Default 20; the paper has 1000.",
                ),
                io.Float.Input(
                    "cfg",
                    default=2.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Guidance towards the anomaly: 1 is off and twice as fast, 2 suits compact bases, 5 to 8 "
                    "text models.",
                ),
                io.Combo.Input(
                    "preset",
                    options=PRESETS,
                    default="recommended",
                    tooltip="Levels and noise. recommended: from 6 steps on; with fresh noise from 10 on, all of it "
                    "where EMA or windows work. fast: the same without noise. paper: FAST's levels, all the noise.",
                ),
                io.Conditioning.Input("positive", tooltip="The anomaly, from Anomaly Tokens with the same adapter."),
                io.Conditioning.Input("negative", tooltip="From Anomaly Conditioning, or any text to avoid."),
                io.Latent.Input("latent_image", tooltip="From Defect Latent: the normal image with its mask."),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 (default) makes the defect from pure noise; lower keeps some of what the image shows in "
                    "the mask, and passes by the windows above its start; 0 changes nothing.",
                ),
                io.Combo.Input(
                    "stage",
                    options=STAGES,
                    default="stage",
                    tooltip="Which parts of STAGE work, as in the paper's ablation: baseline none; then MGA heads, "
                    "anomaly inference (aif), windows (gd), mask alignment (ema). stage (default): all. stage-paper: "
                    "all, with the paper's average of noisy states.",
                ),
                MaskSchedule.Input(
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
        from .level_text import in_order, typed_windows

        return in_order(typed_windows, "KSampler (Graded Diffusion)", windows)

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
        from .graded_sampler import sample_graded_latent
        from .graph_seeds import graph_seed

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
            category=MENU,
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
                    options=BLENDS,
                    default="x0",
                    tooltip="What EMA averages. x0 (default): clean estimates. paper: noisy states, which takes most "
                    "of the noise out of the background.",
                ),
                MaskSchedule.Input(
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
        from .level_text import in_order, typed_windows

        return in_order(typed_windows, "Graded Diffusion Sampler", windows)

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
        from .graded_sampler import GradedSampler
        from .level_text import typed_windows

        node = "Graded Diffusion Sampler"
        check_variance(node, variance, eta)
        options = {
            "order": order,
            "eta": eta,
            "variance": variance,
            "pure_start": pure_start,
            "correct": correct,
            "windows": typed_windows(node, windows),
            "aif": aif,
            "blend": blend,
            "mask_schedule": mask_schedule,
            "foreground_mode": foreground_mode,
        }
        return io.NodeOutput(GradedSampler(options, node))


NODES = [KSamplerGraded, GradedSamplerNode, EMAMaskSchedule]
