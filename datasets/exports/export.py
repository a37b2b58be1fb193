"""Write a folder of pairs in another format: one pair at a time, and the same however often it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...choices import LABELS
from ...errors import Refused
from ...files.durable import open_atomic
from ...files.folder_lock import check_free
from ...files.progress import counted, tracked
from ...files.relative_path import below
from ...images.pictures import read_picture
from ..pairs import MANIFEST, RUN, manifest_lines
from ..sample import refusal
from ..settings import ExportSettings
from . import FORMATS
from .folder import Folder
from .source import Pair, chosen, class_names, whole_size

_NAMED = 3
_NORMALS = 4  # decoded at a time; pairs of one normal image often follow each other


@dataclass
class Exported:
    """The result: pairs and normal images written, and pairs left out.

    broken: not whole, `why` says it of the first few; blank: the image shows no defect, see `datasets.pair_identity`;
    repeated: of the content, object and type of a pair before them. unrefined: of the pairs written, those that keep
    the requested mask, where refined ones were asked for.
    """

    pairs: int = 0
    normals: int = 0
    broken: int = 0
    why: list[str] = field(default_factory=list)
    blank: int = 0
    repeated: int = 0
    unrefined: int = 0

    def summary(self) -> str:
        """In words, for the log and the command line."""
        words = [f"{self.pairs} pairs, {self.normals} normal images"]
        if self.unrefined:
            words.append(f"{self.unrefined} pairs have no refined mask and keep the requested one")
        if self.repeated:
            words.append(f"{self.repeated} duplicates of other pairs were left out")
        if self.blank:
            words.append(f"{self.blank} blank pairs, whose image equals its normal image in the mask, were left out")
        if self.broken:
            more = ", ..." if self.broken > len(self.why) else ""
            words.append(f"{self.broken} pairs are not whole and were left out: {'; '.join(self.why)}{more}")
        return "; ".join(words)


def export_pairs(
    pairs: str | Path,
    out: str | Path,
    format: str,
    *,
    segmentation: str | None = ExportSettings.segmentation,
    visible_only: bool = ExportSettings.visible_only,
    normals: bool = ExportSettings.normals,
    link: bool = ExportSettings.link,
    labels: str = ExportSettings.labels,
    resume: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the pairs of a folder to `out`.

    Blank pairs, and all but the first of those that are the same (see `datasets.pair_identity`), are left out. Images
    are copies, as reflinks where the disk can, so that a tool that changes the export in place never changes the pairs.
    manifest.jsonl comes along: the same lines with paths that open
    from `out`. It is written last, so that a folder that has it is complete.

    Args:
        pairs: folder in MVTec layout with manifest.jsonl, as Save Pairs, `synthesize` and `batch` write it.
        out: folder to make, outside of `pairs`.
        format: "coco", "yolo" or "plain".
        segmentation: of COCO's annotations, "rle" (default) or "polygon".
        visible_only: leave out the pairs whose manifest does not say "visible": true.
        normals: write every normal image of these pairs, once.
        link: make images and masks hard links of the pairs' files, which saves their space and shares every change;
            normal images are copied all the same.
        labels: masks to write, "requested" or "refined"; a pair without a refined mask keeps the requested one. In
            the export's manifest "refined_mask" is the path of a refined mask, or null.
        resume: go on with an export of the same pairs and settings that was stopped, or bring it up to date with pairs
            that came or went since; either way the folder ends as a new export would.
        report: called with (pairs done, pairs in all); may raise to stop.

    Raises:
        Refused: another process writes `out`; no whole pair to write; a manifest that names files outside of its
            folder; settings or a folder that do not fit. Found before anything is written.
        OSError: the disk is full or cannot be written; no file is left half-written, and `resume` goes on.
    """
    pairs, out = Path(pairs), Path(out)
    check_free(out)
    settings = _settings(format, segmentation, labels) | {"visible_only": visible_only, "normals": normals}
    count, classes = _counted(pairs, visible_only, labels)
    _check_apart(pairs, out)
    folder = Folder(out, {**settings, "pairs": _digest(pairs)}, resume, link)
    done, options = Exported(), {key: settings[key] for key in FORMATS[format].options}
    with contextlib.closing(folder), contextlib.ExitStack() as stack:
        folder.path(MANIFEST).unlink(missing_ok=True)  # until this run has written its own, the folder is not complete
        manifest = stack.enter_context(open_atomic(folder.path(MANIFEST)))
        writer = FORMATS[format](folder, classes, stack, **options)
        add = _Adder(writer, normals, done)
        stack.enter_context(counted(report))
        for pair in tracked("exporting", chosen(pairs, visible_only, labels), of=count):
            line = add(pair)
            if line:
                manifest.write((json.dumps(line) + "\n").encode())
        writer.finish()
        folder.sweep()
    return done


class _Adder:
    """Adds pairs to a format's writer, and the normal image of each where it is the first to use it."""

    def __init__(self, writer: Any, normals: bool, done: Exported) -> None:
        self._writer, self._normals, self._done = writer, normals, done
        self._placed: dict[Path, str] = {}
        self._known: set[str] = set()
        self._read_normal = lru_cache(_NORMALS)(read_picture)

    def __call__(self, pair: Pair) -> dict[str, Any] | None:
        """The pair's line of the export's manifest; None where it is left out."""
        try:
            content = pair.read(self._read_normal)
        except (ValueError, OSError) as error:
            self._done.broken += 1
            self._done.why += [refusal(error, pair.path("image")).words] if len(self._done.why) < _NAMED else []
            return None
        if content.blank or content.identity in self._known:
            self._done.blank += content.blank
            self._done.repeated += not content.blank
            return None
        self._known.add(content.identity)
        own = self._writer.pair(pair, content.mask)
        self._done.pairs += 1
        refined = pair.label == "refined_mask"
        self._done.unrefined += pair.labels == "refined" and not refined
        if "refined_mask" in pair.line:
            own["refined_mask"] = own["mask"] if refined else None
        return pair.line | own | {"normal": self._normal(pair) if self._normals else None}

    def _normal(self, pair: Pair) -> str:
        path = pair.path("normal")
        if path not in self._placed:
            self._placed[path] = self._writer.normal(path, pair.normal_stem, whole_size(path))
            self._done.normals += 1
        return self._placed[path]


def _settings(format: str, segmentation: str | None, labels: str) -> dict[str, Any]:
    if format not in FORMATS:
        raise Refused("format", repr(format), ", ".join(FORMATS))
    if labels not in LABELS:
        raise Refused("labels", repr(labels), ", ".join(LABELS))
    # The default is left out: exports from before there was a choice can be resumed.
    named = {"format": format} | ({} if labels == ExportSettings.labels else {"labels": labels})
    known = FORMATS[format].options.get("segmentation")
    if segmentation is None:
        return {**named, **({"segmentation": known[0]} if known else {})}
    if not known or segmentation not in known:
        remedy = "" if known else "leave it out; only coco has a choice"
        raise Refused("segmentation", f"{segmentation!r} with format {format}", ", ".join(known or ()), remedy)
    return {**named, "segmentation": segmentation}


def _counted(pairs: Path, visible_only: bool, labels: str) -> tuple[int, dict[tuple[str, str], str]]:
    """How many pairs there are to write, and their classes."""
    count, kinds = 0, set()
    for pair in chosen(pairs, visible_only, labels):
        pair.check_paths()
        count += 1
        kinds.add(pair.kind)
    if not count:
        some = visible_only and next(chosen(pairs), None)
        if some:
            raise Refused(pairs, "none of its pairs is known to be visible", remedy="export all of them")
        raise Refused(pairs, "no pairs", remedy="make some first")
    blank = 0
    for pair in chosen(pairs, visible_only, labels):
        try:
            content = pair.read()
        except (ValueError, OSError):
            continue
        if not content.blank:
            return count, class_names(kinds)
        blank += 1
    if blank:
        got = f"{blank} of its {count} pairs are blank, the image equals its normal image in the mask"
        remedy = "look for a bypassed node in the workflow, and make others"
        raise Refused(pairs, f"{got}, and no other is whole", remedy=remedy)
    got = f"none of its {count} pairs is whole, with image, mask and normal image"
    raise Refused(pairs, got, remedy="make others")


def _check_apart(pairs: Path, out: Path) -> None:
    inner, outer = sorted((pairs.resolve(), out.resolve()), key=lambda path: -len(path.parts))
    if inner == outer or outer in inner.parents:
        raise Refused(out, f"the export would mix with the pairs in {pairs}", remedy="choose a folder beside it")


def _digest(pairs: Path) -> str:
    """Identifies the folder's run: its settings and its first pair, which stay while pairs are added."""
    run = below(pairs, RUN, str(pairs))
    first = next(manifest_lines(pairs)) | {"seconds": None}  # a pair that is made again takes another time
    content = (run.read_bytes() if run.is_file() else b"") + json.dumps(first, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:16]
