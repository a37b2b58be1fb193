"""What Load Defect Dataset reads: items of a dataset's folder, or of the built-in procedural surfaces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..datasets.reading import read_dataset
from ..datasets.sample import Sample, read_sample
from ..datasets.split import load_split, part_of
from ..errors import Refused
from ..synthesis.demo import SurfaceItems
from ..synthesis.plan import Plan
from .errors import named
from .folders import readable_file, readable_folder, readable_tree
from .images import to_image
from .progress import passes, progress

NODE = "Load Defect Dataset"
BUILT_IN = "procedural surfaces"
_FOLDER = f"give the path of a dataset's folder, a folder's name below ComfyUI's input, or {BUILT_IN!r}"
_SPLIT = "give the path of a split.json, or its name below ComfyUI's input, or leave split empty"
SELECT = ("to synthesize", "normal images", "defect images")


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
        ValueError: no such folder, one in another layout, no such type, nothing to select from, damaged images.
    """
    if select not in SELECT:  # not every host checks a menu's value
        raise Refused("select", repr(select), f"one of {', '.join(SELECT)}", door=NODE)
    with named(NODE):
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
        ValueError: images of different sizes.
    """
    held = list(items)
    sizes = sorted({tuple(item.image.shape[:2]) for item in held})
    if len(sizes) > 1:
        shown = ", ".join(f"{height} x {width}" for height, width in sizes[:5])
        raise Refused(
            "as_batch", f"images of different sizes ({shown}) make no batch", remedy="turn as_batch off", door=NODE
        )
    images, masks = (torch.stack([item[place] for item in held]) for place in (0, 1))
    names = ["\n".join(item[place] for item in held) for place in (2, 3, 4)]
    return [[images], [masks], *([name] for name in names), [held[0].seed]]


def dataset_folder(folder: str) -> Path:
    """The folder that a widget names. Raises ValueError for none that nodes may read, see `folders.readable_folder`."""
    return readable_folder(NODE, folder, _FOLDER)


def dataset_tree(folder: str) -> Path:
    """The same, to read all that lies in it. Raises ValueError for a link that leads elsewhere, too."""
    return readable_tree(NODE, folder, _FOLDER)


def layout_name(layout: str) -> str | None:
    """A widget's choice as the readers take it: None finds out."""
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
    """Raise ValueError where there is no such folder, or no such split.json, that nodes may read. None: another node
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
        raise Refused(folder, f"it holds no {select}" + (f" of type {type!r}" if type else ""), door=NODE)
    return lambda index: _read(kept[index % len(kept)])


def _split_file(split: str) -> list[Path]:
    if not split.strip():
        return []
    return [readable_file(NODE, split, _SPLIT)]


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
            door=NODE,
        )
    return _planned(SurfaceItems())


def _read(sample: Sample) -> Item:
    picture, mask = read_sample(sample)
    shown = torch.zeros(picture.size) if mask is None else mask.float()
    return Item(to_image(picture), shown, sample.object, sample.type, sample.name, 0)
