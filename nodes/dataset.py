"""Load Defect Dataset: items of a dataset's folder, or of the built-in procedural surfaces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from comfy_api.latest import io
from torch import Tensor

from ..datasets.reading import read_dataset
from ..datasets.sample import Sample, read_sample
from ..datasets.split import load_split, part_of
from ..errors import Refused
from ..synthesis.demo import SurfaceItems
from ..synthesis.plan import Plan
from .errors import answer
from .folders import AS_TYPED, chosen, readable_file, readable_folder, readable_tree
from .images import to_image
from .progress import passes, progress
from .provenance import remember_output
from .sockets import CATEGORY, LAYOUTS, MAX_DATA_SEED, NEXT, dataset_menu

BUILT_IN = "procedural surfaces"
_FOLDER = f"give the path of a dataset's folder, a folder's name below ComfyUI's input, or {BUILT_IN!r}"
_SPLIT = "give the path of a split.json, or its name below ComfyUI's input, or leave split empty"
SELECT = ("to synthesize", "normal images", "defect images")


class LoadDefectDataset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_LoadDefectDataset",
            display_name="Load Defect Dataset",
            category=f"{CATEGORY}/dataset",
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
                    options=list(SELECT),
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
                    max=MAX_DATA_SEED,
                    tooltip="For 'to synthesize' from a folder: decides which normal, which mask and where, for every "
                    "index. The command line's --seed.",
                ),
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
        return answer(cls, partial(check_dataset, chosen(folder, choose), split))

    @classmethod
    def fingerprint_inputs(cls, folder, split, layout="auto", choose=AS_TYPED, **_):
        folder = chosen(folder, choose)
        # None: another node computes it, and its own changes count.
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
        items = read_items(chosen(folder, choose), select, index, count, type, split, plan_seed, layout)
        outputs = batched(items) if as_batch else listed(items)
        remember_output(cls.hidden, 5, outputs[5])
        return io.NodeOutput(*outputs)


class Item(NamedTuple):
    """An image [H, W, 3], its mask [H, W] (all 0 for normal images), its names, and the seed to synthesize it with."""

    image: Tensor
    mask: Tensor
    object: str
    type: str
    name: str
    seed: int


def read_items(
    folder: str, select: str, index: int, count: int, type: str, split: str, seed: int, layout: str
) -> Iterator[Item]:
    """Items index .. index + count - 1, read one by one; beyond the last it starts again at the first.

    Raises:
        Refused: no such folder, one in another layout, no such type, nothing to select from, damaged images.
    """
    if select not in SELECT:  # not every host checks a menu's value
        raise Refused("select", repr(select), f"one of {', '.join(SELECT)}")
    with passes():
        item = _items(folder, select, type, split, seed, layout)
    report = progress()
    for offset in range(count):
        yield item(index + offset)
        report(offset + 1, count)


def listed(items: Iterator[Item]) -> list[list]:
    """A list per field, every image a batch of its own."""
    return [list(field) for field in zip(*((i.image[None], i.mask[None], *i[2:]) for i in items), strict=True)]


def batched(items: Iterator[Item]) -> list[list]:
    """The same, with one batch of images and masks, names in lines, and the first seed.

    Raises:
        Refused: images of different sizes.
    """
    held = list(items)
    sizes = sorted({tuple(item.image.shape[:2]) for item in held})
    if len(sizes) > 1:
        shown = ", ".join(f"{height} x {width}" for height, width in sizes[:5])
        raise Refused("as_batch", f"images of different sizes ({shown}) make no batch", remedy="turn as_batch off")
    images, masks = (torch.stack([item[place] for item in held]) for place in (0, 1))
    names = ["\n".join(item[place] for item in held) for place in (2, 3, 4)]
    return [[images], [masks], *([name] for name in names), [held[0].seed]]


def dataset_folder(folder: str) -> Path:
    """The folder that a widget names. Raises Refused for none that nodes may read, see `folders.readable_folder`."""
    return readable_folder(folder, _FOLDER)


def dataset_tree(folder: str) -> Path:
    """The same, to read all that lies in it. Raises Refused for a link that leads elsewhere, too."""
    return readable_tree(folder, _FOLDER)


def layout_name(layout: str) -> str | None:
    """A widget's choice as the readers take it: None detects it."""
    return None if layout == "auto" else layout


def fingerprint(folder: str, split: str, layout: str = "auto") -> str:
    """Changes where a file of the dataset or its split changes."""
    if folder.strip() == BUILT_IN:
        return BUILT_IN
    samples = read_dataset(dataset_tree(folder), layout=layout_name(layout))
    files = [file for sample in samples for file in sample.files]
    states = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in [*files, *_split_file(split)]]
    return hashlib.sha256(repr(states).encode()).hexdigest()


def check_dataset(folder: str | None, split: str | None = "") -> None:
    """Raise Refused where there is no such folder, or no such split.json, that nodes may read. None: another node
    gives it."""
    if folder is not None and folder.strip() != BUILT_IN:
        dataset_folder(folder)
    _split_file(split or "")


def _items(folder: str, select: str, type: str, split: str, seed: int, layout: str) -> Callable[[int], Item]:
    if folder.strip() == BUILT_IN:
        return _surfaces(select)
    samples = read_dataset(dataset_tree(folder), [type.strip()] if type.strip() else None, layout_name(layout))
    for file in _split_file(split):
        samples = part_of(load_split(file), samples, "train")
    if select == "to synthesize":
        return _planned(Plan(samples, samples, seed))
    kept = [sample for sample in samples if (sample.type == "good") == (select == "normal images")]
    if not kept:
        raise Refused(folder, f"it holds no {select}" + (f" of type {type!r}" if type else ""))
    return lambda index: _read(kept[index % len(kept)])


def _split_file(split: str) -> list[Path]:
    if not split.strip():
        return []
    return [readable_file(split, _SPLIT)]


def _planned(plan) -> Callable[[int], Item]:
    def item(index: int) -> Item:
        planned = plan.item(index)
        job = planned.job
        return Item(to_image(job.picture), job.mask.float(), job.object, job.type, planned.normal_name, job.seed)

    return item


def _surfaces(select: str) -> Callable[[int], Item]:
    if select != "to synthesize":
        raise Refused(
            "select",
            f"the {BUILT_IN} have no {select}, only items to synthesize",
            remedy="write a whole dataset of them with `anomaly-synthesis surfaces`",
        )
    return _planned(SurfaceItems())


def _read(sample: Sample) -> Item:
    picture, mask = read_sample(sample)
    shown = torch.zeros(picture.size) if mask is None else mask.float()
    return Item(to_image(picture), shown, sample.object, sample.type, sample.name, 0)


NODES = [LoadDefectDataset]
