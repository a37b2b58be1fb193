"""Read folders in MVTec layout: normals, defect images and their masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from .pictures import Picture, read_mask, read_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_EXAMPLE = """expected is, for each object:
  <object>/train/good/0001.png
  <object>/test/good/0002.png
  <object>/test/<defect type>/0003.png
  <object>/ground_truth/<defect type>/0003_mask.png"""
_SHOWN = 5


@dataclass(frozen=True, order=True)
class Sample:
    """One image of a folder in MVTec layout.

    object: the object's folder name, as it stands in root; type: "good" or the defect's name; part: "train" or "test"
    of the layout; name: posix path of the image relative to root; mask: path of the ground truth, None for normal
    images.
    """

    object: str
    type: str
    part: str
    name: str
    root: Path
    mask: Path | None

    @property
    def image(self) -> Path:
        """Path of the image file."""
        return self.root / self.name


def read_mvtec(root: str | Path, types: Iterable[str] | None = None) -> list[Sample]:
    """List the images of one object's folder, or of a folder of such objects, sorted by name.

    types: keep the defect images of these types only; normal images always come along.
    Raises ValueError if root is missing or not in MVTec layout, if an object has no image in train/good, if a defect
    image has no ground truth, or if a type does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; {_EXAMPLE}")
    samples = [sample for folder in _objects(root) for sample in _read_object(folder, root)]
    if types is not None:
        samples = _keep_types(samples, set(types), root)
    _check_ground_truth(samples, root)
    return sorted(samples, key=lambda sample: sample.name)


def read_sample(sample: Sample) -> tuple[Picture, torch.Tensor | None]:
    """Read an image and its mask (bool [H, W] of the image's size, at least one defect pixel; None for normal images).

    Raises ValueError naming the files if one is damaged, the sizes differ, or the mask is empty; OSError if one cannot
    be opened.
    """
    picture = read_picture(sample.image)
    if sample.mask is None:
        return picture, None
    mask = read_mask(sample.mask, picture.size, of=sample.image)
    if not mask.any():
        raise ValueError(
            f"{sample.mask}: the mask is empty, but {sample.image} counts as a defect image; accepted is at least one "
            "defect pixel; draw the defect, or move the image to the normal ones"
        )
    return picture, mask


def check_samples(samples: Iterable[Sample]) -> None:
    """Read every image and mask once, so that a bad one is found before work starts.

    Raises one ValueError for all that `read_sample` refuses or that cannot be opened: the first 5 and how many more.
    """
    samples, problems = list(samples), []
    for sample in samples:
        try:
            read_sample(sample)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        raise ValueError(f"{len(problems)} of {len(samples)} images cannot be used:{listed}{more}")


def _objects(root: Path) -> list[Path]:
    found = [root] if _is_object(root) else [entry for entry in _entries(root) if _is_object(entry)]
    if not found:
        entries = [entry.name + "/" * entry.is_dir() for entry in _entries(root)]
        shown = ", ".join(entries[:5]) + (f" and {len(entries) - 5} more" if len(entries) > 5 else "")
        raise ValueError(f"{root}: not in MVTec layout; it holds {shown or 'nothing'}; {_EXAMPLE}")
    return found


def _is_object(folder: Path) -> bool:
    return (folder / "train" / "good").is_dir() or (folder / "test").is_dir()


def _read_object(folder: Path, root: Path) -> list[Sample]:
    # A child keeps the name it has here: two links to one folder are two objects. Root may be given as '.'.
    name = folder.resolve().name if folder == root else folder.name
    normals = _images(folder / "train" / "good")
    if not normals:
        raise ValueError(
            f"{folder / 'train' / 'good'}: no normal images (suffixes accepted: {' '.join(SUFFIXES)}); "
            "put the images without defects there"
        )
    samples = [Sample(name, "good", "train", _relative(path, root), root, None) for path in normals]
    for kind in (entry for entry in _entries(folder / "test") if entry.is_dir()):
        masks = {} if kind.name == "good" else {p.stem: p for p in _images(folder / "ground_truth" / kind.name)}
        for path in _images(kind):
            mask = masks.get(f"{path.stem}_mask", masks.get(path.stem))
            samples.append(Sample(name, kind.name, "test", _relative(path, root), root, mask))
    return samples


def _keep_types(samples: list[Sample], types: set[str], root: Path) -> list[Sample]:
    known = {sample.type for sample in samples}
    if types - known:
        raise ValueError(
            f"{root}: no defect type {', '.join(map(repr, sorted(types - known)))}; "
            f"there is {', '.join(sorted(known - {'good'})) or 'none'}"
        )
    return [sample for sample in samples if sample.type == "good" or sample.type in types]


def _check_ground_truth(samples: list[Sample], root: Path) -> None:
    bare = [sample.name for sample in samples if sample.type != "good" and sample.mask is None]
    if bare:
        raise ValueError(
            f"{root}: {len(bare)} defect images have no ground truth: {', '.join(sorted(bare)[:3])}"
            f"{', ...' if len(bare) > 3 else ''}; add <object>/ground_truth/<type>/<stem>_mask.png "
            "(the image's size, 255 on the defect) or move these images away"
        )


def _images(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
