"""Menu "sampling": from a latent with a mask to a latent with a defect."""

from __future__ import annotations

from comfy_api.latest import io

from ..errors import Refused
from .sockets import CATEGORY, Crop

MENU = f"{CATEGORY}/sampling"
MAX_SEED, MAX_STEPS = 0xFFFFFFFFFFFFFFFF, 1000
SEED = (
    "The random choice. Item i of a batch uses seed + i, whatever else is in the batch. Items of a list differ, too, "
    "unless another node computes the seed."
)
# As in samplers.presets and samplers.grid, which are not imported before a node runs; a test holds them together.
PRESETS = ["recommended", "fast", "paper"]
KINDS = ["quadratic", "uniform", "lambda", "half"]
FOREGROUND_MODES = ["x0_blend", "renoise"]


class AnomalyConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_AnomalyConditioning",
            display_name="Anomaly Conditioning",
            category=MENU,
            description=(
                "Tells the model which anomaly to make on which object. A compact base has learned tokens for the "
                "types it was trained on; for other checkpoints connect CLIP, and the words are encoded as text."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample; a compact base brings its tokens along."),
                io.String.Input(
                    "object",
                    default="brushed_metal",
                    multiline=True,
                    tooltip="What the image shows, as the base's training data calls it. One line for all images, or "
                    "one line per image of the batch.",
                ),
                io.String.Input(
                    "type",
                    default="scratch",
                    multiline=True,
                    tooltip="The anomaly: a type that the base knows for this object, 'good' for normal surface. One "
                    "line for all images, or one line per image.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="Text encoder of the checkpoint (SD, SDXL, Flux, ...). Not for compact bases.",
                ),
                Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Crop to Mask's crop, where object or type has one line per image: each crop then gets the "
                    "lines of its image.",
                ),
            ],
            outputs=[
                io.Conditioning.Output("positive", display_name="positive", tooltip="The anomaly."),
                io.Conditioning.Output(
                    "negative",
                    display_name="negative",
                    tooltip="Nothing in particular: what guidance steers away from.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model, object: str, type: str, clip=None, crop=None) -> io.NodeOutput:
        from .conditioning import per_crop, text_conditioning, token_conditioning

        objects, types = per_crop(object, type, crop)
        if hasattr(model.model, "anomaly_tokens"):
            return io.NodeOutput(*token_conditioning(model, objects, types))
        if clip is None:
            raise Refused(
                "clip",
                "not connected, and this model brings no anomaly tokens, as a compact base does",
                remedy="connect the CLIP of the model's checkpoint, so that object and type are encoded as text",
                door="Anomaly Conditioning",
            )
        return io.NodeOutput(*text_conditioning(clip, objects, types))


class KSamplerAIAS(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_KSamplerAIAS",
            display_name="KSampler (AIAS)",
            category=MENU,
            description=(
                "Makes the anomaly inside the latent's mask, in 10 to 20 steps, with FAST's sampler. The background "
                "stays the normal image's at every step. Takes the place of KSampler, with any model."
            ),
            inputs=[
                io.Model.Input("model", tooltip="Any model: eps, v or flow."),
                io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip=SEED),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=MAX_STEPS,
                    tooltip="Calls of the model in all; each runs it twice where cfg is not 1. 10 is quick, 20 the "
                    "default, the paper uses 50.",
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
                    tooltip="recommended: from 6 steps on, with a little fresh noise from 10 on. fast: the same "
                    "without noise. paper: FAST's published levels and noise; wants 50 steps.",
                ),
                io.Conditioning.Input("positive", tooltip="The anomaly, from Anomaly Conditioning."),
                io.Conditioning.Input("negative", tooltip="From Anomaly Conditioning, or any text to avoid."),
                io.Latent.Input(
                    "latent_image",
                    tooltip="From Defect Latent: the normal image with its mask. An empty latent is "
                    "sampled as a whole.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 (default) makes the defect from pure noise; lower keeps some of what the image shows in "
                    "the mask (0.7: a defect that follows the structure below it); 0 changes nothing.",
                ),
            ],
            outputs=[io.Latent.Output("latent", display_name="latent", tooltip="The same latents with anomalies.")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model, seed: int, steps: int, cfg: float, preset: str, positive, negative, latent_image, denoise: float
    ) -> io.NodeOutput:
        from .aias_sampler import sample_aias_latent
        from .graph_seeds import graph_seed

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
            category=MENU,
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
        from .aias_sampler import AIASSampler

        check_variance("AIAS Sampler", variance, eta)
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
            category=MENU,
            description="The noise levels that an AIAS run visits: coarse where the shape is decided, fine at the end.",
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample; its table of noise levels is used."),
                io.Int.Input("steps", default=20, min=1, max=MAX_STEPS, tooltip="Calls of the model in all."),
                io.Combo.Input(
                    "kind",
                    options=KINDS,
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
        from .level_text import in_order, typed_windows

        return in_order(typed_windows, "AIAS Sigmas", windows)

    @classmethod
    def execute(cls, model, steps: int, kind: str, refine: int, denoise: float, windows: str = "") -> io.NodeOutput:
        from .aias_sampler import aias_sigmas
        from .level_text import typed_windows

        node = "AIAS Sigmas"
        spans = typed_windows(node, windows)
        return io.NodeOutput(aias_sigmas(node, model, steps, kind, refine, denoise, spans))


class AnomalyInference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_AnomalyInference",
            display_name="Anomaly Inference",
            category=MENU,
            description=(
                "STAGE's anomaly inference for any sampler: at every step the model's estimate is kept inside the mask "
                "and replaced by the normal image outside it, so that the defect grows into its surroundings. Give the "
                "sampler a latent without mask (VAE Encode): where it has one, ComfyUI's samplers and the AIAS nodes "
                "replace the background by themselves, and this adds nothing."
            ),
            inputs=[
                io.Model.Input("model", tooltip="Any model; it is not changed, a patched copy comes out."),
                io.Latent.Input(
                    "latent",
                    tooltip="From Defect Latent: normal image and mask. The sampler gets the "
                    "same image from VAE Encode.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 (default): wholly the normal image outside the mask. 0: no effect.",
                ),
            ],
            outputs=[io.Model.Output("patched", display_name="model", tooltip="The model with anomaly inference.")],
        )

    @classmethod
    def execute(cls, model, latent, strength: float) -> io.NodeOutput:
        from .anomaly_inference import anomaly_inference

        return io.NodeOutput(anomaly_inference(model, latent, strength))


class PerItemNoiseNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_PerItemNoise",
            display_name="Per-Item Noise",
            category=MENU,
            description=(
                "Noise for SamplerCustomAdvanced that every item of a batch draws from its own seed: item 7 of 8 is "
                "the same picture as item 7 alone. KSampler (AIAS) does so by itself."
            ),
            inputs=[io.Int.Input("seed", default=0, min=0, max=MAX_SEED, control_after_generate=True, tooltip=SEED)],
            outputs=[io.Noise.Output("noise", display_name="noise", tooltip="For SamplerCustomAdvanced.")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, seed: int) -> io.NodeOutput:
        from .graph_seeds import graph_seed
        from .latents import PerItemNoise

        return io.NodeOutput(PerItemNoise(graph_seed(seed, cls.hidden)))


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
            tooltip="Mend every state by the estimate made at it, at no cost. On by default; meant for order 2 "
            "and the levels 'half'.",
        ),
    ]


def foreground_mode_input() -> io.Input:
    return io.Combo.Input(
        "foreground_mode",
        options=FOREGROUND_MODES,
        default=FOREGROUND_MODES[0],
        optional=True,
        tooltip="How FARM's estimate enters, for a model from Apply FARM. x0_blend (default): mixed into the model's. "
        "renoise: noised and put into the state (preset paper), with pure_start and correct off.",
    )


def check_variance(node: str, variance: float, eta: float) -> None:
    """Raise ValueError for a variance that eta does not allow."""
    if variance and eta != 1:
        raise Refused("variance", f"{variance:g} needs eta 1, and eta is {eta:g}", door=node)


NODES = [AnomalyConditioning, KSamplerAIAS, AIASSamplerNode, AIASSigmas, AnomalyInference, PerItemNoiseNode]
