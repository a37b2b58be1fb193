"""Listing folders: images, folders, and paths that annotation files name."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from ...images.pictures import SUFFIXES
from .found import Found
from .normal_words import means_normal

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
PARTS = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
    "testing": "test",
}
UNNAMED = "damaged"  # the type where a layout names none; the papers' word for BTAD
UNREAD = (".gif", ".tga", ".avif", ".heic", ".heif", ".jxl", ".j2k", ".jpx", ".dib", ".dcm", ".exr", ".hdr", ".psd")
UNREAD += (".apng", ".mpo", ".jfi", ".jif", ".jpf", ".jpm", ".j2c", ".jpc", ".jls", ".jxr", ".pcx", ".pfm")
UNREAD += (".ras", ".sgi", ".xcf", ".orf", ".rw2", ".cr3", ".raw", ".dng", ".cr2", ".nef", ".arw")  # of cameras
_LONGEST_NAME, _LONGEST_PATH = 255, 2000  # bytes
_CLUTTER = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


def entries(folder: Path) -> list[Path]:
    """What is in a folder but hidden files and what systems leave there, sorted; nothing where there is no folder."""
    return sorted(path for path in folder.iterdir() if not _hidden(path.name)) if folder.is_dir() else []


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def folders(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.is_dir()]


def named(folder: Path, names: tuple[str, ...] | dict[str, str]) -> list[Path]:
    """The folders in `folder` with one of these names, in any case."""
    return [path for path in folders(folder) if path.name.lower() in names]


def normal_folders(folder: Path) -> list[Path]:
    """The folders in `folder` whose name says that what is in them is normal."""
    return [path for path in folders(folder) if means_normal(path.name)]


def images(folder: Path, found: Found | None = None) -> list[Path]:
    """The image files of a folder; links that lead nowhere are reported to `found`."""
    listed = [path for path in entries(folder) if path.suffix.lower() in SUFFIXES]
    for path in listed:
        if found is not None and path.is_symlink() and not path.exists():
            found.problem(path, "a link that leads nowhere, or in a circle", "restore its target or remove it", False)
    return [path for path in listed if path.is_file()]


def below(folder: Path, found: Found) -> list[Path]:
    """The image files of a folder and of all folders below it, sorted."""
    return sorted(path for place, _ in tree(folder, found) for path in images(place, found))


def tree(folder: Path, found: Found) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those below it, each once, with the names of its files; links come last, never lead in a circle.

    Folders that cannot be listed are reported to `found`.
    """
    real = folder.resolve()
    above, seen = {real, *real.parents}, set()
    waiting, links = [(folder, real)], []
    while waiting or links:
        place, real = (waiting or links).pop()
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(place) as listed:
                inside = sorted((e.name, _leads(e), e.is_symlink()) for e in listed if not _hidden(e.name))
        except OSError as error:
            if place != folder or folder.is_dir():
                found.problem(place, f"the folder cannot be opened ({error.strerror})", "allow reading it", False)
            continue
        yield place, [name for name, is_folder, _ in inside if not is_folder]
        for name, is_folder, is_link in reversed(inside):
            target = (place / name).resolve() if is_folder and is_link else real / name
            if is_folder and target not in above:
                (links if is_link else waiting).append((place / name, target))


def _leads(entry: os.DirEntry) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def same(name: str) -> str:
    """A name so that it compares: macOS and others write the same letters in different bytes."""
    return unicodedata.normalize("NFC", name)


def stem(path: Path) -> str:
    """The name without suffix, so that it compares."""
    return same(path.stem)


def child(folder: Path, name: str) -> Path:
    """The entry of that name, else the only one whose name differs in Unicode form or case; it need not exist."""
    path = folder / name
    if path.exists():
        return path
    similar = [one for one in entries(folder) if same(one.name).casefold() == same(name).casefold()]
    exact = [one for one in similar if same(one.name) == same(name)]
    return next((few[0] for few in (exact, similar) if len(few) == 1), path)


def part_of(image: Path, root: Path) -> str:
    """The part that the image's own folder, below root, is named after; "" where it is not."""
    return PARTS.get(image.relative_to(root).parent.name.lower(), "")


def _too_long(text: str) -> bool:
    """Whether a system would refuse to look such a path up."""
    lengths = [len(word.encode("utf-8", "surrogatepass")) for word in text.split("/")]
    return max(lengths) > _LONGEST_NAME or sum(lengths) > _LONGEST_PATH


def named_path(text: object, base: Path, root: Path) -> Path | None:
    """The path that an annotation file gives relative to `base`; None where it is no path or leaves `root`.

    Backslashes separate folders too; `..` may be used within root. The path need not exist.
    """
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        return None
    text = text.strip().replace("\\", "/")
    if text.startswith("/") or re.match("[A-Za-z]:", text) or _too_long(text):
        return None
    inside = os.path.normpath(base.relative_to(root) / text)
    return None if inside.split(os.sep)[0] == ".." else root / inside
