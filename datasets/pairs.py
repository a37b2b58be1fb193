"""Write synthetic pairs as a folder in MVTec layout, and continue an interrupted run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import Refused
from ..files.claim import claim, json_text
from ..files.durable import make_folder, remove_quietly, sync_folder
from ..files.json_lines import IndexedLines, complete_lines, cut_tail, is_indexed, parse_line, read_lines
from ..files.relative_path import below, check_relative, name_problem
from ..images.pictures import Picture, write_mask, write_picture
from .normal_images import NormalImages
from .pair_stock import Stock, take_stock
from .sample import Sample

_log = logging.getLogger(__name__)
RUN, MANIFEST = "run.json", "manifest.jsonl"
_DROPPED = "dropped.jsonl"
_PATHS = ("image", "mask", "normal", "refined_mask")
REFINED = "refined"  # folder of an object's refined masks, beside ground_truth
# Files beside the objects' folders: an object of such a name would keep them from being written.
_RECORDS = {RUN, MANIFEST, _DROPPED, f"{MANIFEST}.late", f"{_DROPPED}.late", "workflow.json", "sheet.png"}
# Keys of a line that hold the scores of a pair, null where one is not known; see synthesis.scores.Scores.
SCORES = (
    "visibility",
    "strength",
    "excess",
    "contrast",
    "completeness",
    "precision",
    "boundary",
    "seam",
    "nearest_real",
)


class PairWriter:
    """Writes or drops pairs 0, 1, 2, ... of one run; each counts once its line is on the disk, after its files.

    root: the folder; run: the settings that define the run (JSON-able), kept in run.json; resume: continue a folder of
    the same settings; pairs that were lost or damaged are `lost` and may be written again, all others stay; growing:
    take every complete line of the manifest as it stands, for a folder that is added to for long and weeded by hand
    (pairs whose files were deleted keep their line). A folder that holds run.json alone counts as empty: the run that
    left it was stopped before its first pair, and must not block the corrected one.
    The folder is locked against other processes until `close`, or until the writer is gone.
    Raises Refused if another process writes there, if root holds something and resume is not set, if it holds no run
    or one of other settings, or if run is not JSON-able; OSError if the folder cannot be written.
    """

    def __init__(self, root: str | Path, run: Mapping[str, Any], resume: bool = False, growing: bool = False) -> None:
        self.root = Path(root)
        resumed, self._lock = claim(self.root, "run", RUN, run, resume)
        self._pairs, self._drops = IndexedLines(self.root / MANIFEST), IndexedLines(self.root / _DROPPED)
        self._normals = NormalImages(self.root)
        self._stock = Stock()  # of images, not of lines: a run may be long
        if resumed:
            try:
                self._stock = self._grown() if growing else self._looked_at()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Put all lines in order and let others write here; nothing more may be written."""
        try:
            self._settle()
        finally:
            self._lock.release()

    def __enter__(self) -> PairWriter:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def done(self) -> int:
        """Index of the next pair: the first that is lost, else the one after the last that was written or dropped."""
        return next(iter(self._stock.lost), self._stock.end)

    @property
    def end(self) -> int:
        """Index after the last pair that was written or dropped."""
        return self._stock.end

    @property
    def lost(self) -> Mapping[int, Mapping[str, Any] | None]:
        """The pairs before `end` that must be made again: index -> line, None where the line is lost, too."""
        return dict(self._stock.lost)

    @property
    def lost_normals(self) -> Mapping[str, int]:
        """Normal images that are lost, each with the index of a whole pair that needs it; see `restore_normal`."""
        return dict(self._stock.normals)

    def missing(self, count: int) -> list[int]:
        """The indices below `count` that are neither written nor dropped, in order."""
        return [index for index in self._stock.lost if index < count] + list(range(self._stock.end, count))

    def restore_normal(self, name: str, source: str | Path | Picture) -> None:
        """Make a lost normal image again, from where it came. Raises OSError."""
        self._normals.restore(name, source)
        self._stock.normals.pop(name, None)

    def lose(self, index: int) -> None:
        """Take the line of pair `index` out: it is `lost` from now on. Raises OSError."""
        line = next(line for line in read_manifest(self.root) if line["index"] == index)
        self._pairs.take(lambda other: other["index"] != index)
        self._stock.images.discard(line["image"])
        self._stock.normals.pop(line["normal"], None)
        self._stock.lost = dict(sorted((self._stock.lost | {index: line}).items()))

    def mean(self, key: str) -> float:
        """Mean of a number in the manifest's lines; 0 for an empty folder."""
        values = [line[key] for line in read_manifest(self.root)] if (self.root / MANIFEST).exists() else []
        return sum(values) / len(values) if values else 0

    def drop(self, index: int, record: Mapping[str, Any]) -> None:
        """Leave pair `index`, which must be `done` or `lost`, out for good: a line in dropped.jsonl remembers it.

        record: JSON-able entries of that line. Raises Refused as `write`, OSError if the folder cannot be written.
        """
        self._check_index(index)
        json_text(record, f"the record of pair {index}")
        (self.root / MANIFEST).touch()  # a folder whose pairs were all dropped is one of no pairs
        self._drops.append({"index": index, **record})
        self._count(index)

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
        refined: torch.Tensor | np.ndarray | None = None,
    ) -> None:
        """Write pair `index`, `done` or `lost`: <object>/test/<type>/<stem>.png, its mask and its normal image.

        mask: [H, W] of the picture's size, bool or non-zero for defect, not empty; normal_source: the file of the
        normal image (copied, as a reflink where the disk can; written as PNG where EXIF turns it) or a picture; record:
        further JSON-able entries of the manifest line.
        Raises Refused before anything is written for an index out of order, an empty mask or one of another size, a
        name that is no plain file name or already taken; OSError if the disk is full or read-only: the pair then is
        not there, and may be written again.
        """
        values = np.asarray(mask.detach().cpu() if isinstance(mask, torch.Tensor) else mask) != 0
        self._check_index(index)
        check_names(object=object, type=type, stem=stem)
        _check_mask(values, picture, f"pair {index} ({object}, {type}, {stem})")
        image = f"{object}/test/{type}/{stem}.png"
        truth = f"{object}/ground_truth/{type}/{stem}_mask.png"
        if image in self._stock.images:
            remedy = "give every pair of a type its own stem"
            raise Refused(f"pair {index}", f"{image} is taken by another pair", remedy=remedy)
        own = {"index": index, "image": image, "mask": truth, "normal": "", "object": object, "type": type}
        kept = None if refined is None else _refined(refined, values, f"pair {index}")
        own["refined_mask"] = None if kept is None else f"{object}/{REFINED}/{type}/{stem}_mask.png"
        if set(own) & set(record):
            got = f"the record sets {sorted(set(own) & set(record))}; the writer sets these"
            raise Refused(f"pair {index}", got)
        json_text(record, f"the record of pair {index}")
        own["normal"] = self._normals.place(object, normal_source)
        masks = {truth: values} if kept is None else {own["refined_mask"]: kept, truth: values}
        try:
            for name, one in masks.items():  # the masks first: an image without one would not be readable
                write_mask(self._made(name), one)
            write_picture(self._made(image), picture)
            for name in (*masks, image):
                sync_folder((self.root / name).parent)
            self._pairs.append({**own, **record})
        except BaseException:
            for name in (image, *masks):
                remove_quietly(self.root / name)
            raise
        self._stock.images.add(image)
        self._count(index)

    def _looked_at(self) -> Stock:
        stock = take_stock(self.root, self._pairs, self._drops, self._normals)
        if stock.lost:
            named = ", ".join(map(str, list(stock.lost)[:8])) + ", ..." * (len(stock.lost) > 8)
            _log.warning("%s: pairs lost or damaged, to be made again: %s", self.root / MANIFEST, named)
        return stock

    def _grown(self) -> Stock:
        """Goes on after the last index; only a last line that is cut is taken away. Raises ValueError for a line that
        is no JSON object, or without an index."""
        stock = Stock()
        for path in (self.root / MANIFEST, self.root / _DROPPED):
            for number, raw in enumerate(complete_lines(path), 1):
                where = f"{path}, line {number}"
                line = parse_line(raw, where)
                if not is_indexed(line):
                    raise Refused(
                        where,
                        f"its index is {line.get('index')!r:.40}",
                        "a whole number from 0",
                        "correct the line, or make the pairs in another folder",
                    )
                stock.end = max(stock.end, line["index"] + 1)
                if isinstance(line.get("image"), str):
                    stock.images.add(line["image"])
            if cut_tail(path):
                _log.warning("%s: its last line was cut short and is left out", path)
        return stock

    def _check_index(self, index: int) -> None:
        if index != self._stock.end and index not in self._stock.lost:
            raise Refused(f"pair {index}", f"out of order; the next to write is {self.done}")

    def _count(self, index: int) -> None:
        if index == self._stock.end:
            self._stock.end += 1
            return
        del self._stock.lost[index]
        if not self._stock.lost:
            self._settle()

    def _settle(self) -> None:
        self._pairs.merge()
        self._drops.merge()

    def _made(self, name: str) -> Path:
        path = self.root / name
        make_folder(path.parent)
        return path


def read_manifest(root: str | Path) -> list[dict[str, Any]]:
    """The manifest's lines in index order; a last line that is cut is left out. Paths in them are relative to root.

    Raises Refused if there is no manifest, a line is damaged, or names a file that is not below root.
    """
    return list(manifest_lines(root))


def manifest_lines(root: str | Path) -> Iterator[dict[str, Any]]:
    """As `read_manifest`, one line after the other, for a folder of any length."""
    path = Path(root) / MANIFEST
    if not path.is_file():
        raise Refused(root, f"no {MANIFEST}", remedy="give a folder that holds synthetic pairs")
    below(Path(root), MANIFEST, str(root))
    for number, line in enumerate(read_lines(path), 1):
        for key in _PATHS:
            if line.get(key) is not None:
                check_relative(line[key], f"{path}, line {number}: {key}")
        yield line


def read_dropped(root: str | Path) -> list[dict[str, Any]]:
    """The lines of the pairs that were dropped, in index order; none where no pair was."""
    return list(read_lines(Path(root) / _DROPPED))


def refined_file(sample: Sample) -> Path | None:
    """The refined mask of a pair that `read_mvtec` lists; None where it has none."""
    path = Path(sample.name)
    file = sample.root / sample.object / REFINED / sample.type / f"{path.stem}_mask.png"
    return file if file.is_file() else None


def check_names(**names: str) -> None:
    """Raise Refused for an object, type or stem that is no plain file name, which every system and every reader of a
    manifest can open; for an object called as a record of the folder, such as run.json; and for a type "good"."""
    for what, name in names.items():
        taken = (what == "type" and name == "good") or (what == "object" and str(name).lower() in _RECORDS)
        if taken or name_problem(name) or name.startswith(".") or "/" in name:
            shown = f"{name!r}" if len(repr(name)) <= 80 else f"{name!r:.77}..."
            accepted = (
                "a file name of at most 255 bytes, without slash, control characters or leading dot; no type 'good', "
                "no object 'run.json' or other record of the folder"
            )
            raise Refused(what, shown, accepted)


def _refined(refined: torch.Tensor | np.ndarray, mask: np.ndarray, what: str) -> np.ndarray | None:
    """The refined mask as bool [H, W]; None where it is empty. Raises Refused where it is not within the mask."""
    values = np.asarray(refined.detach().cpu() if isinstance(refined, torch.Tensor) else refined) != 0
    if values.shape != mask.shape or (values & ~mask).any():
        raise Refused(what, "the refined mask has another size than the mask, or leaves it", "a part of the mask")
    return values if values.any() else None


def _check_mask(mask: np.ndarray, picture: Picture, what: str) -> None:
    if mask.shape != picture.size:
        got = f"the mask has shape {list(mask.shape)}, the picture {list(picture.size)} (height, width)"
        raise Refused(what, got, "one size for both")
    if not mask.any():
        raise Refused(what, "the mask is empty", "at least one defect pixel", "draw another mask")
