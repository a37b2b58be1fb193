"""Menu "dataset": what a dataset and a folder of pairs hold, to look at before one trains on them."""

from __future__ import annotations

from comfy_api.latest import io

from .folders import AS_TYPED, chosen
from .sockets import CATEGORY, LAYOUTS, dataset_menu

MENU = f"{CATEGORY}/dataset"
# As in synthesis.worst, which is not imported before a node runs; a test holds them together.
SCORES = ["visibility", "strength", "excess", "completeness", "precision", "boundary", "seam", "nearest_real"]


class InspectDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_InspectDataset",
            display_name="Inspect Dataset",
            category=MENU,
            description=(
                "Reads a dataset once, in any common layout, and shows what it holds: images per object and type, "
                "masks by area, examples with the mask's outline, and all that is wrong with it."
            ),
            inputs=[
                io.String.Input(
                    "folder",
                    default="procedural surfaces",
                    tooltip="A dataset's folder, its path or its name below ComfyUI's input: MVTec AD or LOCO, BTAD, "
                    "VisA, COCO, LabelMe, or images and masks of one name. 'procedural surfaces' (default) is built "
                    "in: those of Split Defect Dataset.",
                ),
                io.Combo.Input(
                    "layout",
                    options=LAYOUTS,
                    default=LAYOUTS[0],
                    tooltip="What the folder is read as. auto (default) finds out, and the report says why; name it "
                    "where the folder fits several.",
                ),
                dataset_menu(),
            ],
            outputs=[
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="What `anomaly-synthesis inspect` prints: "
                    "counts, sizes, masks by area, groups, and every problem with what to do about it.",
                ),
                io.Image.Output(
                    "picture",
                    display_name="picture",
                    tooltip="Counts, mask areas and five examples of every type, and the problems.",
                ),
                io.String.Output("kinds", display_name="kinds", tooltip="One 'object / type' a line, for Batch Plan."),
                io.Int.Output(
                    "unusable",
                    display_name="unusable",
                    tooltip="Problems for which other nodes refuse the dataset; 0 where it can be used.",
                ),
                io.String.Output(
                    "dataset_folder",
                    display_name="folder",
                    tooltip="Path of the folder that was read, for Load Defect Dataset and Split Defect Dataset.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, folder, choose=AS_TYPED):
        from .inspected import check_folder

        folder = chosen(folder, choose)
        try:
            if folder is not None:  # None: another node will tell it
                check_folder(folder)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder, layout, choose=AS_TYPED):
        from .inspected import state

        folder = chosen(folder, choose)
        return None if folder is None else state(folder, layout)

    @classmethod
    def execute(cls, folder: str, layout: str, choose: str = AS_TYPED) -> io.NodeOutput:
        from .inspected import inspected
        from .tables import on_node

        report, picture, *others = inspected(chosen(folder, choose), layout)
        return io.NodeOutput(report, picture, *others, ui=on_node(picture, report, cls))


class WorstPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_WorstPairs",
            display_name="Worst Pairs",
            category=MENU,
            description=(
                "Shows the pairs of a folder that do worst by one of their scores, close up: normal, result, result "
                "with the mask's outline, and all scores in words. Look at them before you train."
            ),
            inputs=[
                io.String.Input(
                    "pairs",
                    default="pairs",
                    tooltip="Folder of pairs below ComfyUI's output. Connect Save Pairs' folder, so that the pairs are "
                    "saved first.",
                ),
                io.Combo.Input(
                    "by",
                    options=SCORES,
                    default=SCORES[0],
                    tooltip="The score; only those that the folder's manifest has. Of visibility (default), strength, "
                    "excess, completeness, precision and boundary the lowest are shown, of seam and nearest_real the "
                    "highest.",
                ),
                io.Int.Input(
                    "count",
                    default=12,
                    min=1,
                    max=100,
                    tooltip="How many pairs are shown, 1 to 100. Default 12; up to 3 stand in one column.",
                ),
            ],
            outputs=[
                io.Image.Output("sheet", display_name="sheet", tooltip="All of them as one picture, the worst first."),
                io.String.Output(
                    "table",
                    display_name="table",
                    tooltip="Markdown: file, index, object / type, scores; "
                    "then how many pairs there are, and the types of the worst.",
                ),
                io.Int.Output(
                    "indices",
                    display_name="indices",
                    is_output_list=True,
                    tooltip="Their indices in manifest.jsonl, the worst first.",
                ),
            ],
            is_input_list=True,  # pairs that were saved one by one bring their folder's name as often
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, pairs):
        from .saved_pairs import pairs_told

        return pairs_told("Worst Pairs", pairs)

    @classmethod
    def fingerprint_inputs(cls, pairs, **_):
        from .saved_pairs import pairs_state

        # A linked name is not known here: never the same, since pairs may have been deleted after the last look.
        return float("nan") if None in (pairs or []) else pairs_state("Worst Pairs", pairs)

    @classmethod
    def execute(cls, pairs: list[str], by: list[str], count: list[int]) -> io.NodeOutput:
        from .lists import single
        from .tables import markdown, on_node
        from .worst_pairs import NODE, worst

        sheet, table, indices = worst(pairs, *single(NODE, by=by, count=count))
        text = markdown(table)
        return io.NodeOutput(sheet, text, indices, ui=on_node(sheet, text, cls))


NODES = [InspectDataset, WorstPairs]
