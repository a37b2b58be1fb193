"""Write synthetic pairs as a folder in MVTec layout, and continue an interrupted run."""

from __future__ import annotations

import filecmp
import logging
import os
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .claim import claim, json_text
from .json_lines import append_line, complete_lines, keep_lines, parse_line, read_lines
from .pair_identity import content
from .pictures import Picture, remove_quietly, write_atomic, write_mask, write_picture

_log = logging.getLogger(__name__)
RUN, MANIFEST = "run.json", "manifest.jsonl"
_DROPPED = "dropped.jsonl"
# Keys of a line that tell what a pair is judged by, null where it is not known; see synthesis.pair_check.Scores.
SCORES = (
    "visibility", "strength", "excess", "contrast", "completeness", "precision", "boundary", "seam",
    "nearest_real",
)  # fmt: skip


class PairWriter:
    """Writes or drops pairs 0, 1, 2, ... of one run; each counts once its line is on the disk.

    root: the folder; run: the settings that define the run (JSON-able), kept in run.json; resume: continue a folder of
    the same settings after its last whole pair; growing: take every complete line of the manifest as it stands, for a
    folder that is added to for long and weeded by hand (pairs whose files were deleted keep their line). A folder that
    holds run.json alone counts as empty: the run that left it was stopped before its first pair, and must not block
    the corrected one.
    Raises ValueError if root holds something and resume is not set, if it holds no run or one of other settings, or if
    run is not JSON-able; OSError if the folder cannot be written.
    """

    def __init__(
        self, root: str | Path, run: Mapping[str, Any], resume: bool = False, growing: bool = False
    ) -> None:
        self.root, self._growing = Path(root), growing
        resumed = claim(self.root, "run", RUN, run, resume)
        self._written, self._dropped = 0, 0
        self._taken: set[str] = set()  # the pairs' images, not their lines: a run may be long
        if resumed:
            self._take_whole_pairs()
        self._placed: dict[tuple[str, Path], str] = {}

    @property
    def done(self) -> int:
        """Pairs written and dropped so far, and so the index of the next."""
        return self._written + self._dropped

    def mean(self, key: str) -> float:
        """Mean of a number in the manifest's lines; 0 for an empty folder."""
        return sum(line[key] for line in read_manifest(self.root)) / self._written if self._written else 0

    def drop(self, index: int, record: Mapping[str, Any]) -> None:
        """Leave pair `index`, which must be `done`, out of the folder for good: a line in dropped.jsonl remembers it.

        record: JSON-able entries of that line. Raises ValueError as `write`, OSError if the folder cannot be written.
        """
        self._check_index(index)
        json_text(record, f"the record of pair {index}")
        (self.root / MANIFEST).touch()  # a folder whose pairs were all dropped is one of no pairs
        append_line(self.root / _DROPPED, {"index": index, **record})
        self._dropped += 1

    def write(
        self,
        *,
        index: int,
        object: str,
        type: str,
        stem: str,
        picture: Picture,
        mask: torch.Tensor | np.ndarray,
        normal_source: str | Path | Picture,
        record: Mapping[str, Any],
    ) -> None:
        """Write pair `index`, which must be `done`: <object>/test/<type>/<stem>.png, its mask and its normal image.

        mask: [H, W] of the picture's size, bool or non-zero for defect, not empty; normal_source: the file of the
        normal image (linked, else copied) or a picture; record: further JSON-able entries of the manifest line.
        Raises ValueError before anything is written for an index out of order, an empty mask or one of another size, a
        name that is no plain file name or already taken; OSError if the disk is full or read-only: the pair then is
        not there, and may be written again.
        """
        values = np.asarray(mask.detach().cpu() if isinstance(mask, torch.Tensor) else mask) != 0
        self._check_index(index)
        check_names(object=object, type=type, stem=stem)
        _check_mask(values, picture, f"pair {index} ({object}, {type}, {stem})")
        image = f"{object}/test/{type}/{stem}.png"
        truth = f"{object}/ground_truth/{type}/{stem}_mask.png"
        if image in self._taken:
            raise ValueError(f"pair {index}: {image} is taken by another pair; give every pair of a type its own stem")
        own = {"index": index, "image": image, "mask": truth, "normal": "", "object": object, "type": type}
        if set(own) & set(record):
            raise ValueError(f"pair {index}: the record sets {sorted(set(own) & set(record))}; the writer sets these")
        json_text(record, f"the record of pair {index}")
        own["normal"] = self._place_normal(object, normal_source)
        try:
            write_mask(self._made(truth), values)  # the mask first: an image without one would not be readable
            write_picture(self._made(image), picture)
            append_line(self.root / MANIFEST, {**own, **record})
        except BaseException:
            remove_quietly(self.root / image)
            remove_quietly(self.root / truth)
            raise
        self._written += 1
        self._taken.add(image)

    def _take_whole_pairs(self) -> None:
        """Count the lines up to the first that is cut or whose files do not open; the rest is cut off."""
        dropped = {line.get("index") for line in read_dropped(self.root)}
        for raw in complete_lines(self.root / MANIFEST):
            self._pass_dropped(dropped)
            line = parse_line(raw, f"{self.root / MANIFEST}, line {self._written + 1}")
            if self._growing and isinstance(line.get("index"), int):
                self._dropped += max(line["index"] - self.done, 0)  # dropped.jsonl was weeded by hand, too
            if not self._is_whole(line):
                break
            self._written += 1
            self._taken.add(line["image"])
        self._pass_dropped(dropped)
        counts = (MANIFEST, self._written), (_DROPPED, self._dropped)
        if any([keep_lines(self.root / name, count) for name, count in counts]):
            last = self.done - 1
            _log.warning("%s: continued after pair %d; what follows was not whole", self.root / MANIFEST, last)

    def _pass_dropped(self, dropped: Set[int]) -> None:
        while self.done in dropped:
            self._dropped += 1

    def _is_whole(self, line: Mapping[str, Any]) -> bool:
        """Is this the next pair's line, and do its files open?"""
        paths = [self.root / line.get(key, "") for key in ("image", "mask", "normal")]
        return line.get("index") == self.done and (self._growing or all(map(_opens, paths)))

    def _check_index(self, index: int) -> None:
        if index != self.done:
            raise ValueError(f"pair {index}: out of order; the next to write is {self.done}")

    def _place_normal(self, object_name: str, source: str | Path | Picture) -> str:
        """Put the normal into train/good and test/good unless it is there; its path relative to root."""
        folder = f"{object_name}/train/good"
        if isinstance(source, Picture):
            name = f"normal_{content(source)}.png"
            if not _opens(self.root / folder / name):
                write_picture(self._made(f"{folder}/{name}"), source)
        else:
            name = self._place_file(folder, Path(source).resolve())
        link(self.root / folder / name, self._made(f"{object_name}/test/good/{name}"))
        return f"{folder}/{name}"

    def _place_file(self, folder: str, source: Path) -> str:
        """Link or copy the file, under another name if a different file has its name; the name used."""
        number = 1
        while (folder, source) not in self._placed:
            name = source.name if number == 1 else f"{source.stem}_{number}{source.suffix}"
            target = self._made(f"{folder}/{name}")
            if not target.exists():
                link(source, target)
            if filecmp.cmp(source, target, shallow=False):
                self._placed[folder, source] = name
            number += 1
        return self._placed[folder, source]

    def _made(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def read_manifest(root: str | Path) -> list[dict[str, Any]]:
    """The manifest's lines in index order; a last line that is cut is left out. Paths in them are relative to root.

    Raises ValueError if there is no manifest or a line is damaged.
    """
    return list(manifest_lines(root))


def manifest_lines(root: str | Path) -> Iterator[dict[str, Any]]:
    """As `read_manifest`, one line after the other, for a folder of any length."""
    path = Path(root) / MANIFEST
    if not path.is_file():
        raise ValueError(f"{root}: no {MANIFEST}; give a folder that holds synthetic pairs")
    yield from read_lines(path)


def read_dropped(root: str | Path) -> list[dict[str, Any]]:
    """The lines of the pairs that were dropped, in index order; none where no pair was."""
    return list(read_lines(Path(root) / _DROPPED))


def check_names(**names: str) -> None:
    """Raise ValueError for an object, type or stem that is no plain file name, and for a type "good"."""
    for what, name in names.items():
        if not name or name.startswith(".") or set(name) & set('/\\\0') or (what == "type" and name == "good"):
            raise ValueError(f"{what} {name!r}: accepted is a file name without slash or leading dot; no type 'good'")


def _check_mask(mask: np.ndarray, picture: Picture, what: str) -> None:
    if mask.shape != picture.size:
        raise ValueError(
            f"{what}: the mask has shape {list(mask.shape)}, the picture {list(picture.size)} (height, width); "
            "they must be the same"
        )
    if not mask.any():
        raise ValueError(f"{what}: the mask is empty; a pair needs at least one defect pixel; draw another mask")


def _opens(path: Path) -> bool:
    """Whether the file is an image, and whole by its checksums."""
    try:
        with Image.open(path) as image:
            image.verify()
    except Exception:  # Pillow raises many kinds for damaged files; each means: make it again
        return False
    return True


def link(source: Path, target: Path) -> None:
    """Make target the file at source, by a hard link where that works, else a copy; what is there already stays."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        write_atomic(target, source.read_bytes())
