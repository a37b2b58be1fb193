"""MVTec AD, and its kin that differ in words: MVTec LOCO (a folder of masks per image), BTAD (ok and ko)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..pictures import SUFFIXES
from ..regions import MaskFiles, Union
from ..sample import NORMAL
from .files import UNNAMED, entries, folders, images, same, stem
from .found import Found, Layout, relative
from .mask_names import joined

_TYPES = {"ko": UNNAMED}  # BTAD


def _read(
    folder: Path, name: str, found: Found, *, good: str, normals: tuple[tuple[str, str], ...],
    types: Mapping[str, str] | None = None,
) -> None:
    """normals: (folder, part) of the normal images beside test; good: the normal ones in test; types: new names."""
    for parent, part in normals:
        listed = images(folder / parent / good, found)
        for path in listed:
            found.add(name, NORMAL, part, path)
        if not listed and parent == "train":
            found.problem(
                folder / "train" / good, f"no normal images (suffixes accepted: {' '.join(SUFFIXES)})",
                "put the images without defects there",
            )  # fmt: skip
    kinds = folders(folder / "test")
    for kind in kinds:
        if kind.name == good:
            for path in images(kind, found):
                found.add(name, NORMAL, "test", path)
        else:
            _read_type(kind, folder / "ground_truth" / kind.name, name, (types or {}).get(kind.name, kind.name), found)
    for truth in folders(folder / "ground_truth"):
        if truth.name not in {kind.name for kind in kinds}:
            found.problem(truth, f"masks for no image: there is no test/{truth.name}", "add the images", False)


def _read_type(kind: Path, truth: Path, name: str, type: str, found: Found) -> None:
    inside = {same(path.name): tuple(images(path, found)) for path in folders(truth)}
    pairs = list(joined(images(kind, found), images(truth, found), found))
    for path, files in pairs:
        own = inside.pop(stem(path), ())
        if own and files:
            what = f"masks for {relative(path, found.root)} are in {truth.name}/ and in {truth.name}/{stem(path)}/"
            found.problem(files[0], what, "keep one of the two")
        elif own:
            found.add(name, type, "test", path, MaskFiles(own))
        else:
            mask = files[0] if len(files) == 1 else Union(files) if files else None
            found.add(name, type, "test", path, mask)
    for folder in inside:
        what = f"a mask for no image in test/{kind.name}: the folder has the stem of none"
        found.problem(truth / folder, what, "add the image, or rename the folder", False)


def _mvtec(folder: Path) -> str | None:
    if _loco(folder):
        return None
    if (folder / "train" / "good").is_dir():
        return "it holds train/good"
    if (folder / "test" / "good").is_dir():
        return "it holds test/good"
    types = {path.name for path in folders(folder / "test")} & {path.name for path in folders(folder / "ground_truth")}
    return f"it holds test/{min(types)} and ground_truth/{min(types)}" if types - set(_TYPES) else None


def _loco(folder: Path) -> str | None:
    for kind in folders(folder / "ground_truth"):
        for entry in entries(kind):
            if entry.is_dir() and images(entry):
                return f"ground_truth/{kind.name}/{entry.name} is a folder of masks"
    return None


def _btad(folder: Path) -> str | None:
    for name in ("train/ok", "test/ko"):
        if (folder / name).is_dir():
            return f"it holds {name}"
    return None


MVTEC = Layout(
    "mvtec", "MVTec",
    "<object>/train/good/0001.png\n<object>/test/good/0002.png\n<object>/test/<defect type>/0003.png\n"
    "<object>/ground_truth/<defect type>/0003_mask.png",
    "<object>/ground_truth/<type>/<stem>_mask.png", _mvtec, partial(_read, good="good", normals=(("train", "train"),)),
)  # fmt: skip
LOCO = Layout(
    "loco", "MVTec LOCO",
    "<object>/train/good/000.png\n<object>/test/<defect type>/000.png\n"
    "<object>/ground_truth/<defect type>/000/000.png, 001.png, ...",
    "<object>/ground_truth/<type>/<stem>/000.png", _loco,
    partial(_read, good="good", normals=(("train", "train"), ("validation", "train"))),
)  # fmt: skip
BTAD = Layout(
    "btad", "BTAD",
    "<object>/train/ok/0000.bmp\n<object>/test/ok/0000.bmp\n<object>/test/ko/0001.bmp\n"
    "<object>/ground_truth/ko/0001.png",
    "<object>/ground_truth/ko/<stem>.png or .bmp", _btad,
    partial(_read, good="ok", normals=(("train", "train"),), types=_TYPES),
)  # fmt: skip
