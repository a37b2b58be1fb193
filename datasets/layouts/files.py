"""Listing folders: images, folders, and paths that annotation files name."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from ..pictures import SUFFIXES
from .found import Found

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
NORMAL_FOLDERS = ("good", "normal", "normals", "ok")
PARTS = {
    "train": "train", "training": "train", "val": "train", "valid": "train", "validation": "train",
    "test": "test", "testing": "test",
}  # fmt: skip
UNNAMED = "damaged"  # the type where a layout names none; the papers' word for BTAD


def entries(folder: Path) -> list[Path]:
    """What is in a folder but hidden files, sorted; nothing where there is no such folder."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def folders(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.is_dir()]


def named(folder: Path, names: tuple[str, ...] | dict[str, str]) -> list[Path]:
    """The folders in `folder` with one of these names, in any case."""
    return [path for path in folders(folder) if path.name.lower() in names]


def images(folder: Path, found: Found | None = None) -> list[Path]:
    """The image files of a folder; links that lead nowhere are told to `found`."""
    listed = [path for path in entries(folder) if path.suffix.lower() in SUFFIXES]
    for path in listed:
        if found is not None and path.is_symlink() and not path.exists():
            found.problem(path, "a link that leads nowhere, or in a circle", "restore its target or remove it", False)
    return [path for path in listed if path.is_file()]


def same(name: str) -> str:
    """A name so that it compares: macOS and others write the same letters in different bytes."""
    return unicodedata.normalize("NFC", name)


def stem(path: Path) -> str:
    """The name without suffix, so that it compares."""
    return same(path.stem)


def part_of(image: Path, root: Path) -> str:
    """The part that the image's own folder, below root, is named after; "" where it is not."""
    return PARTS.get(image.relative_to(root).parent.name.lower(), "")


def named_path(text: object, base: Path, root: Path) -> Path | None:
    """The path that an annotation file gives relative to `base`; None where it is no path or leaves `root`.

    Backslashes separate folders too; `..` may be used within root. The path need not exist.
    """
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        return None
    text = text.strip().replace("\\", "/")
    if text.startswith("/") or re.match("[A-Za-z]:", text):
        return None
    inside = os.path.normpath(base.relative_to(root) / text)
    return None if inside.split(os.sep)[0] == ".." else root / inside
