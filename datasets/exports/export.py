"""Write a folder of pairs in another format: one pair at a time, and the same however often it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..pairs import MANIFEST, RUN, manifest_lines
from ..pictures import open_atomic
from ..progress import counted, tracked
from . import FORMATS
from .folder import Folder
from .source import Pair, chosen, class_names, whole_size

_NAMED = 3


@dataclass
class Exported:
    """What came of it: pairs and normal images written, pairs left out since they are not whole, the first few why."""

    pairs: int = 0
    normals: int = 0
    broken: int = 0
    why: list[str] = field(default_factory=list)

    def told(self) -> str:
        """In words, for who asked for it."""
        words = f"{self.pairs} pairs, {self.normals} normal images"
        if not self.broken:
            return words
        more = ", ..." if self.broken > len(self.why) else ""
        return f"{words}; {self.broken} pairs are not whole and were left out: {'; '.join(self.why)}{more}"


def export_pairs(
    pairs: str | Path,
    out: str | Path,
    format: str,
    *,
    segmentation: str | None = None,
    visible_only: bool = False,
    normals: bool = True,
    resume: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the pairs of a folder to `out`.

    Images are linked where the disk can, else copied. manifest.jsonl comes along: the same lines with paths that open
    from `out`. It is written last, so that a folder that has it is complete.

    Args:
        pairs: folder in MVTec layout with manifest.jsonl, as Save Pairs, `synthesize` and `batch` write it.
        out: folder to make, outside of `pairs`.
        format: "coco", "yolo" or "plain".
        segmentation: of COCO's annotations, "rle" (default) or "polygon".
        visible_only: leave out the pairs whose manifest does not say "visible": true.
        normals: write every normal image of these pairs, once.
        resume: go on with an export of the same pairs and settings that was stopped, or bring it up to date with pairs
            that came or went since; either way the folder ends as a new export would.
        report: called with (pairs done, pairs in all); may raise to stop.

    Raises:
        ValueError: no whole pair to write, settings or a folder that do not fit; found before anything is written.
        OSError: the disk is full or cannot be written; no file is left half-written, and `resume` goes on.
    """
    pairs, out = Path(pairs), Path(out)
    settings = _settings(format, segmentation) | {"visible_only": visible_only, "normals": normals}
    count, classes = _counted(pairs, visible_only)
    _check_apart(pairs, out)
    folder = Folder(out, {**settings, "pairs": _digest(pairs)}, resume)
    folder.path(MANIFEST).unlink(missing_ok=True)  # until this run has written its own, the folder is not complete
    done, options = Exported(), {key: settings[key] for key in FORMATS[format].options}
    with contextlib.ExitStack() as stack:
        manifest = stack.enter_context(open_atomic(folder.path(MANIFEST)))
        writer = FORMATS[format](folder, classes, stack, **options)
        add = _Adder(writer, normals, done)
        stack.enter_context(counted(report))
        for pair in tracked("exporting", chosen(pairs, visible_only), of=count):
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

    def __call__(self, pair: Pair) -> dict[str, Any] | None:
        """The pair's line of the export's manifest; None where it is not whole."""
        try:
            mask = pair.read_mask()
        except (ValueError, OSError) as error:
            self._done.broken += 1
            self._done.why += [str(error)] if len(self._done.why) < _NAMED else []
            return None
        own = self._writer.pair(pair, mask)
        self._done.pairs += 1
        return pair.line | own | {"normal": self._normal(pair) if self._normals else None}

    def _normal(self, pair: Pair) -> str:
        path = pair.path("normal")
        if path not in self._placed:
            self._placed[path] = self._writer.normal(path, pair.normal_stem, whole_size(path))
            self._done.normals += 1
        return self._placed[path]


def _settings(format: str, segmentation: str | None) -> dict[str, Any]:
    if format not in FORMATS:
        raise ValueError(f"format {format!r}: accepted are {', '.join(FORMATS)}")
    known = FORMATS[format].options.get("segmentation")
    if segmentation is None:
        return {"format": format, **({"segmentation": known[0]} if known else {})}
    if not known or segmentation not in known:
        accepted = f"accepted are {', '.join(known)}" if known else "only coco has a choice; leave it out"
        raise ValueError(f"segmentation {segmentation!r} with format {format}: {accepted}")
    return {"format": format, "segmentation": segmentation}


def _counted(pairs: Path, visible_only: bool) -> tuple[int, dict[tuple[str, str], str]]:
    """How many pairs there are to write, and their classes."""
    count, kinds = 0, set()
    for pair in chosen(pairs, visible_only):
        count += 1
        kinds.add(pair.kind)
    if not count:
        some = visible_only and next(chosen(pairs), None)
        why = "none of its pairs is known to be visible; export all of them" if some else "no pairs; make some first"
        raise ValueError(f"{pairs}: {why}")
    if not any(map(_is_whole, chosen(pairs, visible_only))):
        raise ValueError(f"{pairs}: none of its {count} pairs is whole, with image, mask and normal image; make others")
    return count, class_names(kinds)


def _is_whole(pair: Pair) -> bool:
    try:
        pair.read_mask()
    except (ValueError, OSError):
        return False
    return True


def _check_apart(pairs: Path, out: Path) -> None:
    inner, outer = sorted((pairs.resolve(), out.resolve()), key=lambda path: -len(path.parts))
    if inner == outer or outer in inner.parents:
        raise ValueError(f"{out}: the export would mix with the pairs in {pairs}; choose a folder beside it")


def _digest(pairs: Path) -> str:
    """Tells the folder's run from others: its settings and its first pair, which stay while pairs are added."""
    run = pairs / RUN
    first = next(manifest_lines(pairs)) | {"seconds": None}  # a pair that is made anew takes another time
    content = (run.read_bytes() if run.is_file() else b"") + json.dumps(first, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:16]
