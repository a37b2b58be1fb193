"""MVTec AD 2: a public test set with masks, and private ones that have none."""

from __future__ import annotations

from pathlib import Path

from ..sample import NORMAL
from .files import folders, images, normal_folders
from .found import Found, Layout
from .normal_words import means_normal
from .pairing import paired


def _matches(folder: Path) -> str | None:
    for name in ("test_public/good", "test_public/bad", "test_public/ground_truth"):
        if (folder / name).is_dir():
            return f"it holds {name}"
    return None


def _read(folder: Path, name: str, found: Found) -> None:
    for part in ("train", "validation"):
        listed = [path for place in normal_folders(folder / part) for path in images(place, found)]
        for path in listed:
            found.add(name, NORMAL, "train", path)
        if part == "train" and not listed:
            found.problem(folder / part / NORMAL, "no normal images", "put the images without defects there")
    public = folder / "test_public"
    for kind in folders(public):
        if means_normal(kind.name):
            for path in images(kind, found):
                found.add(name, NORMAL, "test", path)
        elif kind.name != "ground_truth":
            truth = images(public / "ground_truth" / kind.name, found)
            for path, mask in paired(images(kind, found), truth, found):
                found.add(name, kind.name, "test", path, mask)
    for private in (path for path in folders(folder) if path.name.startswith("test_private")):
        found.leave_out(private)
        count = len(images(private)) + sum(len(images(sub)) for sub in folders(private))
        found.problem(
            private,
            f"{count} images without published masks; left out",
            "nothing: only the dataset's own server can judge them",
            False,
        )


MVTEC_AD2 = Layout(
    "mvtec_ad2",
    "MVTec AD 2",
    "<object>/train/good/000_regular.png\n<object>/validation/good/000_regular.png\n"
    "<object>/test_public/good/000_regular.png\n<object>/test_public/bad/000_regular.png\n"
    "<object>/test_public/ground_truth/bad/000_regular_mask.png",
    "<object>/test_public/ground_truth/<type>/<stem>_mask.png",
    _matches,
    _read,
    over=("mvtec",),
)
