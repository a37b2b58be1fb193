"""Menu "dataset": saved pairs in the format that a trainer reads."""

from __future__ import annotations

from comfy_api.latest import io, ui

from .sockets import CATEGORY

# As in datasets.exports, which is not imported before a node runs; a test holds them together.
FORMATS = ["coco", "yolo", "plain"]
SEGMENTATIONS = ["rle", "polygon"]


class ExportPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_ExportPairs",
            display_name="Export Pairs",
            category=f"{CATEGORY}/dataset",
            description=(
                "Writes the pairs of a folder in the format that a trainer reads: COCO, YOLO segmentation, or images "
                "and masks of one name. Run again, it follows the pairs that came or went. Masks stay exact to the "
                "pixel."
            ),
            inputs=[
                io.String.Input(
                    "pairs",
                    default="pairs",
                    tooltip="Folder of pairs below ComfyUI's output. Connect Save Pairs' folder, so that the pairs are "
                    "saved first. Default pairs.",
                ),
                io.Combo.Input(
                    "format",
                    options=FORMATS,
                    default=FORMATS[0],
                    tooltip="coco (default): annotations/instances.json. yolo: labels/ and data.yaml, polygons. plain: "
                    "images/ and masks/ with files of one name.",
                ),
                io.Combo.Input(
                    "segmentation",
                    options=SEGMENTATIONS,
                    default=SEGMENTATIONS[0],
                    tooltip="Of coco: rle (default), run lengths, or polygon, for trainers that read nothing else. Not "
                    "used by other formats.",
                ),
                io.Boolean.Input(
                    "visible_only",
                    default=False,
                    tooltip="On: leave out pairs whose manifest does not say that they are visible, which are noise in "
                    "the labels; that needs Compose Pair's scores on Save Pairs. Off (default): all pairs.",
                ),
                io.Boolean.Input(
                    "normals",
                    default=True,
                    tooltip="On (default): write their normal images, too, without a label. Off: defects only.",
                ),
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="Folder below ComfyUI's output to write. Empty (default): the name of pairs and the "
                    "format, such as pairs-coco.",
                ),
            ],
            outputs=[
                io.String.Output("path", display_name="path", tooltip="Full path of the export, for a trainer."),
                io.String.Output(
                    "summary",
                    display_name="summary",
                    tooltip="How many pairs and normal images there are, and what was left out.",
                ),
            ],
            is_input_list=True,  # pairs that were saved one by one bring their folder's name as often
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, pairs):
        from .saved_pairs import pairs_told

        return pairs_told("Export Pairs", pairs)

    @classmethod
    def fingerprint_inputs(cls, **_):
        # Never the same: a linked name is not known here, and an export that is up to date is soon looked through.
        return float("nan")

    @classmethod
    def execute(
        cls,
        pairs: list[str],
        format: list[str],
        segmentation: list[str],
        visible_only: list[bool],
        normals: list[bool],
        folder: list[str],
    ) -> io.NodeOutput:
        from .exported_pairs import NODE, export
        from .lists import single

        settings = single(
            NODE, format=format, segmentation=segmentation, visible_only=visible_only, normals=normals, folder=folder
        )
        path, summary = export(pairs, *settings)
        return io.NodeOutput(str(path), summary, ui=ui.PreviewText(f"{summary}\n{path}"))


NODES = [ExportPairs]
