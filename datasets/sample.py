"""The one dataset type: an image, what it shows and where, whatever layout it was read from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import Refused
from ..files.progress import tracked
from ..images.mask_files import read_mask
from ..images.pictures import Picture, read_picture
from .regions import ColourMask, MaskFiles, Outlines, Union

NORMAL = "good"
_SHOWN = 5


@dataclass(frozen=True, order=True)
class Sample:
    """One image and one defect type on it; an image with defects of several types is one sample for each of them.

    object: the object's name; type: "good" or the defect's name; part: "train" or "test" of the layout, "" where the
    layout does not say; name: posix path of the image relative to root, which samples of one image share; mask: where
    this type's defect is (a mask's path, or a description of several files, class values or outlines), None for normal
    images.
    """

    object: str
    type: str
    part: str
    name: str
    root: Path
    mask: Path | MaskFiles | ColourMask | Outlines | Union | None

    @property
    def image(self) -> Path:
        """Path of the image file."""
        return self.root / self.name

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the sample is read from, the image first."""
        if self.mask is None:
            return (self.image,)
        return (self.image, *((self.mask,) if isinstance(self.mask, Path) else self.mask.files))


def read_sample(sample: Sample, picture: Picture | None = None) -> tuple[Picture, torch.Tensor | None]:
    """Read an image and its mask (bool [H, W] of the image's size, at least one defect pixel; None for normal images).

    picture: the image, where it was read for another type on it; only the mask is read then.
    Raises Refused about the file if one is damaged, the sizes differ, or the mask is empty; OSError if one cannot
    be opened.
    """
    picture = picture or read_picture(sample.image)
    if sample.mask is None:
        return picture, None
    if isinstance(sample.mask, Path):
        mask = read_mask(sample.mask, picture.size, of=sample.image)
    else:
        mask = sample.mask.read(picture.size, sample.image)
    if not mask.any():
        got = f"the mask is empty, but {sample.image} counts as a defect image"
        remedy = "draw the defect, or move the image to the normal ones"
        raise Refused(sample.mask, got, "at least one defect pixel", remedy)
    return picture, mask


def refusal(error: ValueError | OSError, file: Path) -> Refused:
    """What reading a file raised, with fields: a refusal as it is, an error of the system or of a library about it."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, OSError):
        got = f"it cannot be opened ({error.strerror or error})"
        return Refused(error.filename or file, got, remedy="restore it")
    return Refused(file, error, remedy="replace it")


def check_samples(samples: Iterable[Sample]) -> None:
    """Read every image and mask once, so that a bad one is found before work starts.

    Raises one Refused for all that `read_sample` refuses or that cannot be opened: the first 5 and how many more.
    """
    samples, problems = list(samples), []
    for sample in tracked("checking images", samples):
        try:
            read_sample(sample)
        except (ValueError, OSError) as error:
            problems.append(refusal(error, sample.image).words)
    if problems:
        raise Refused("images", f"{len(problems)} of {len(samples)} cannot be used:{first_few(problems)}")


def first_few(lines: Sequence[str]) -> str:
    """The first 5 lines, indented, and how many more there are."""
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "".join(f"\n  {line}" for line in lines[:_SHOWN]) + more


def whole_images(samples: Iterable[Sample]) -> list[Sample]:
    """One sample per image, in order: types of one image are joined as "crack + hole", and so are their masks.

    For uses that need where a pixel is defective, not by what: a hole is no normal surface because a crack was meant.
    """
    images: dict[tuple[Path, str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        images[sample.root, sample.object, sample.name].append(sample)
    return [found[0] if len(found) == 1 else _joined(found) for found in images.values()]


def _joined(samples: Sequence[Sample]) -> Sample:
    samples = sorted(samples, key=lambda sample: sample.type)
    return replace(samples[0], type=" + ".join(s.type for s in samples), mask=Union(tuple(s.mask for s in samples)))
