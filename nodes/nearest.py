"""Menu "dataset": how near pairs are to real defects."""

from __future__ import annotations

from comfy_api.latest import io

from .sockets import CATEGORY, Crop, Dataset, RealDefects, Scores

MENU = f"{CATEGORY}/dataset"
OPEN = object()  # no input's value


class MeasureRealDefects(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_MeasureRealDefects",
            display_name="Measure Real Defects",
            category=MENU,
            description=(
                "Measures the real defects that train, for Nearest Real Defect: each in the window that synthesis "
                "would use for its mask, through the VAE, or through a CLIP vision model."
            ),
            inputs=[
                Dataset.Input("dataset", tooltip="From Split Defect Dataset; only its training part is read."),
                io.Vae.Input(
                    "vae",
                    tooltip="Defects are compared in its latent space: the model's, or any other for "
                    "images. Not used where clip_vision is connected.",
                ),
                io.Int.Input(
                    "resolution",
                    default=128,
                    min=32,
                    max=4096,
                    step=8,
                    tooltip="Side of the windows in pixels: Crop to Mask's. Connect Load Anomaly LDM's resolution to "
                    "both. Default 128.",
                ),
                io.Float.Input(
                    "context",
                    default=1.0,
                    min=0.0,
                    max=8.0,
                    step=0.1,
                    tooltip="Surface shown on each side of a defect, in lengths of its box, at least 16 px: Crop to "
                    "Mask's. 0 is that minimum. Default 1.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="From Load CLIP Vision: defects are compared by its image embeddings instead. Open: by the "
                    "VAE, as the command `synthesize` does.",
                ),
            ],
            outputs=[RealDefects.Output("real", display_name="real", tooltip="For Nearest Real Defect.")],
        )

    @classmethod
    def execute(cls, dataset, vae, resolution: int, context: float, clip_vision=None) -> io.NodeOutput:
        from .real_defects import measured

        return io.NodeOutput(measured(dataset, vae, resolution, context, clip_vision))


class NearestRealDefect(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_NearestRealDefect",
            display_name="Nearest Real Defect",
            category=MENU,
            description=(
                "Adds to each pair's scores its distance to the nearest real defect of its type: 1 is as near as real "
                "defects are to each other, 0 a copy. Save Pairs writes it into the manifest as nearest_real, and "
                "Preview Pair shows it."
            ),
            inputs=[
                io.Image.Input("image", tooltip="The images with their anomalies, from Compose Pair."),
                Scores.Input("scores", tooltip="From Compose Pair: those of these images."),
                RealDefects.Input("real", tooltip="From Measure Real Defects."),
                io.String.Input(
                    "object",
                    default="object",
                    multiline=True,
                    tooltip="The object, as the dataset calls it; one line for all, or one per image.",
                ),
                io.String.Input(
                    "type",
                    default="anomaly",
                    multiline=True,
                    tooltip="The defect type, as the dataset calls it; one line for all, or one per image. "
                    "Of a type that the dataset lacks the distance stays unknown.",
                ),
                Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Crop to Mask's crop, as for Compose Pair; its resolution and context must be those "
                    "of Measure Real Defects. Open: mask is needed.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Where the anomalies are, at full size, where crop is open."
                ),
            ],
            outputs=[
                Scores.Output(
                    "measured_scores",
                    display_name="scores",
                    tooltip="The same scores with nearest_real, for Preview Pair and Save Pairs.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, real=None, crop=OPEN, mask=OPEN):  # real: ComfyUI hears none but of an input that is there
        from .real_defects import no_mask

        return str(no_mask()) if crop is OPEN and mask is OPEN else True

    @classmethod
    def execute(cls, image, scores, real, object: str, type: str, crop=None, mask=None) -> io.NodeOutput:
        from .images import lines, with_masks
        from .real_defects import NEAREST, with_nearest

        if mask is not None:
            image, _ = with_masks(NEAREST, image, mask)
        kinds = [lines(NEAREST, text, len(image), name) for text, name in ((object, "object"), (type, "type"))]
        return io.NodeOutput(with_nearest(image, scores, real, list(zip(*kinds, strict=True)), crop, mask))


NODES = [MeasureRealDefects, NearestRealDefect]
