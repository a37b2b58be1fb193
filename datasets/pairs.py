"""Write synthetic pairs as a folder in MVTec layout, and continue an interrupted run."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .pictures import Picture, remove_quietly, write_atomic, write_mask, write_picture

_log = logging.getLogger(__name__)
_RUN, _MANIFEST = "run.json", "manifest.jsonl"


class PairWriter:
    """Writes pairs 0, 1, 2, ... of one run; each counts once its manifest line is on the disk.

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
        text = _json(run, "the run's settings", indent=2)
        if self.root.exists() and not self.root.is_dir():
            raise ValueError(f"{self.root}: a file, not a folder; choose another folder")
        held = {path.name for path in self.root.iterdir()} - {_RUN, f".{_RUN}.tmp"} if self.root.exists() else set()
        if held and not resume:
            raise ValueError(f"{self.root}: the folder is not empty; choose another folder or pass --resume")
        self._done, self._taken = 0, set()  # the pairs' images, not their lines: a run may be long
        if held:
            self._check_run(json.loads(text))
            self._take_whole_pairs()
        else:
            self.root.mkdir(parents=True, exist_ok=True)
            write_atomic(self.root / _RUN, (text + "\n").encode())
        self._placed: dict[tuple[str, Path], str] = {}

    @property
    def done(self) -> int:
        """Pairs written so far, and so the index of the next."""
        return self._done

    def mean(self, key: str) -> float:
        """Mean of a number in the manifest's lines; 0 for an empty folder."""
        return sum(line[key] for line in read_manifest(self.root)) / self._done if self._done else 0

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
        _json(record, f"the record of pair {index}")
        own["normal"] = self._place_normal(object, normal_source)
        try:
            write_mask(self._made(truth), values)  # the mask first: an image without one would not be readable
            write_picture(self._made(image), picture)
            self._append({**own, **record})
        except BaseException:
            remove_quietly(self.root / image)
            remove_quietly(self.root / truth)
            raise

    def _check_run(self, run: dict[str, Any]) -> None:
        path = self.root / _RUN
        if not path.is_file():
            raise ValueError(f"{self.root}: not empty, and no {_RUN}, so no run to resume; choose another folder")
        stored = _parse(path.read_bytes(), path)
        keys = sorted(key for key in stored.keys() | run.keys() if stored.get(key, "-") != run.get(key, "-"))
        if keys:
            differences = "; ".join(f"{key}: {stored.get(key, '-')!r} there, {run.get(key, '-')!r} now" for key in keys)
            raise ValueError(
                f"{self.root}: it holds a run of other settings ({differences}); choose another folder or the same "
                "settings"
            )

    def _take_whole_pairs(self) -> None:
        """Count the manifest's lines up to the first that is cut or whose files do not open; the rest is cut off."""
        path, size = self.root / _MANIFEST, 0
        if not path.exists():
            return
        for raw in _complete_lines(path):
            line = _parse(raw, f"{path}, line {self._done + 1}")
            paths = [self.root / line.get(key, "") for key in ("image", "mask", "normal")]
            if line.get("index") != self._done or not (self._growing or all(map(_opens, paths))):
                break
            self._taken.add(line["image"])
            self._done += 1
            size += len(raw)
        if path.stat().st_size != size:
            _log.warning("%s: continued after pair %d; what follows was not whole", path, self._done - 1)
            os.truncate(path, size)

    def _check_index(self, index: int) -> None:
        if index != self.done:
            raise ValueError(f"pair {index}: out of order; the next to write is {self.done}")

    def _place_normal(self, object_name: str, source: str | Path | Picture) -> str:
        """Put the normal into train/good and test/good unless it is there; its path relative to root."""
        folder = f"{object_name}/train/good"
        if isinstance(source, Picture):
            name = f"normal_{_content(source)}.png"
            if not _opens(self.root / folder / name):
                write_picture(self._made(f"{folder}/{name}"), source)
        else:
            name = self._place_file(folder, Path(source).resolve())
        _link(self.root / folder / name, self._made(f"{object_name}/test/good/{name}"))
        return f"{folder}/{name}"

    def _place_file(self, folder: str, source: Path) -> str:
        """Link or copy the file, under another name if a different file has its name; the name used."""
        number = 1
        while (folder, source) not in self._placed:
            name = source.name if number == 1 else f"{source.stem}_{number}{source.suffix}"
            target = self._made(f"{folder}/{name}")
            if not target.exists():
                _link(source, target)
            if filecmp.cmp(source, target, shallow=False):
                self._placed[folder, source] = name
            number += 1
        return self._placed[folder, source]

    def _made(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _append(self, line: dict[str, Any]) -> None:
        """Append one line in one write, on the disk when this returns; a line cut short is taken back."""
        path = self.root / _MANIFEST
        data = (json.dumps(line) + "\n").encode()
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(file).st_size
            try:
                if os.write(file, data) != len(data):
                    raise OSError(errno.ENOSPC, "cannot write (the disk is full)", str(path))
                os.fsync(file)
            except BaseException:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)
        self._done += 1
        self._taken.add(line["image"])


def read_manifest(root: str | Path) -> list[dict[str, Any]]:
    """The manifest's lines in index order; a last line that is cut is left out. Paths in them are relative to root.

    Raises ValueError if there is no manifest or a line is damaged.
    """
    return list(manifest_lines(root))


def manifest_lines(root: str | Path) -> Iterator[dict[str, Any]]:
    """As `read_manifest`, one line after the other, for a folder of any length."""
    path = Path(root) / _MANIFEST
    if not path.is_file():
        raise ValueError(f"{root}: no {_MANIFEST}; give a folder that holds synthetic pairs")
    for number, raw in enumerate(_complete_lines(path), 1):
        yield _parse(raw, f"{path}, line {number}")


def _complete_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        yield from (raw for raw in lines if raw.endswith(b"\n"))


def _parse(raw: bytes, where: str | Path) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error}); make the pairs again in another folder") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {value!r:.40}; accepted is a JSON object; make the pairs again in another folder")
    return value


def _json(value: Mapping[str, Any], what: str, indent: int | None = None) -> str:
    try:
        return json.dumps(dict(value), indent=indent, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: cannot be stored as JSON ({error}); give plain finite values") from error


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
    try:
        with Image.open(path) as image:
            image.verify()
    except Exception:  # Pillow raises many kinds for damaged files; each means: make it again
        return False
    return True


def _content(picture: Picture) -> str:
    """16 hex digits of the picture's content."""
    digest = hashlib.sha256(f"{picture.pixels.dtype} {picture.pixels.shape}".encode() + picture.pixels.tobytes())
    digest.update(b"" if picture.alpha is None else picture.alpha.tobytes())
    return digest.hexdigest()[:16]


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        write_atomic(target, source.read_bytes())
