"""A run's outputs as a checked pair, and the spool: pairs that wait on the disk until it is their turn."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.batch_plan import PlanItem
from ..datasets.pair_identity import pair_entries
from ..datasets.pairs import SCORES, check_names
from ..datasets.pictures import Picture, mask_of, png_picture_of, remove_quietly, write_atomic
from .client import Server
from .job import Job, Source

_TEXT = 100_000  # characters of one entry for the manifest


class ItemFailed(Exception):
    """The item's own fault: its run failed, or its result is not what the job asks for."""


@dataclass(frozen=True)
class Pair:
    """A checked pair; a normal that is a file of this machine is told by its path."""

    picture: Picture
    mask: np.ndarray
    normal: Picture | Path
    record: dict[str, Any]

    @property
    def digest(self) -> str:
        """64 hex digits of the image's and the mask's pixels."""
        digest = hashlib.sha256(f"{self.picture.pixels.dtype} {self.picture.pixels.shape}".encode())
        digest.update(self.picture.pixels.tobytes())
        digest.update(self.mask.tobytes())
        return digest.hexdigest()


def failure_of(entry: Mapping[str, Any]) -> str | None:
    """Why a run ended before its end; None: it did not. Raises Interrupted if it was stopped from outside."""
    status = entry.get("status") if isinstance(entry.get("status"), dict) else {}
    if status.get("status_str") != "error":
        return None
    for message in status.get("messages") or []:
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            kind, data = message
            if kind == "execution_interrupted":
                raise Interrupted
            if kind == "execution_error":
                where = f"node {data.get('node_id')} ({data.get('node_type')})"
                return f"{where}: {data.get('exception_type')}: {str(data.get('exception_message')).strip()}"
    return "the run failed without a message"


class Interrupted(Exception):
    """Someone stopped the run."""


def seconds_of(entry: Mapping[str, Any]) -> float | None:
    """How long the run took by the server's own clock; None where that makes no sense."""
    try:
        times = {kind: data["timestamp"] for kind, data in entry["status"]["messages"] if "timestamp" in data}
        seconds = (times["execution_success"] - times["execution_start"]) / 1000
    except (KeyError, TypeError, ValueError):
        return None
    return round(seconds, 3) if 0 <= seconds < 1e6 else None


async def fetch(server: Server, job: Job, targets: Mapping[str, str], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The raw results of a run by name: bytes of pictures, texts.

    Raises ItemFailed where an output is not there or is not one picture, NotThere, ServerGone.
    """
    found: dict[str, Any] = {}
    for name, id in targets.items():
        output = entry["outputs"].get(id)
        shown = output.get("images" if name in job.pictures else "text") if isinstance(output, dict) else None
        if not isinstance(shown, list) or len(shown) != 1:
            count = len(shown) if isinstance(shown, list) else "no"
            what = "images" if name in job.pictures else "texts"
            raise ItemFailed(f"{name}: node {id} gave {count} {what}; a run must give one: one item, no batch")
        if name not in job.pictures:
            found[name] = str(shown[0])[:_TEXT]
        elif isinstance(shown[0], dict):
            found[name] = await server.view(shown[0])
        else:
            raise ItemFailed(f"{name}: node {id} tells of no file")
    return found


def check(job: Job, item: PlanItem, raw: Mapping[str, Any], files: Mapping[str, Path]) -> Pair:
    """The pair of raw results and of this machine's files. Raises ItemFailed."""
    try:
        picture = png_picture_of(_bytes("image", raw, files), "image")
        mask = mask_of(_bytes("mask", raw, files), "mask").numpy()
        if mask.shape != picture.size:
            raise ItemFailed(f"mask is {_size(mask.shape)}, image {_size(picture.size)}; they must be the same")
        if not mask.any():
            raise ItemFailed("mask is empty; a pair needs a defect pixel")
        normal = png_picture_of(_bytes("normal", raw, files), "normal")
        if normal.size != picture.size:
            raise ItemFailed(f"normal is {_size(normal.size)}, image {_size(picture.size)}; they must be the same")
        record = _record(job, item, raw)
        check_names(object=record["object"], type=record["type"])
        change, content = pair_entries(picture, normal, mask, record["object"], record["type"])
    except (ValueError, OSError) as error:
        raise ItemFailed(str(error)) from error
    if change.blank:
        raise ItemFailed(
            "image equals normal inside the mask, so the pair shows no defect; look in the workflow for a sampler or "
            "Compose Pair that is bypassed"
        )
    return Pair(picture, mask, files.get("normal", normal), record | content)


class Spool:
    """Results as files <item>.zip of a folder: raw pictures, texts; written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, item: int, raw: Mapping[str, Any]) -> None:
        """Keep an item's results. Raises OSError where the disk is full."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:  # stored: PNG is compressed, and the check sums are what counts
            for name, value in raw.items():
                if isinstance(value, bytes):
                    archive.writestr(zipfile.ZipInfo(name), value)
                else:
                    archive.writestr(zipfile.ZipInfo(f"{name}.json"), json.dumps(value))
        write_atomic(self._path(item), buffer.getvalue())

    def get(self, item: int) -> dict[str, Any]:
        """An item's results. Raises ItemMissing where they are not there whole."""
        try:
            with zipfile.ZipFile(self._path(item)) as archive:
                return {
                    name.removesuffix(".json"): json.loads(archive.read(name)) if name.endswith(".json")
                    else archive.read(name)
                    for name in archive.namelist()
                }  # fmt: skip
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ItemMissing(f"{self._path(item)}: {error}") from error

    def drop(self, item: int) -> None:
        """Forget an item's results."""
        remove_quietly(self._path(item))

    def keep_only(self, items: set[int]) -> None:
        """Drop what a killed runner left of other items."""
        for path in self.folder.iterdir():
            if not (path.stem.isdigit() and path.suffix == ".zip" and int(path.stem) in items):
                remove_quietly(path)

    def _path(self, item: int) -> Path:
        return self.folder / f"{item:06d}.zip"


class ItemMissing(Exception):
    """The spool does not have an item that it should have."""


def _bytes(name: str, raw: Mapping[str, Any], files: Mapping[str, Path]) -> bytes:
    """The server's or this machine's file; no name that a server tells becomes a path."""
    return files[name].read_bytes() if name in files else raw[name]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} (height x width)"


def _record(job: Job, item: PlanItem, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's entries that the job and the server's texts tell."""
    record: dict[str, Any] = dict.fromkeys((*SCORES, "visible", "base", "adapter"))
    for name, value in {**job.record, **job.names}.items():
        record[name] = _told(name, value, raw[name]) if isinstance(value, Source) else value.of(item)
    return record | {name: str(record[name]).strip() for name in job.names}


def _told(name: str, source: Source, text: str) -> Any:
    """A server's text: an object's or type's name as it is, else the number, truth or null that it tells."""
    if source.field is not None:
        # Both spellings of a record: {"visibility": 1.5} and Score(visibility=1.5).
        found = re.search(rf"""\b{re.escape(source.field)}["']?\s*[=:]\s*["']?([^\s,"'()\[\]{{}}]+)""", text)
        if not found:
            raise ItemFailed(f"{name}: the output has no {source.field}, but {text[:100]!r}")
        text = found[1]
    return text if name in ("object", "type") else _number(text)


def _number(text: str) -> Any:
    """A text as the number, truth or null that it tells."""
    try:
        value = json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
    return value if isinstance(value, int | float | bool | None) and abs(value or 0) < 1e300 else text
