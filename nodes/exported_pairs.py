"""Pairs of the host's output folder, exported beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..datasets.exports.export import export_pairs
from .errors import named
from .folders import check_written
from .pairs import pairs_folder
from .progress import progress
from .saved_pairs import needed_root

NODE = "Export Pairs"


def export(
    names: Sequence[str], format: str, segmentation: str, visible_only: bool, normals: bool, folder: str
) -> tuple[Path, str]:
    """Where the export is, and what it holds, in words.

    Args:
        names: of the folder of pairs, perhaps many times the same.
        folder: of the export, below the host's output; "": beside the pairs.

    Raises:
        ValueError: several folders, no such folder, no pairs to write, a folder that holds something else.
        OSError: the folder cannot be written; the next run goes on.
    """
    root = needed_root(NODE, names)
    with named(NODE):
        out = pairs_folder(folder.strip()) if folder.strip() else root.with_name(f"{root.name}-{format}")
        check_written(NODE, out)
        done = export_pairs(
            root,
            out,
            format,
            segmentation=segmentation if format == "coco" else None,
            visible_only=visible_only,
            normals=normals,
            resume=True,
            report=progress(),
        )
    return out, done.told()
