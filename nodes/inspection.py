"""Inspect Dataset and Worst Pairs: what a dataset and a folder of pairs hold, to look at before one trains on them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from comfy_api.latest import io
from torch import Tensor

from ..datasets.inspection import inspect_dataset
from ..datasets.inspection_sheet import DatasetSheet
from ..datasets.inspection_text import as_text
from ..datasets.reading import find_dataset
from ..images.drawing import Table
from ..synthesis.settings import WorstSettings
from ..synthesis.sheets import worst_sheet
from ..synthesis.worst import Worst, summary, value, words, worst_pairs
from .dataset import BUILT_IN, check_dataset, dataset_tree, layout_name
from .errors import answer
from .folders import AS_TYPED, chosen, may_read
from .images import to_batch
from .pairs import needed_root, pairs_root, pairs_state
from .progress import passes, progress
from .sockets import CATEGORY, LAYOUTS, dataset_menu, single, widget
from .split_dataset import surfaces_folder
from .tables import markdown, on_node


class InspectDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_InspectDataset",
            display_name="Inspect Dataset",
            category=f"{CATEGORY}/dataset",
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
                    tooltip="What the folder is read as. auto (default) detects it, and the report says why; name it "
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
        return answer(cls, check_dataset, chosen(folder, choose))

    @classmethod
    def fingerprint_inputs(cls, folder, layout, choose=AS_TYPED):
        folder = chosen(folder, choose)
        return None if folder is None else report_fingerprint(folder, layout)

    @classmethod
    def execute(cls, folder: str, layout: str, choose: str = AS_TYPED) -> io.NodeOutput:
        report, picture, *others = inspect_folder(chosen(folder, choose), layout)
        return io.NodeOutput(report, picture, *others, ui=on_node(picture, report, cls))


class WorstPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_WorstPairs",
            display_name="Worst Pairs",
            category=f"{CATEGORY}/dataset",
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
                widget(WorstSettings, "by", more="Only scores that the folder's manifest has."),
                widget(WorstSettings, "count", more="Up to 3 are in one column.", max=100),
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
        return answer(cls, pairs_root, pairs or [])

    @classmethod
    def fingerprint_inputs(cls, pairs, **_):
        # A linked name is not known here: never the same, since pairs may have been deleted after the last look.
        return float("nan") if None in (pairs or []) else pairs_state(pairs)

    @classmethod
    def execute(cls, pairs: list[str], by: list[str], count: list[int]) -> io.NodeOutput:
        sheet, table, indices = worst(pairs, *single(by=by, count=count))
        text = markdown(table)
        return io.NodeOutput(sheet, text, indices, ui=on_node(sheet, text, cls))


def inspect_folder(folder: str, layout: str) -> tuple[str, Tensor, str, int, str]:
    """The report, the picture [1, h, w, 3] in 0 .. 1, the kinds by lines, how many problems must be fixed, the path.

    Images are read one by one, and of every type five small examples are kept.

    Raises:
        Refused: no such folder, or one in no known layout, or in several. Any other problem is in the report.
    """
    sheet = DatasetSheet()
    found = inspect_dataset(_root(folder), layout_name(layout), progress(), sheet.look, may_read)
    kinds = [f"{name} / {type}" for name, one in found.objects.items() for type in one.types]
    picture = to_batch([sheet.picture(found) / 255])
    return as_text(found, None), picture, "\n".join(kinds), found.unusable, found.root


def report_fingerprint(folder: str, layout: str) -> str:
    """Changes where a file of the dataset, its problems or its groups change; of a folder that cannot be read, too."""
    if folder.strip() == BUILT_IN:
        return BUILT_IN
    try:
        root = _root(folder)
        dataset = find_dataset(root, layout_name(layout))
    except ValueError as error:
        return str(error)
    manifests = [path / "manifest.csv" for path in (root, root.resolve().parent)]
    manifests = [path for path in manifests if may_read(path)]
    files = [*(file for sample in dataset.samples for file in sample.files), *manifests]
    states = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file()]
    return hashlib.sha256(repr((states, dataset.problems)).encode()).hexdigest()


def _root(folder: str) -> Path:
    return surfaces_folder() if folder.strip() == BUILT_IN else dataset_tree(folder)


def worst(names: Sequence[str], by: str, count: int) -> tuple[Tensor, Table, list[int]]:
    """The sheet [1, h, w, 3] in 0 .. 1, the table, and the pairs' indices in the manifest, the worst first.

    Raises:
        Refused: several folders, none, or one that holds no pairs with this score.
    """
    root = needed_root(names)
    with passes():
        found = worst_pairs(root, by, count)
        sheet = worst_sheet(found)
    return to_batch([sheet / 255]), _table(found), [line["index"] for line in found.pairs]


def _table(found: Worst) -> Table:
    head = ["file", "index", "object / type", *map(words, found.scores), "visible"]
    answers = {True: "yes", False: "no", None: "-"}
    rows = [
        [
            line["image"],
            str(line["index"]),
            f"{line['object']} / {line['type']}",
            *(value(line, score) for score in found.scores),
            answers.get(line["visible"], "-"),
        ]
        for line in found.pairs
    ]
    return Table(head, rows, summary(found))


NODES = [InspectDataset, WorstPairs]
