"""Split Defect Dataset: images that train and images that are held back, of a folder or built in."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..datasets.groups import find_groups
from ..datasets.procedural import write_surfaces
from ..datasets.reading import read_dataset
from ..datasets.sample import Sample, check_samples
from ..datasets.settings import SplitSettings
from ..datasets.split import Split, load_split, make_split, part_of, save_split
from ..errors import Refused
from ..images.drawing import Table
from . import sockets
from .dataset import BUILT_IN, dataset_folder, dataset_tree, fingerprint, layout_name
from .errors import answer
from .folders import AS_TYPED, chosen, may_read, readable_file
from .progress import passes
from .sockets import CATEGORY, DATA_SEED, LAYOUTS, dataset_menu, widget
from .tables import markdown

# Small enough to train on while one waits. The bundled base was trained on surfaces of seed 0, and those that Load
# Defect Dataset shows are of seed 1: these are seen for the first time here.
SURFACES = {"normals": 12, "defects": 8, "size": 160, "seed": 2}


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
                widget(
                    SplitSettings,
                    "share",
                    more="The rest is held back. Not used where a split.json is given.",
                    default=0.333,
                    min=0.001,
                    max=0.999,
                    step=0.001,
                ),
                io.String.Input(
                    "types",
                    default="",
                    tooltip="Only these defect types, separated by commas or lines; empty (default) is all.",
                ),
                widget(SplitSettings, "seed", more="Not used where a split.json is given.", **DATA_SEED),
                io.Combo.Input(
                    "layout",
                    options=LAYOUTS,
                    default=LAYOUTS[0],
                    optional=True,
                    tooltip="What the folder is read as. auto (default) detects it; name it where the folder fits "
                    "several layouts. Not for the built-in surfaces.",
                ),
                dataset_menu(),
            ],
            outputs=[
                sockets.Dataset.Output(
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
                    "else pairs may be made of the images that you test on.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder, split, choose=AS_TYPED):
        return answer(cls, check_split_folder, chosen(folder, choose), split)

    @classmethod
    def fingerprint_inputs(cls, folder, split, layout="auto", choose=AS_TYPED, **_):
        folder = chosen(folder, choose)
        return None if folder is None or split is None else split_fingerprint(folder, split, layout)

    @classmethod
    def execute(
        cls, folder: str, split: str, share: float, types: str, seed: int, layout: str = "auto", choose: str = AS_TYPED
    ) -> io.NodeOutput:
        dataset, summary = split_dataset(chosen(folder, choose), split, share, types, seed, layout)
        return io.NodeOutput(dataset, summary, str(dataset.file))


@dataclass(frozen=True)
class Dataset:
    """train, held_back: the split's samples, by name; file: its split.json."""

    train: tuple[Sample, ...]
    held_back: tuple[Sample, ...]
    split: Split
    file: Path


def split_dataset(folder: str, split: str, share: float, types: str, seed: int, layout: str) -> tuple[Dataset, str]:
    """The dataset, and a summary of its split.

    Args:
        folder: as Load Defect Dataset takes it.
        split: path of a split.json, absolute or below the host's input; empty splits here, by `share` and `seed`.
        types: by commas or lines; empty is all.
        layout: "auto", or the name of one.

    Raises:
        Refused: no such folder, file or type, an unknown layout, a damaged image, a split of other data, or one that
            holds back no defect.
    """
    warnings: list[str] = []
    with passes():
        built_in = folder.strip() == BUILT_IN
        root = surfaces_folder() if built_in else dataset_tree(folder)
        wanted = [type.strip() for type in re.split("[,\n]", types) if type.strip()] or None
        samples = read_dataset(root, wanted, None if built_in else layout_name(layout), note=warnings.append)
        if split.strip():
            file, source = _split_file(split), split.strip()
            made = load_split(file)
        else:
            if built_in:
                groups, source = _each(samples)
            else:
                groups, source = find_groups(samples, root, may_read=may_read, note=warnings.append)
            made = make_split(samples, groups, seed, share, note=warnings.append)
            file = _kept(made)
        train, held_back = (part_of(made, samples, part) for part in ("train", "held_back"))
        check_samples([*train, *held_back])
        _check_testable(held_back)
    return Dataset(tuple(train), tuple(held_back), made, file), _summary(samples, made, source, warnings)


def split_fingerprint(folder: str, split: str, layout: str) -> str:
    """Changes where a file of the dataset, its split or its groups change. Raises Refused for a missing one."""
    seen = fingerprint(folder, str(_split_file(split)) if split.strip() else "", layout)
    if folder.strip() == BUILT_IN:
        return seen
    root = dataset_folder(folder)
    manifests = [path / "manifest.csv" for path in (root, root.resolve().parent)]
    return seen + "".join(f" {path.stat().st_mtime_ns}" for path in manifests if may_read(path) and path.is_file())


def check_split_folder(folder: str, split: str) -> None:
    """Raise Refused where there is no such folder or no such file."""
    if folder.strip() != BUILT_IN:
        dataset_folder(folder)
    if split.strip():
        _split_file(split)


def surfaces_folder() -> Path:
    """The built-in data, written once per start of the host: its folder for temporary files is emptied then."""
    folder = temporary() / "surfaces"
    if not folder.exists():
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            write_surfaces(unfinished, **SURFACES).rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _kept(split: Split) -> Path:
    """The file of a split that was made here, for the nodes that read one."""
    file = temporary() / f"split-{split.digest[:16]}-{split.seed}-{split.share}.json"
    save_split(split, file)
    return file


def temporary() -> Path:
    """The pack's part of the host's folder for temporary files, which is emptied when the host starts."""
    folder = Path(folder_paths.get_temp_directory()) / "anomaly_synthesis"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _split_file(split: str) -> Path:
    remedy = "give the path of a split.json, or its name below ComfyUI's input, or leave split empty to split here"
    return readable_file(split, remedy)


def _each(samples: Sequence[Sample]) -> tuple[dict[str, str], str]:
    return {sample.name: sample.name for sample in samples}, "every image by itself"


def _check_testable(held_back: Sequence[Sample]) -> None:
    if not any(sample.mask for sample in held_back):
        raise Refused(
            "split",
            f"none of the {len(held_back)} held-back images has a defect, so that nothing could be tested",
            remedy="choose a smaller share or other types, or add images of other parts",
        )


def _summary(samples: Sequence[Sample], split: Split, source: str, warnings: Sequence[str]) -> str:
    sides = [set(side) for side in (split.train, split.held_back, split.dropped)]
    rows = []
    for kind in sorted({(sample.object, sample.type) for sample in samples}):
        names = {sample.name for sample in samples if (sample.object, sample.type) == kind}
        rows.append([" / ".join(kind), *(str(len(names & side)) for side in sides)])
    groups = len({split.groups[sample.name] for sample in samples})
    notes = [f"{len(samples)} images in {groups} groups, from {source}.", *(f"Warning: {one}." for one in warnings)]
    return markdown(Table(["object / type", "train", "held back", "dropped"], rows, notes))


NODES = [SplitDataset]
