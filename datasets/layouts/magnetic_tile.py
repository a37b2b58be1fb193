"""The magnetic-tile set as published: MT_<type>/Imgs with a .jpg image and its .png mask of one name."""

from __future__ import annotations

import re
from pathlib import Path

from ..sample import NORMAL
from .files import folders, images
from .found import Found, Layout
from .normal_words import means_normal
from .pairing import paired

_NAME = re.compile("MT_(.+)", re.IGNORECASE)
_NORMAL = "free"


def _kinds(folder: Path) -> dict[str, Path]:
    """{type: its folder of images and masks}."""
    found = {}
    for place in folders(folder):
        match = _NAME.fullmatch(place.name)
        imgs = next((path for path in folders(place) if path.name.lower() == "imgs"), None)
        if match and imgs is not None:
            found[match[1]] = imgs
    return found


def _matches(folder: Path) -> str | None:
    kinds = _kinds(folder)
    return f"it holds {min(kinds.values()).relative_to(folder).as_posix()}" if kinds else None


def _read(folder: Path, name: str, found: Found) -> None:
    for type, imgs in _kinds(folder).items():
        files = images(imgs, found)
        masks = [path for path in files if path.suffix.lower() == ".png"]
        pictures = [path for path in files if path.suffix.lower() != ".png"]
        if type.lower() == _NORMAL or means_normal(type):  # its masks are black
            found.leave_out(*masks)
            for path in pictures:
                found.add(name, NORMAL, "", path)
        else:
            for path, mask in paired(pictures, masks, found, ("",)):
                found.add(name, type, "", path, mask)


MAGNETIC_TILE = Layout(
    "magnetic_tile",
    "magnetic-tile set",
    "<object>/MT_Free/Imgs/exp1_num_1.jpg\n<object>/MT_<defect type>/Imgs/exp1_num_2.jpg\n"
    "<object>/MT_<defect type>/Imgs/exp1_num_2.png",
    "MT_<type>/Imgs/<stem>.png",
    _matches,
    _read,
    over=("stems", "index"),
)
