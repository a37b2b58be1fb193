"""Menu "training": adapters for one's own defects, and what uses them."""

from __future__ import annotations

from comfy_api.latest import io, ui

from .sockets import CATEGORY, Adapter, Crop, Dataset, MaskSchedule

MENU = f"{CATEGORY}/training"
MAX_SEED = 2**63 - 1
# As in training.adapter_settings, which is not imported before a node runs; a test holds them together.
CHECKPOINTING = ["auto", "on", "off"]
HEADS = ["paper", "small"]  # see nodes.adapter_training.sized


class TrainFASTAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_TrainFASTAdapter",
            display_name="Train FAST Adapter",
            category=MENU,
            description=(
                "Teaches a model your defects (FAST): a few anomaly tokens per type, and FARM, which rebuilds the "
                "anomaly from noise. The model itself stays as it is. A training that was cancelled goes on where it "
                "was, as long as ComfyUI is not restarted."
            ),
            inputs=[*_sources(), *_widgets(1.5e-4), _conditioning(), _checkpointing(), _look_every()],
            outputs=_trained("For Save FAST Adapter, Apply FARM and Anomaly Tokens."),
        )

    @classmethod
    def execute(
        cls,
        model,
        vae,
        dataset,
        steps: int,
        batch: int,
        learning_rate: float,
        tokens: int,
        resolution: int,
        patience: int,
        seed: int,
        conditioning=None,
        checkpointing: str = "auto",
        look_every: int = 100,
    ) -> io.NodeOutput:
        from ..training.fast import FastTraining
        from .adapter_record import curve_picture, told
        from .adapter_training import train
        from .errors import named

        with named("Train FAST Adapter"):
            settings = FastTraining(
                steps=steps,
                batch=batch,
                learning_rate=learning_rate,
                tokens=tokens,
                patience=patience,
                seed=seed,
                checkpointing=checkpointing,
                evaluate_every=look_every,
            )
        adapter = train(model, vae, dataset, settings, resolution, conditioning)
        return io.NodeOutput(adapter, told(adapter), curve_picture(adapter))


class SaveFASTAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return _saving("FAST", "fast")

    @classmethod
    def execute(cls, adapter, name: str) -> io.NodeOutput:
        from .adapters import save

        file = save(adapter, name, "fast")
        return io.NodeOutput(file, ui=ui.PreviewText(file))


class ApplyFARM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_ApplyFARM",
            display_name="Apply FARM",
            category=MENU,
            description=(
                "Lets FARM rebuild the anomaly inside the mask while the AIAS nodes sample. It only attaches: "
                "ComfyUI's own samplers do as before. Use it together with Anomaly Tokens."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that the adapter was trained on; it is not changed, a copy with FARM comes out.",
                ),
                Adapter.Input("adapter", tooltip="From Train FAST Adapter or Load FAST Adapter."),
                io.String.Input(
                    "object",
                    default="brushed_metal",
                    multiline=True,
                    tooltip="What the image shows, as the training's folders call it. One line for all images, or one "
                    "line per image of the batch.",
                ),
                io.String.Input(
                    "type",
                    default="scratch",
                    multiline=True,
                    tooltip="The anomaly, one of the adapter's types. One line for all images, or one line per image.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="FARM's share of the estimate in the mask: 1 (default) FARM alone, which skips the model "
                    "at these steps; 0 no FARM. The preset 'paper' knows only 0 and 1.",
                ),
                io.Float.Input(
                    "until",
                    default=40.0,
                    min=0.0,
                    max=999.0,
                    step=1.0,
                    tooltip="FARM works from pure noise (t = 999) down to this t; below it the model alone draws the "
                    "texture. Default 40; the paper has 2.",
                ),
                Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Crop to Mask's crop, where object or type has one line per image: each crop then gets the "
                    "lines of its image.",
                ),
            ],
            outputs=[
                io.Model.Output("patched", display_name="model", tooltip="The model with FARM, for the AIAS nodes.")
            ],
        )

    @classmethod
    def execute(cls, model, adapter, object: str, type: str, strength: float, until: float, crop=None) -> io.NodeOutput:
        from .fast_sampling import apply_farm

        return io.NodeOutput(apply_farm(model, adapter, object, type, strength, until, crop))


class ApplyMGA(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_ApplyMGA",
            display_name="Apply MGA",
            category=MENU,
            description=(
                "Lets STAGE's trained MGA heads guide the model by the mask while the graded diffusion nodes sample. "
                "It only attaches: all other samplers do as before. Use it together with Anomaly Tokens."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that the adapter was trained on; it is not changed, a copy with MGA comes out.",
                ),
                Adapter.Input("adapter", tooltip="From Train STAGE Adapter or Load STAGE Adapter."),
            ],
            outputs=[
                io.Model.Output(
                    "patched", display_name="model", tooltip="The model with MGA, for the graded diffusion nodes."
                )
            ],
        )

    @classmethod
    def execute(cls, model, adapter) -> io.NodeOutput:
        from .stage_sampling import apply_mga

        return io.NodeOutput(apply_mga(model, adapter))


class AnomalyTokensNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_AnomalyTokens",
            display_name="Anomaly Tokens",
            category=MENU,
            description=(
                "Puts the tokens that an adapter learned for a type behind the conditioning's own. For every sampler, "
                "ComfyUI's own as well; the negative conditioning stays without."
            ),
            inputs=[
                io.Conditioning.Input(
                    "conditioning",
                    tooltip="Anomaly Conditioning's positive, made with the same "
                    "model, and for checkpoints with the text that the adapter was trained with.",
                ),
                Adapter.Input("adapter", tooltip="Of FAST or STAGE, from a Train or a Load node; with both, STAGE's."),
                io.String.Input(
                    "object",
                    default="brushed_metal",
                    multiline=True,
                    tooltip="What the image shows, as the training's folders call it. One line for all images, or one "
                    "line per image of the batch.",
                ),
                io.String.Input(
                    "type",
                    default="scratch",
                    multiline=True,
                    tooltip="The anomaly, one of the adapter's types. One line for all images, or one line per image.",
                ),
                Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Crop to Mask's crop, where object or type has one line per image: each crop then gets the "
                    "lines of its image.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    "positive",
                    display_name="positive",
                    tooltip="The conditioning with the anomaly's tokens, for a sampler's positive.",
                )
            ],
        )

    @classmethod
    def execute(cls, conditioning, adapter, object: str, type: str, crop=None) -> io.NodeOutput:
        from .fast_sampling import with_tokens

        return io.NodeOutput(with_tokens(conditioning, adapter, object, type, crop))


class TrainSTAGEAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_TrainSTAGEAdapter",
            display_name="Train STAGE Adapter",
            category=MENU,
            description=(
                "Teaches a model your defects (STAGE): a few anomaly tokens per type, and two MGA heads, which correct "
                "the model's noise where the mask is. The model itself stays as it is. A training that was cancelled "
                "goes on where it was, as long as ComfyUI is not restarted."
            ),
            inputs=[
                *_sources(),
                *_widgets(1e-3),
                _conditioning(),
                Adapter.Input(
                    "tokens_of",
                    optional=True,
                    tooltip="An adapter of the same model, FAST's usually, whose tokens are kept (the widget tokens is "
                    "not read then): only the heads train, which is much quicker, as the model is asked once per draw "
                    "and not at every step, and both adapters serve together. Open: new tokens.",
                ),
                MaskSchedule.Input(
                    "mask_schedule",
                    optional=True,
                    tooltip="How the mask that the anomaly-aware head is told closes as the noise falls: connect the "
                    "EMA Mask Schedule that you will sample with. Open: the paper's, linear, closed at t = 200.",
                ),
                _checkpointing(),
                _look_every(),
                io.Boolean.Input(
                    "normalise",
                    default=True,
                    optional=True,
                    label_on="over the mask",
                    label_off="over all (paper)",
                    tooltip="On (default): the error is averaged over each defect's own area, so that a small defect "
                    "weighs as much as a large one. Off: over the whole map, as in the paper.",
                ),
                io.Combo.Input(
                    "heads",
                    options=HEADS,
                    default=HEADS[0],
                    optional=True,
                    tooltip="Size of the MGA heads. paper (default): 2.7 M parameters each. small: 0.2 M, for a tenth "
                    "of the time, which is enough beside a compact base.",
                ),
            ],
            outputs=_trained("For Save STAGE Adapter, Apply MGA and Anomaly Tokens."),
        )

    @classmethod
    def execute(
        cls,
        model,
        vae,
        dataset,
        steps: int,
        batch: int,
        learning_rate: float,
        tokens: int,
        resolution: int,
        patience: int,
        seed: int,
        conditioning=None,
        tokens_of=None,
        mask_schedule=None,
        checkpointing: str = "auto",
        look_every: int = 100,
        normalise: bool = True,
        heads: str = "paper",
    ) -> io.NodeOutput:
        from ..training.stage import StageTraining
        from .adapter_record import curve_picture, told
        from .adapter_training import sized, told_mask, train
        from .errors import named

        with named("Train STAGE Adapter"):
            settings = StageTraining(
                steps=steps,
                batch=batch,
                learning_rate=learning_rate,
                tokens=tokens,
                patience=patience,
                seed=seed,
                checkpointing=checkpointing,
                evaluate_every=look_every,
                normalise=normalise,
                **told_mask(mask_schedule),
                **sized(heads),
            )
        adapter = train(model, vae, dataset, settings, resolution, conditioning, tokens_of)
        return io.NodeOutput(adapter, told(adapter), curve_picture(adapter))


class SaveSTAGEAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return _saving("STAGE", "stage")

    @classmethod
    def execute(cls, adapter, name: str) -> io.NodeOutput:
        from .adapters import save

        file = save(adapter, name, "stage")
        return io.NodeOutput(file, ui=ui.PreviewText(file))


def _sources() -> list[io.Input]:
    return [
        io.Model.Input(
            "model",
            tooltip="What will make the anomalies: eps, v or flow; a compact base or a checkpoint. "
            "It must fit the device's memory as a whole.",
        ),
        io.Vae.Input("vae", tooltip="The model's own VAE."),
        Dataset.Input(
            "dataset",
            tooltip="From Split Defect Dataset; only the defects of its training part are read, "
            "and about a fifth of their groups is held out to choose the best weights.",
        ),
    ]


def _widgets(learning_rate: float) -> list[io.Input]:
    """learning_rate: the paper's."""
    return [
        io.Int.Input(
            "steps",
            default=2000,
            min=1,
            max=1_000_000,
            tooltip="Steps of the training. Default 2000; a few hundred are for trying.",
        ),
        io.Int.Input(
            "batch", default=4, min=1, max=256, tooltip="Crops per step. Default 4 (paper); fewer need less memory."
        ),
        io.Float.Input(
            "learning_rate",
            default=learning_rate,
            min=1e-7,
            max=1.0,
            step=1e-6,
            round=False,
            tooltip=f"Of AdamW, at its highest. Default {f'{learning_rate:.6f}'.rstrip('0')} (paper).",
        ),
        io.Int.Input(
            "tokens",
            default=8,
            min=1,
            max=64,
            tooltip="Learned tokens per type, added to the conditioning. Default 8 (paper).",
        ),
        io.Int.Input(
            "resolution",
            default=128,
            min=32,
            max=2048,
            step=8,
            tooltip="Side of the training crops in pixels. For a compact base connect Load Anomaly LDM's resolution "
            "(128, the default); 512 for SD 1.5, 1024 for SDXL and Flux. Crop to Mask wants the same.",
        ),
        io.Int.Input(
            "patience",
            default=0,
            min=0,
            max=1000,
            tooltip="End after so many looks (see look_every) without a lower error on held-out defects. "
            "0 (default): never.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=MAX_SEED,
            control_after_generate=False,
            tooltip="Decides the weights to begin with and every draw. Default 0.",
        ),
    ]


def _conditioning() -> io.Input:
    return io.Conditioning.Input(
        "conditioning",
        optional=True,
        tooltip="For checkpoints: Anomaly Conditioning's positive with CLIP, one line for all types, or one per type "
        "in sorted order of object and type. A compact base brings its own.",
    )


def _checkpointing() -> io.Input:
    return io.Combo.Input(
        "checkpointing",
        options=CHECKPOINTING,
        default="auto",
        optional=True,
        tooltip="on: the model's blocks are run again for the gradient instead of kept, for less memory and a third "
        "more time. auto (default): where memory is short. off: never.",
    )


def _look_every() -> io.Input:
    return io.Int.Input(
        "look_every",
        default=100,
        min=1,
        max=100_000,
        optional=True,
        tooltip="Steps between two looks at the held-out defects: a point of the curve, and a new preview. "
        "Default 100.",
    )


def _trained(use: str) -> list[io.Output]:
    return [
        Adapter.Output("adapter", display_name="adapter", tooltip=use),
        io.String.Output(
            "record",
            display_name="record",
            tooltip="Types, steps, images, seconds, and the error on held-out defects, in words.",
        ),
        io.Image.Output(
            "curve",
            display_name="curve",
            tooltip="The loss, and the error on held-out defects per type, over the training.",
        ),
    ]


def _saving(method: str, name: str) -> io.Schema:
    """name: of the file, where the user gives no other."""
    return io.Schema(
        node_id=f"SIAS_Save{method}Adapter",
        display_name=f"Save {method} Adapter",
        category=MENU,
        description=(
            f"Writes an adapter to models/anomaly_adapters, for Load {method} Adapter and for `anomaly-synthesis "
            "synthesize --adapter`. A file that is there stays: the new one gets a number."
        ),
        inputs=[
            Adapter.Input("adapter", tooltip=f"From Train {method} Adapter."),
            io.String.Input(
                "name",
                default=name,
                tooltip="Name of the file, without .safetensors, with folders if you like. Default "
                f"'{name}'; where it is taken, {name}_00002 and so on.",
            ),
        ],
        outputs=[
            io.String.Output(
                "file",
                display_name="file",
                tooltip=f"The name that was written, as Load {method} Adapter lists it after a refresh (R).",
            )
        ],
        is_output_node=True,
    )


NODES = [TrainFASTAdapter, SaveFASTAdapter, ApplyFARM, TrainSTAGEAdapter, SaveSTAGEAdapter, ApplyMGA, AnomalyTokensNode]
