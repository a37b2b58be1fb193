"""Normal images in a folder of pairs: each once in train/good and in test/good, as files of their own."""

from __future__ import annotations

import filecmp
from pathlib import Path

from PIL import Image

from ..files.durable import make_folder, sync_folder
from ..files.file_copy import copy_file, own_inode
from ..files.relative_path import below
from ..images.decoding import stored_orientation
from ..images.pictures import Picture, read_picture, write_picture
from .pair_identity import content

_GOOD = "train/good"


class NormalImages:
    """Places normal images below root, and puts back those that were lost. All methods raise OSError."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._placed: dict[tuple[str, Path], str] = {}

    def place(self, object_name: str, source: str | Path | Picture) -> str:
        """Put the image into train/good and test/good unless it is there; its path relative to root."""
        folder, source = f"{object_name}/{_GOOD}", _upright(source)
        if isinstance(source, Picture):
            name = f"{folder}/normal_{content(source)}.png"
            if image_size(self._root / name) is None:
                self.restore(name, source)
        else:
            name = f"{folder}/{self._place_file(folder, Path(source).resolve())}"
        self._repeat(name)
        return name

    def restore(self, name: str, source: str | Path | Picture) -> None:
        """Make the image of that path again, from where it came."""
        path, source = self._made(name), _upright(source)
        if isinstance(source, Picture):
            write_picture(path, source)
        else:
            copy_file(Path(source), path)
        sync_folder(path.parent)
        self._repeat(name)

    def is_whole(self, name: str) -> bool:
        """Whether the image opens. Where one of its two files is lost, the other replaces it."""
        try:
            path, twin = below(self._root, name, ""), below(self._root, self._twin(name), "")
        except ValueError:
            return False
        if image_size(path) is None:
            if path == twin or image_size(twin) is None:
                return False
            self.restore(name, twin)
        own_inode(path)  # versions before linked the user's own file
        self._repeat(name)
        return True

    def _repeat(self, name: str) -> None:
        """Let test/good have what train/good has."""
        path, twin = self._root / name, self._made(self._twin(name))
        if twin != path and (not twin.is_file() or not filecmp.cmp(path, twin, shallow=False)):
            copy_file(path, twin)
            sync_folder(twin.parent)
        own_inode(twin)

    def _place_file(self, folder: str, source: Path) -> str:
        """Copy the file, under another name if a different file has its name; the name used."""
        number = 1
        while (folder, source) not in self._placed:
            name = source.name if number == 1 else f"{source.stem}_{number}{source.suffix}"
            target = self._made(f"{folder}/{name}")
            if not target.exists():
                copy_file(source, target)
                sync_folder(target.parent)
            if filecmp.cmp(source, target, shallow=False):
                own_inode(target)
                self._placed[folder, source] = name
            number += 1
        return self._placed[folder, source]

    def _made(self, name: str) -> Path:
        path = self._root / name
        make_folder(path.parent)
        return path

    @staticmethod
    def _twin(name: str) -> str:
        object_name, separator, file = name.partition(f"/{_GOOD}/")
        return f"{object_name}/test/good/{file}" if separator else name


def image_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of a file that is an image and whole; None for any other."""
    try:
        with Image.open(path) as image:
            size, checked = (image.height, image.width), image.format == "PNG"
            image.verify()
        if not checked:  # formats without checksums are whole where they can be decoded
            with Image.open(path) as image:
                image.load()
    except Exception:  # Pillow raises many kinds for damaged files; each means: make it again
        return None
    return size


def _upright(source: str | Path | Picture) -> str | Path | Picture:
    """The picture of a file that EXIF turns: not every trainer turns images, and the pair is turned."""
    turned = not isinstance(source, Picture) and stored_orientation(Path(source).read_bytes()) != 1
    return read_picture(source) if turned else source
