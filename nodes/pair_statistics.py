"""Pair Statistics: pairs beside the real defects of a dataset, in numbers that need no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comfy_api.latest import io

from ..datasets.sample import Sample
from ..errors import Refused
from ..evaluation.pair_statistics import Defect, measure_samples, summary
from ..images.drawing import Table, table_picture
from . import sockets
from .errors import answer
from .pairs import pairs_root, pairs_state, saved_pairs
from .progress import passes
from .sockets import CATEGORY, single
from .split_dataset import Dataset
from .tables import markdown, on_node

HEAD = [
    "object / type",
    "count",
    "visible %",
    "contrast 10 %",
    "median",
    "90 %",
    "seam",
    "diversity / train",
    "/ held back",
    "nearest / train",
    "/ held back",
    "refined %",
]

NOTES = [
    "Contrast: (defect - surroundings) in spreads of the surroundings, negative is darker; visible: above 0.5 either "
    "way. Seam: step at the mask's edge over the surface's own; 1 is none.",
    "Diversity: spread among the pairs over that of the real defects; 1 is as varied. Nearest: distance to the nearest "
    "real defect over their own; 1 is as near as they are to each other. Refined: share "
    "of the mask that the refined one keeps, over the pairs that have one.",
]

UNDEFINED = "- is not defined: fewer than two defects to compare with, or the same ones."
PARTS = {"train": "real, train", "held_back": "real, held back"}


class PairStatistics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_PairStatistics",
            display_name="Pair Statistics",
            category=f"{CATEGORY}/evaluation",
            description=(
                "Measures pairs beside the real defects of the same type, without any training: how visible, how dark "
                "or bright, how hard their edges, how varied, and how near to real ones."
            ),
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="From Split Defect Dataset: the real defects of both parts."),
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
        return answer(cls, pairs_root, pairs or [])

    @classmethod
    def fingerprint_inputs(cls, pairs, **_):
        # A linked name is not known here: never the same, since pairs may have been deleted after the last look.
        return float("nan") if None in (pairs or []) else pairs_state(pairs)

    @classmethod
    def execute(cls, dataset: list, pairs: list[str]) -> io.NodeOutput:
        (data,) = single(dataset=dataset)
        table = pair_table(data, saved_pairs(pairs, data))
        text = markdown(table)
        return io.NodeOutput(text, ui=on_node(table_picture(table)[None], text, cls))


def pair_table(dataset: Dataset, pairs: Sequence[Sample]) -> Table:
    """A row per type for the pairs, one for the real defects that train, and one for those held back.

    Raises:
        Refused: no pairs, a picture that cannot be read.
    """
    if not pairs:
        raise Refused("pairs", "empty", remedy="connect Save Pairs' folder, or give its name")
    with passes():
        made, train, held_back = (_measured(samples) for samples in (pairs, dataset.train, dataset.held_back))
    rows = []
    for kind in sorted(made):
        real = {"train": train.get(kind, []), "held_back": held_back.get(kind, [])}
        rows.append(_row(f"{' / '.join(kind)}: pairs", made[kind], real))
        for part, words in PARTS.items():
            if real[part]:  # compared with the other part alone
                rows.append(_row(f"{' / '.join(kind)}: {words}", real[part], real | {part: []}))
    return Table(HEAD, rows, [*NOTES, UNDEFINED] if any("-" in row for row in rows) else NOTES)


def _measured(samples: Sequence[Sample]) -> dict[tuple[str, str], list[Defect]]:
    defects = [sample for sample in samples if sample.mask is not None]
    found: dict[tuple[str, str], list[Defect]] = {}
    for sample, defect in zip(defects, measure_samples(defects), strict=True):
        found.setdefault((sample.object, sample.type), []).append(defect)
    return found


def _row(words: str, defects: Sequence[Defect], real: Mapping[str, Sequence[Defect]]) -> list[str]:
    against = [summary(defects, real[part]) for part in PARTS]
    own = against[0]
    return [
        words,
        str(len(defects)),
        f"{100 * own['visible']:.0f}",
        *(f"{own[name]:+.2f}" for name in ("contrast_low", "contrast", "contrast_high")),
        f"{own['seam']:.2f}",
        *(_ratio(found[name]) for name in ("diversity", "nearest") for found in against),
        "" if own["refined"] is None else f"{100 * own['refined']:.0f}",
    ]


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


NODES = [PairStatistics]
