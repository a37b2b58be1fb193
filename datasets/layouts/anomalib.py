"""anomalib's Folder layout: normal images in good/, a folder for each defect type, masks in mask/<type>/."""

from __future__ import annotations

from pathlib import Path

from ..sample import NORMAL
from .files import below, folders, images, named, normal_folders, same
from .found import Found, Layout
from .normal_words import means_normal
from .pairing import paired

_MASKS = ("mask", "masks", "ground_truth")
_ENDS = ("", "_mask", "-mask", "_gt", "_label")
# Names of other layouts' folders, which are no defect types.
_NO_TYPES = (
    *_MASKS,
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "test",
    "images",
    "image",
    "imgs",
    "img",
    "labels",
    "label",
    "annotations",
)


def _types(folder: Path) -> list[Path]:
    others = (path for path in folders(folder) if path.name.lower() not in _NO_TYPES and not means_normal(path.name))
    return [path for path in others if below(path, Found(folder))]


def _truth(folder: Path, type: Path, only: bool) -> Path | None:
    """The folder of a type's masks; of an only type they may lie in mask/ itself."""
    for masks in named(folder, _MASKS):
        truth = next((path for path in folders(masks) if same(path.name) == same(type.name)), None)
        if truth is not None or only and images(masks):
            return truth or masks
    return None


def _matches(folder: Path) -> str | None:
    normal = next((path for path in normal_folders(folder) if below(path, Found(folder))), None)
    types = _types(folder) if normal else []
    for type in types:
        truth = _truth(folder, type, len(types) == 1)
        if truth is not None and images(truth):
            return f"it holds {normal.name}, {type.name} and {truth.relative_to(folder).as_posix()}"
    return None


def _read(folder: Path, name: str, found: Found) -> None:
    for normal in normal_folders(folder):
        for path in below(normal, found):
            found.add(name, NORMAL, "", path)
    types = _types(folder)
    for type in types:
        truth = _truth(folder, type, len(types) == 1)
        for path, mask in paired(images(type, found), images(truth, found) if truth else [], found, _ENDS):
            found.add(name, type.name, "", path, mask)
    known = {same(type.name) for type in types}
    for truth in (path for masks in named(folder, _MASKS) for path in folders(masks)):
        if same(truth.name) in known:
            continue
        found.leave_out(truth)  # of normal images: black
        if not means_normal(truth.name) and images(truth):
            found.problem(truth, f"masks for no image: there is no {truth.name}/", "add the images", False)


FOLDER = Layout(
    "folder",
    "anomalib Folder",
    "<object>/good/000.png\n<object>/<defect type>/000.png\n<object>/mask/<defect type>/000.png",
    "<object>/mask/<type>/<stem>.png",
    _matches,
    _read,
    over=("stems", "index"),
    under=("mvtec", "loco", "btad", "visa", "coco", "labelme"),
)
