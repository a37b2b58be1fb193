"""Menu "dataset": what goes in, and the checked pairs that come out."""

from __future__ import annotations

from comfy_api.latest import io, ui

from .folders import AS_TYPED, chosen
from .sockets import CATEGORY, LAYOUTS, Crop, Scores, dataset_menu

MENU = f"{CATEGORY}/dataset"
# As in nodes.defects, synthesis.compose and nodes.pairs, which are not imported before a node runs; a test holds them
# together.
# Hosts that know of it start an index with "increment"; older ones offer the choice and start with "randomize".
NEXT = getattr(io, "ControlAfterGenerate", None)
NEXT = NEXT.increment if NEXT else True
SELECT = ["to synthesize", "normal images", "defect images"]
MODES = ["difference", "paste"]
NOT_VISIBLE = ["keep", "drop"]
LEAVE_OUT = NOT_VISIBLE[1]


class LoadDefectDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_LoadDefectDataset",
            display_name="Load Defect Dataset",
            category=MENU,
            description=(
                "Reads items of a dataset, one by one from disk, in any common layout. 'to synthesize' gives a normal "
                "image and a mask for it, shaped like a real defect of the type: item i is the one that the command "
                "line's `synthesize` makes for the same seed and split."
            ),
            inputs=[
                io.String.Input(
                    "folder",
                    default="procedural surfaces",
                    tooltip="A dataset's folder, its path or its name below ComfyUI's input: MVTec AD or LOCO, BTAD, "
                    "VisA, COCO, LabelMe, or images and masks of one name. 'procedural surfaces' is built in.",
                ),
                io.Combo.Input(
                    "select",
                    options=SELECT,
                    default=SELECT[0],
                    tooltip="to synthesize (default): normal images with masks, types in turn. normal images: their "
                    "mask is empty. defect images: real ones with their masks.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    control_after_generate=NEXT,
                    tooltip="The first item; 'increment' and count 1 walk through all of them, queue by queue. After "
                    "the last it starts again; 'to synthesize' never ends.",
                ),
                io.Int.Input("count", default=1, min=1, max=4096, tooltip="How many items, from index on."),
                io.Boolean.Input(
                    "as_batch",
                    default=False,
                    label_on="one batch",
                    label_off="a list",
                    tooltip="Off (default): a list, what follows runs once per item, and sizes may differ. On: one "
                    "batch, quicker, for images of one size.",
                ),
                io.String.Input(
                    "type",
                    default="",
                    tooltip="Only this defect type; empty (default) is all. Not for the built-in surfaces.",
                ),
                io.String.Input(
                    "split",
                    default="",
                    tooltip="split.json of `anomaly-synthesis split`: only its training part is read. Empty: "
                    "everything, also what you may want to test on later. Not for the built-in surfaces.",
                ),
                io.Int.Input(
                    "plan_seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    tooltip="For 'to synthesize' from a folder: decides which normal, which mask and where, for every "
                    "index. The command line's --seed.",
                ),
                io.Combo.Input(
                    "layout",
                    options=LAYOUTS,
                    default=LAYOUTS[0],
                    optional=True,
                    tooltip="What the folder is read as. auto (default) finds out; name it where the folder fits "
                    "several layouts. Not for the built-in surfaces.",
                ),
                dataset_menu(),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", is_output_list=True, tooltip="The images."),
                io.Mask.Output("mask", display_name="mask", is_output_list=True, tooltip="Their masks, 1 is defect."),
                io.String.Output(
                    "objects",
                    display_name="object",
                    is_output_list=True,
                    tooltip="What each shows; one line per image where they come as a batch.",
                ),
                io.String.Output(
                    "types",
                    display_name="type",
                    is_output_list=True,
                    tooltip="The anomaly of each, 'good' for normal images; lines as for object.",
                ),
                io.String.Output("names", display_name="name", is_output_list=True, tooltip="File of each image."),
                io.Int.Output(
                    "seeds",
                    display_name="seed",
                    is_output_list=True,
                    tooltip="Seed to synthesize each with, as the command line does; 0 for real images. "
                    "Of a batch, the first one's.",
                ),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, folder, split="", choose=AS_TYPED):
        from .defects import check_dataset

        folder = chosen(folder, choose)
        try:
            check_dataset(folder, split)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder, split, layout="auto", choose=AS_TYPED, **_):
        from .defects import fingerprint

        folder = chosen(folder, choose)
        # None: another node will tell it, and its own changes count.
        return None if folder is None or split is None else fingerprint(folder, split, layout)

    @classmethod
    def execute(
        cls,
        folder: str,
        select: str,
        index: int,
        count: int,
        as_batch: bool,
        type: str,
        split: str,
        plan_seed: int,
        layout: str = "auto",
        choose: str = AS_TYPED,
    ) -> io.NodeOutput:
        from .defects import batched, listed, read_items
        from .graph_seeds import remember_output

        items = read_items(chosen(folder, choose), select, index, count, type, split, plan_seed, layout)
        outputs = batched(items) if as_batch else listed(items)
        remember_output(cls.hidden, 5, outputs[5])
        return io.NodeOutput(*outputs)


class ComposePair(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_ComposePair",
            display_name="Compose Pair",
            category=MENU,
            description=(
                "Puts the anomaly into the normal image: outside the mask every pixel stays exactly as it is. Measures "
                "how visible the anomaly is, so that masks which show nothing do not reach training."
            ),
            inputs=[
                io.Image.Input("normal", tooltip="The normal images, at full size."),
                io.Mask.Input("mask", tooltip="Where the defects go, of the images' size."),
                io.Image.Input("made", tooltip="What the sampler made, decoded: crops or whole images."),
                io.Image.Input(
                    "roundtrip",
                    tooltip="Defect Latent's latent, decoded: the same without the anomaly. The VAE's own blur is "
                    "measured by it and kept out of the result.",
                ),
                io.Combo.Input(
                    "mode",
                    options=MODES,
                    default="difference",
                    tooltip="difference (default): adds made - roundtrip, keeps the surface's fine texture. paste: "
                    "takes made itself inside the mask (the papers).",
                ),
                io.Int.Input(
                    "feather",
                    default=0,
                    min=0,
                    max=256,
                    tooltip="Pixels over which the anomaly fades in, from the mask's edge inwards. 0 (default): none.",
                ),
                io.Float.Input(
                    "visible_above",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="A pair is visible where the mean change in the mask is more than this many times the "
                    "surface's own spread around it; with controls, where it is more than this many times as far from "
                    "them as they are from each other. 1 (default) is a mild test; `synthesize` measures its "
                    "threshold.",
                ),
                Crop.Input(
                    "crop",
                    optional=True,
                    tooltip="Crop to Mask's crop, where made and roundtrip are crops. Open: whole images.",
                ),
                io.Image.Input(
                    "controls",
                    optional=True,
                    tooltip="The same latent, repeated (4 times, say) and sampled as normal surface, decoded: 6 steps "
                    "with cfg 1 and the type 'good' will do. What is visible is then measured by them, which is surer.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The images with their anomalies."),
                Scores.Output(
                    "scores",
                    display_name="scores",
                    tooltip="Visibility, strength, contrast, completeness, precision, boundary and seam of "
                    "each, and with controls excess, for Preview Pair and Save Pairs.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, normal, mask, made, roundtrip, mode: str, feather: int, visible_above: float, crop=None, controls=None
    ) -> io.NodeOutput:
        from .images import check_image, with_masks
        from .pairs import composed

        made, roundtrip = (
            check_image("Compose Pair", image, name) for image, name in ((made, "made"), (roundtrip, "roundtrip"))
        )
        normal, masks = with_masks("Compose Pair", normal, mask, "normal")
        controls = None if controls is None else check_image("Compose Pair", controls, "controls")
        return io.NodeOutput(*composed(normal, masks, made, roundtrip, crop, mode, feather, visible_above, controls))


class PreviewPair(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_PreviewPair",
            display_name="Preview Pair",
            category=MENU,
            description="Shows normal, result, and result with the mask's outline, with the visibility in words below.",
            inputs=[
                io.Image.Input("normal", tooltip="The normal images."),
                io.Image.Input("image", tooltip="The images with their anomalies, from Compose Pair."),
                io.Mask.Input("mask", tooltip="Where the anomalies are."),
                Scores.Input("scores", optional=True, tooltip="From Compose Pair; open shows pictures only."),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, normal, image, mask, scores=None) -> io.NodeOutput:
        from .pairs import Batch, overlays

        batch = Batch.checked("Preview Pair", normal, image, mask, scores)
        return io.NodeOutput(ui=ui.PreviewImage(overlays(batch), cls=cls))


class SavePairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_SavePairs",
            display_name="Save Pairs",
            category=MENU,
            description=(
                "Appends pairs to a folder in MVTec layout below ComfyUI's output: image, mask, normal image, and a "
                "line of manifest.jsonl with seed, visibility and every widget that made it. A pair is written whole "
                "or not at all, and once: what the folder holds already is not added again. Blank pairs, whose image "
                "equals the normal image in the mask, are left out, and so are those that are not visible."
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The images with their anomalies: PNG, in the normal image's depth, "
                    "grey where they are grey.",
                ),
                io.Mask.Input("mask", tooltip="Their masks, of the same size; an empty one is refused."),
                io.Image.Input("normal", tooltip="Their normal images, saved once as <object>/train/good."),
                io.String.Input(
                    "object",
                    default="object",
                    multiline=True,
                    tooltip="The object's folder; one line for all, or one per image.",
                ),
                io.String.Input(
                    "type",
                    default="anomaly",
                    multiline=True,
                    tooltip="The defect type's folder; one line for all, or one per image.",
                ),
                io.String.Input(
                    "folder",
                    default="pairs",
                    tooltip="Folder below ComfyUI's output. Pairs are added to those that are there.",
                ),
                Scores.Input(
                    "scores", optional=True, tooltip="From Compose Pair or Nearest Real Defect, for the manifest."
                ),
                io.Int.Input(
                    "seed",
                    optional=True,
                    force_input=True,
                    tooltip="Seed of the first image, where another node computes it; else it is found.",
                ),
                io.Combo.Input(
                    "not_visible",
                    options=NOT_VISIBLE,
                    default=LEAVE_OUT,
                    optional=True,
                    tooltip="Pairs that are not visible by their scores. drop (default): left out, with a line in "
                    "dropped.jsonl. keep: saved, with visible false in the manifest. Blank pairs are left out either "
                    "way.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "pairs_folder",
                    display_name="folder",
                    tooltip="The folder, for Train Segmenter and Pair Statistics: they then wait "
                    "until the pairs are saved.",
                )
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, not_visible=LEAVE_OUT):
        from .pairs import check_not_visible

        try:
            if not_visible is not None:  # None: another node will tell it
                check_not_visible(not_visible)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        image,
        mask,
        normal,
        object: str,
        type: str,
        folder: str,
        scores=None,
        seed: int | None = None,
        not_visible: str = LEAVE_OUT,
    ) -> io.NodeOutput:
        from .images import lines
        from .pairs import Batch, save_pairs

        batch = Batch.checked("Save Pairs", normal, image, mask, scores)
        count = len(batch.images)
        names = [lines("Save Pairs", text, count, what) for text, what in ((object, "object"), (type, "type"))]
        return io.NodeOutput(folder, ui=save_pairs(folder, batch, *names, seed, not_visible, cls.hidden))


class BatchPlanNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_BatchPlan",
            display_name="Batch Plan",
            category=MENU,
            description=(
                "Item i of a plan of many pairs: so many of every object and type, the types in turn, each with its "
                "own seed. Let index increment and queue as many runs as the plan has items; a run that is stopped "
                "goes on at its index, and the same index is always the same item. For servers that crash, use the "
                "command `anomaly-synthesis batch`."
            ),
            inputs=[
                io.String.Input(
                    "kinds",
                    default="brushed_metal / scratch\ncast_grain / pit",
                    multiline=True,
                    tooltip="What to make: one 'object / type' a line, as the dataset's folders call them.",
                ),
                io.Int.Input(
                    "count",
                    default=500,
                    min=1,
                    max=1_000_000,
                    tooltip="Items of every kind. Default 500 (papers). More adds items and changes none.",
                ),
                io.Int.Input(
                    "plan_seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    tooltip="Decides the seeds of all items; the command line's --seed. Default 0.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    control_after_generate=NEXT,
                    tooltip="Which item, from 0; 'increment' walks through the plan, run by run. After the last item "
                    "the run ends with an error that says so.",
                ),
            ],
            outputs=[
                io.String.Output("object", display_name="object", tooltip="The item's object."),
                io.String.Output("type", display_name="type", tooltip="The item's anomaly type."),
                io.Int.Output(
                    "seed", display_name="seed", tooltip="For the sampler: the command line's seed of this item."
                ),
                io.Int.Output(
                    "round",
                    display_name="round",
                    tooltip="How many items of its kind came before it: for "
                    "the index of Load Defect Dataset, whose type is connected.",
                ),
                io.Int.Output("total", display_name="total", tooltip="Items of the whole plan: how often to queue."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, kinds=None, count=None, index=None):
        if None in (kinds, count, index):  # another node will tell it
            return True
        try:
            cls.execute(kinds, count, 0, index)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, kinds: str, count: int, plan_seed: int, index: int) -> io.NodeOutput:
        from ..datasets.batch_plan import BatchPlan, kinds_from_text
        from .errors import named
        from .graph_seeds import remember_output

        with named("Batch Plan"):
            plan = BatchPlan(kinds_from_text(kinds), count, plan_seed)
            item = plan.item(index)
        remember_output(cls.hidden, 2, [item.seed()])
        return io.NodeOutput(item.kind["object"], item.kind["type"], item.seed(), item.round, len(plan))


NODES = [LoadDefectDataset, ComposePair, PreviewPair, SavePairs, BatchPlanNode]
