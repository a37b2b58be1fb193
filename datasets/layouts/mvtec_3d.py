"""MVTec 3D-AD: colour images in rgb/, masks in gt/; the depth in xyz/ is not read."""

from __future__ import annotations

from pathlib import Path

from ..regions import MaskFiles
from ..sample import NORMAL
from .files import folders, images, normal_folders
from .found import Found, Layout
from .normal_words import means_normal
from .pairing import paired

_PARTS = {"train": "train", "validation": "train", "test": "test"}


def _matches(folder: Path) -> str | None:
    for part in _PARTS:
        for kind in folders(folder / part):
            if (kind / "rgb").is_dir() and ((kind / "xyz").is_dir() or (kind / "gt").is_dir()):
                return f"it holds {part}/{kind.name}/rgb"
    return None


def _read(folder: Path, name: str, found: Found) -> None:
    depth = 0
    for part, counts_as in _PARTS.items():
        for kind in folders(folder / part):
            pictures = images(kind / "rgb", found)
            depth += (kind / "xyz").is_dir()
            found.leave_out(kind / "xyz")
            if means_normal(kind.name):  # its gt/ holds black masks
                found.leave_out(kind / "gt")
                for path in pictures:
                    found.add(name, NORMAL, counts_as, path)
            else:
                for path, mask in paired(pictures, images(kind / "gt", found), found, ("", "_mask")):
                    found.add(name, kind.name, counts_as, path, mask and MaskFiles((mask,)))
    if not any(images(place / "rgb") for place in normal_folders(folder / "train")):
        found.problem(folder / "train" / NORMAL / "rgb", "no normal images", "put the images without defects there")
    if depth:
        found.notes.append(f"{name}: the depth in xyz/ is not read")


MVTEC_3D = Layout(
    "mvtec_3d",
    "MVTec 3D-AD",
    "<object>/train/good/rgb/000.png\n<object>/validation/good/rgb/000.png\n<object>/test/<defect type>/rgb/000.png\n"
    "<object>/test/<defect type>/gt/000.png",
    "<object>/test/<type>/gt/<stem>.png",
    _matches,
    _read,
    over=("mvtec", "loco"),
)
