"""Export Pairs: saved pairs in the format that a trainer reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comfy_api.latest import io, ui

from ..datasets.exports.export import export_pairs
from ..datasets.settings import ExportSettings
from .errors import answer
from .folders import check_written
from .pairs import needed_root, pairs_folder, pairs_root
from .progress import progress
from .sockets import CATEGORY, single, widget


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
                widget(ExportSettings, "format", default="coco"),
                widget(ExportSettings, "segmentation", more="Not used by other formats."),
                widget(ExportSettings, "visible_only", more="Needs Compose Pair's scores on Save Pairs."),
                widget(ExportSettings, "normals"),
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="Folder below ComfyUI's output to write. Empty (default): the name of pairs and the "
                    "format, such as pairs-coco.",
                ),
                widget(ExportSettings, "labels", optional=True),
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
        return answer(cls, pairs_root, pairs or [])

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
        labels: Sequence[str] = (ExportSettings.labels,),
    ) -> io.NodeOutput:
        settings = single(
            format=format,
            segmentation=segmentation,
            visible_only=visible_only,
            normals=normals,
            folder=folder,
            labels=labels,
        )
        path, summary = export_folder(pairs, *settings)
        return io.NodeOutput(str(path), summary, ui=ui.PreviewText(f"{summary}\n{path}"))


def export_folder(
    names: Sequence[str], format: str, segmentation: str, visible_only: bool, normals: bool, folder: str, labels: str
) -> tuple[Path, str]:
    """Where the export is, and what it holds, in words.

    Args:
        names: of the folder of pairs, perhaps many times the same.
        folder: of the export, below the host's output; "": beside the pairs.

    Raises:
        Refused: several folders, no such folder, no pairs to write, a folder that holds something else.
        OSError: the folder cannot be written; the next run goes on.
    """
    root = needed_root(names)
    out = pairs_folder(folder.strip()) if folder.strip() else root.with_name(f"{root.name}-{format}")
    check_written(out)
    done = export_pairs(
        root,
        out,
        format,
        segmentation=segmentation if format == "coco" else None,
        visible_only=visible_only,
        normals=normals,
        labels=labels,
        resume=True,
        report=progress(),
    )
    return out, done.summary()


NODES = [ExportPairs]
