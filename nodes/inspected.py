"""What Inspect Dataset tells: the report of the command `inspect`, its picture, and what other nodes can use of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor

from ..datasets.inspection import inspect_dataset
from ..datasets.inspection_text import as_text
from ..datasets.reading import find_dataset
from ..synthesis.dataset_sheet import DatasetSheet
from .defects import BUILT_IN, dataset_folder, dataset_tree, layout_name
from .errors import named
from .folders import may_read
from .images import to_batch
from .progress import progress
from .split_dataset import surfaces_folder

NODE = "Inspect Dataset"


def inspected(folder: str, layout: str) -> tuple[str, Tensor, str, int, str]:
    """The report, the picture [1, h, w, 3] in 0 .. 1, the kinds by lines, how many problems must be mended, the path.

    Images are read one by one, and of every type five small examples are kept.

    Raises:
        ValueError: no such folder, or one in no known layout, or in several. Any other problem is in the report.
    """
    sheet = DatasetSheet()
    with named(NODE):
        found = inspect_dataset(_root(folder), layout_name(layout), progress(), sheet.look, may_read)
    kinds = [f"{name} / {type}" for name, one in found.objects.items() for type in one.types]
    picture = to_batch([sheet.picture(found) / 255])
    return as_text(found, None), picture, "\n".join(kinds), found.unusable, found.root


def check_folder(folder: str) -> None:
    """Raise ValueError where there is no such folder."""
    with named(NODE):
        if folder.strip() != BUILT_IN:
            dataset_folder(folder)


def state(folder: str, layout: str) -> str:
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
