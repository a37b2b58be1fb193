"""A run's outputs as a checked pair, and the spool: pairs that wait on the disk until it is their turn."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..datasets.batch_plan import PlanItem
from ..datasets.pair_identity import pair_entries
from ..datasets.pairs import SCORES, check_names
from ..errors import Refused, reason
from ..files.durable import remove_quietly, write_atomic
from ..files.untrusted_json import JsonValue, NotJson, described, parse_json
from ..files.untrusted_text import one_line
from ..images.mask_files import mask_of
from ..images.pictures import Picture, png_picture_of
from .client import Server
from .job import Job, Source

_TEXT = 100_000  # characters of one entry for the manifest
_PYTHON = {"True": True, "False": False, "None": None}
_NAME = 200  # bytes of an object's or type's name: a file name has at most 255, and exports add to it


class ItemFailed(Exception):
    """The item's own fault: its run failed, or its result is not what the job requires."""


@dataclass(frozen=True)
class Pair:
    """A checked pair; a normal that is a file of this machine is given by its path."""

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


def failure_of(entry: JsonValue) -> str | None:
    """Why a run stopped before its end; None: it did not.

    Raises Interrupted if it was stopped from outside, ItemFailed for a status of another form.
    """
    try:
        status = entry.get("status")
        if status is None or status.get("status_str") is None or status.at("status_str").value != "error":
            return None
        messages = status.get("messages")
        for message in () if messages is None else messages.each():
            kind, data = message.at(0).value, message.at(1)
            if kind == "execution_interrupted":
                raise Interrupted
            if kind == "execution_error":
                node, type, error, words = (
                    _words(data.get(key)) for key in ("node_id", "node_type", "exception_type", "exception_message")
                )
                return f"node {node} ({type}): {error}: {words}"
    except ValueError as error:
        raise ItemFailed(reason(error)) from error
    return "the run failed without a message"


def _words(value: JsonValue | None) -> str:
    if value is None:
        return "-"
    return one_line(value.value.strip(), 2000) if value.is_a(str) else described(value.value)


class Interrupted(Exception):
    """Someone stopped the run."""


def seconds_of(entry: JsonValue) -> float | None:
    """How long the run took by the server's own clock; None where that makes no sense."""
    try:
        messages = [(message.at(0).of(str), message.at(1)) for message in entry.at("status", "messages").each()]
        times = {kind: data.at("timestamp").of(float) for kind, data in messages if data.get("timestamp")}
        seconds = (times["execution_success"] - times["execution_start"]) / 1000
    except (KeyError, ValueError, OverflowError):
        return None
    return round(seconds, 3) if 0 <= seconds < 1e6 else None


async def fetch(server: Server, job: Job, targets: Mapping[str, str], entry: JsonValue) -> dict[str, Any]:
    """The raw results of a run by name: bytes of pictures, texts.

    Raises ItemFailed where an output is not there or is not one picture; NotThere, ServerGone, Busy; ValueError for an
    answer of another form.
    """
    found: dict[str, Any] = {}
    for name, id in targets.items():
        output = entry.get("outputs", id)
        shown = None if output is None else output.get("images" if name in job.pictures else "text")
        count = 0 if shown is None else len(shown.of(list))
        if count != 1:
            what = "images" if name in job.pictures else "texts"
            raise ItemFailed(f"{name}: node {id} gave {count or 'no'} {what}; a run must give one: one item, no batch")
        one = shown.at(0)
        if name in job.pictures:
            found[name] = await server.view(one)
        elif one.is_a(dict, list):
            raise one.wrong("a text or a number")
        else:
            found[name] = str(one.value)[:_TEXT]
    return found


def check(job: Job, item: PlanItem, raw: Mapping[str, Any], files: Mapping[str, Path]) -> Pair:
    """The pair of raw results and of this machine's files. Raises ItemFailed."""
    try:
        data = {name: _bytes(name, raw, files) for name in ("image", "mask", "normal")}
        for name in data.keys() - files.keys():
            _check_pixels(name, data[name], job.megabytes)
        picture = png_picture_of(data["image"], "image")
        mask = mask_of(data["mask"], "mask").numpy()
        if mask.shape != picture.size:
            raise ItemFailed(f"mask is {_size(mask.shape)}, image {_size(picture.size)}; they must be the same")
        if not mask.any():
            raise ItemFailed("mask is empty; a pair needs a defect pixel")
        normal = png_picture_of(data["normal"], "normal")
        if normal.size != picture.size:
            raise ItemFailed(f"normal is {_size(normal.size)}, image {_size(picture.size)}; they must be the same")
        record = _record(job, item, raw)
        check_names(object=record["object"], type=record["type"])
        for name in job.names:
            _check_storable(name, record[name])
        change, content = pair_entries(picture, normal, mask, record["object"], record["type"])
    except (ValueError, OSError) as error:
        raise ItemFailed(reason(error)) from error
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
                    name.removesuffix(".json"): json.loads(archive.read(name))
                    if name.endswith(".json")
                    else archive.read(name)
                    for name in archive.namelist()
                }
        except Exception as error:  # zipfile raises many kinds for a damaged file; each means: make it again
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
    """The server's or this machine's file; no name that a server gives becomes a path."""
    if name in files:
        return files[name].read_bytes()
    if not isinstance(raw.get(name), bytes):
        raise ItemFailed(f"{name}: it is not among the results")
    return raw[name]


def _check_pixels(name: str, data: bytes, megabytes: float) -> None:
    """Raise Refused for a picture that takes too much memory once it is decoded, by what its header says."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height, bands = *image.size, len(image.getbands())
    except Exception:  # damaged, or no picture: the reader says so
        return
    size, most = width * height * bands, megabytes * 4 * 2**20
    if size > most:
        raise Refused(
            name,
            f"{width} x {height} (width x height) takes {size / 2**20:.0f} MB decoded",
            f"{most / 2**20:g} MB at most, four times limits.megabytes of the job",
            "set a larger limit, or make smaller pictures",
        )


def _check_storable(name: str, text: str) -> None:
    """Raise Refused for a name that file systems do not keep, or that does not show as it is."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _NAME or one_line(text) != text:
        raise Refused(
            name,
            repr(one_line(text, 60)),
            f"a name of at most {_NAME} bytes in UTF-8, without control characters and halves of characters",
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} (height x width)"


def _record(job: Job, item: PlanItem, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's entries, of the job and of the server's texts."""
    record: dict[str, Any] = dict.fromkeys((*SCORES, "visible", "base", "adapter"))
    for name, value in {**job.record, **job.names}.items():
        if isinstance(value, Source) and not isinstance(raw.get(name), str):
            raise ItemFailed(f"{name}: it is not among the results")
        record[name] = _read(name, value, raw[name]) if isinstance(value, Source) else value.of(item)
    return record | {name: str(record[name]).strip() for name in job.names}


def _read(name: str, source: Source, text: str) -> Any:
    """A server's text: an object's or type's name as it is, else the number, truth or null that it is."""
    if source.field is not None:
        try:
            found = next(_values(parse_json(text, name).value, source.field))
        except (StopIteration, NotJson) as error:
            what = f"the output shows no JSON object with a plain {source.field}, but {one_line(text, 100)!r}"
            raise ItemFailed(f"{name}: {what}") from error
        text = found if isinstance(found, str) else json.dumps(found)
    return text if name in ("object", "type") else _number(text)


def _values(value: Any, field: str) -> Iterator[Any]:
    """The plain values under a key, anywhere in what JSON holds, in its order."""
    for key, below in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        if isinstance(below, dict | list):
            yield from _values(below, field)
        elif key == field:
            yield below


def _number(text: str) -> Any:
    """A text as the number, truth or null that it is."""
    try:
        value = _PYTHON[text] if text in _PYTHON else json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, int | float | bool | None) and abs(value or 0) < 1e300:
        return value
    return text.encode("utf-8", "replace").decode()  # halves of characters: other readers of JSON refuse them
