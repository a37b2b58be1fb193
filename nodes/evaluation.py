"""Menu "evaluation": do pairs train a better segmenter? And the split of the data that the question begins with."""

from __future__ import annotations

from comfy_api.latest import io

from .folders import AS_TYPED, chosen
from .sockets import CATEGORY, LAYOUTS, Dataset, Segmenter, dataset_menu

MENU = f"{CATEGORY}/evaluation"
# As in evaluation.networks, which is not imported before a node runs; a test holds them together.
NETWORKS = ["small_unet", "segformer"]
MAX_SEED = 2**63 - 1


class SplitDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_SplitDataset",
            display_name="Split Defect Dataset",
            category=f"{CATEGORY}/dataset",
            description=(
                "Splits a dataset, in any common layout, into images to train on and images held back to test on, so "
                "that no part is on both sides: images of one part (a group) stay together."
            ),
            inputs=[
                io.String.Input(
                    "folder",
                    default="procedural surfaces",
                    tooltip="A dataset's folder, its path or its name below ComfyUI's input: MVTec AD or LOCO, BTAD, "
                    "VisA, COCO, LabelMe, or images and masks of one name. 'procedural surfaces' (default) is built "
                    "in: 168 small images, the types that Load Defect Dataset makes items of.",
                ),
                io.String.Input(
                    "split",
                    default="",
                    tooltip="split.json of `anomaly-synthesis split`: its path, or its name below ComfyUI's input. "
                    "Empty (default): split here, by share and seed; groups come from a manifest.csv in or beside the "
                    "folder, else from images that look alike.",
                ),
                io.Float.Input(
                    "share",
                    default=0.333,
                    min=0.001,
                    max=0.999,
                    step=0.001,
                    tooltip="Share of every type's defect images that trains, 0.001 to 0.999; the rest is held back. "
                    "Default a third. Not used where a split.json is given.",
                ),
                io.String.Input(
                    "types",
                    default="",
                    tooltip="Only these defect types, separated by commas or lines; empty (default) is all.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,
                    tooltip="Decides which groups train. Not used where a split.json is given. Default 0.",
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
                Dataset.Output(
                    "dataset",
                    display_name="dataset",
                    tooltip="For Train Segmenter, Evaluate Segmentation, Pair Statistics and Measure Real Defects.",
                ),
                io.String.Output(
                    "summary",
                    display_name="summary",
                    tooltip="How many images of each type are on each side, how many groups, and warnings; Markdown.",
                ),
                io.String.Output(
                    "split_file",
                    display_name="split",
                    tooltip="Path of the split.json in use. Connect it to Load Defect Dataset's split: "
                    "else pairs may be made of what is tested on.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder, split, choose=AS_TYPED):
        from .split_dataset import check_folder

        folder = chosen(folder, choose)
        try:
            if folder is not None and split is not None:  # None: another node will tell it
                check_folder(folder, split)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder, split, layout="auto", choose=AS_TYPED, **_):
        from .split_dataset import state

        folder = chosen(folder, choose)
        return None if folder is None or split is None else state(folder, split, layout)

    @classmethod
    def execute(
        cls, folder: str, split: str, share: float, types: str, seed: int, layout: str = "auto", choose: str = AS_TYPED
    ) -> io.NodeOutput:
        from .split_dataset import split_dataset

        dataset, summary = split_dataset(chosen(folder, choose), split, share, types, seed, layout)
        return io.NodeOutput(dataset, summary, str(dataset.file))


class TrainSegmenter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_TrainSegmenter",
            display_name="Train Segmenter",
            category=MENU,
            description=(
                "Trains a segmentation network to find defects: on the real ones of the training part alone, or with "
                "synthetic pairs beside them. The real crops of a seed are the same with and without pairs, so two of "
                "these nodes compare."
            ),
            inputs=[
                Dataset.Input("dataset", tooltip="From Split Defect Dataset; only its training part is read."),
                io.Combo.Input(
                    "network",
                    options=NETWORKS,
                    default=NETWORKS[0],
                    tooltip="small_unet (default): 0.5 million parameters, minutes on a CPU. segformer: SegFormer-B0 "
                    "from scratch, 3.7 million, three times slower.",
                ),
                io.Int.Input(
                    "steps",
                    default=600,
                    min=1,
                    max=100_000,
                    tooltip="Steps of the training, each of 8 real crops and, with pairs, 8 synthetic ones. Default "
                    "600; fewer are for trying.",
                ),
                io.Int.Input(
                    "crop",
                    default=128,
                    min=32,
                    max=1024,
                    step=8,
                    tooltip="Side of the training crops in pixels, at native scale. Default 128; time grows with its "
                    "square.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,
                    tooltip="Decides the weights to begin with and every draw. Compare under the same one, and under "
                    "several. Default 0.",
                ),
                io.String.Input(
                    "pairs",
                    default="",
                    optional=True,
                    tooltip="Folder of pairs below ComfyUI's output. Connect Save Pairs' folder, so that the pairs are "
                    "saved first. Empty (default): real defects only.",
                ),
                io.Boolean.Input(
                    "hold_out",
                    default=False,
                    optional=True,
                    tooltip="On: about a fifth of the training part's groups does not train, and the weights that are "
                    "best there are kept; the record then tells whether the steps suffice. Off (default): all groups "
                    "train, as in a comparison, and the last weights are kept.",
                ),
            ],
            outputs=[
                Segmenter.Output("segmenter", display_name="segmenter", tooltip="For Evaluate Segmentation."),
                io.String.Output(
                    "record",
                    display_name="record",
                    tooltip="Steps, the best of them, validation, seconds, and how many crops were seen, in words.",
                ),
            ],
            is_input_list=True,  # pairs that were saved one by one bring their folder's name as often
        )

    @classmethod
    def validate_inputs(cls, pairs=None):
        from .saved_pairs import pairs_told

        return pairs_told("Train Segmenter", pairs)

    @classmethod
    def fingerprint_inputs(cls, pairs=None, **_):
        from .saved_pairs import pairs_state

        return pairs_state("Train Segmenter", pairs)

    @classmethod
    def execute(
        cls,
        dataset: list,
        network: list[str],
        steps: list[int],
        crop: list[int],
        seed: list[int],
        pairs: list[str] | None = None,
        hold_out: list[bool] | None = None,
    ) -> io.NodeOutput:
        from .lists import single
        from .saved_pairs import saved_pairs
        from .segmenter import NODE, told, train

        data, *settings = single(
            NODE, dataset=dataset, network=network, steps=steps, crop=crop, seed=seed, hold_out=hold_out or [False]
        )
        segmenter = train(data, *settings, saved_pairs(NODE, pairs or [], data))
        return io.NodeOutput(segmenter, told(segmenter))


class EvaluateSegmentation(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_EvaluateSegmentation",
            display_name="Evaluate Segmentation",
            category=MENU,
            description=(
                "Tests a segmenter on the whole images that were held back, and shows its metrics per type with its "
                "best and worst cases."
            ),
            inputs=[
                Dataset.Input(
                    "dataset",
                    tooltip="From Split Defect Dataset, the one that the segmenter was trained "
                    "on; only its held-back part is read.",
                ),
                Segmenter.Input("segmenter", tooltip="From Train Segmenter."),
            ],
            outputs=[
                io.String.Output(
                    "table",
                    display_name="table",
                    tooltip="Markdown, in percent: IoU with its 95 % interval, recall, best F1, AP, AUROC "
                    "and AU-PRO of every type, their mean over types, and over all images.",
                ),
                io.Float.Output(
                    "iou", display_name="iou", tooltip="Mean IoU over types: 0 finds nothing, 1 is every pixel right."
                ),
                io.Image.Output(
                    "cases",
                    display_name="cases",
                    tooltip="The best and the worst images of every type, "
                    "and good ones with false alarms: image, truth, found.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, dataset, segmenter) -> io.NodeOutput:
        from .segmentation import evaluate, shown
        from .tables import markdown, on_node

        table, iou, cases = evaluate(dataset, segmenter)
        text = markdown(table)
        return io.NodeOutput(text, iou, cases, ui=on_node(shown(table, cases), text, cls))


class PairStatistics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_PairStatistics",
            display_name="Pair Statistics",
            category=MENU,
            description=(
                "Measures pairs beside the real defects of the same type, without any training: how visible, how dark "
                "or bright, how hard their edges, how varied, and how near to real ones."
            ),
            inputs=[
                Dataset.Input("dataset", tooltip="From Split Defect Dataset: the real defects of both parts."),
                io.String.Input(
                    "pairs",
                    default="pairs",
                    tooltip="Folder of pairs below ComfyUI's output. Connect Save Pairs' folder, so that the pairs are "
                    "saved first.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "table",
                    display_name="table",
                    tooltip="Markdown: per type a row for the pairs, one for the real defects that "
                    "train, and one for those held back.",
                )
            ],
            is_input_list=True,  # as for Train Segmenter
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, pairs):
        from .saved_pairs import pairs_told

        return pairs_told("Pair Statistics", pairs)

    @classmethod
    def fingerprint_inputs(cls, pairs, **_):
        from .saved_pairs import pairs_state

        # A linked name is not known here: never the same, since pairs may have been deleted after the last look.
        return float("nan") if None in (pairs or []) else pairs_state("Pair Statistics", pairs)

    @classmethod
    def execute(cls, dataset: list, pairs: list[str]) -> io.NodeOutput:
        from .lists import single
        from .pair_table import NODE, pair_table
        from .saved_pairs import saved_pairs
        from .tables import markdown, on_node, picture

        (data,) = single(NODE, dataset=dataset)
        table = pair_table(data, saved_pairs(NODE, pairs, data))
        text = markdown(table)
        return io.NodeOutput(text, ui=on_node(picture(table)[None], text, cls))


NODES = [SplitDataset, TrainSegmenter, EvaluateSegmentation, PairStatistics]
