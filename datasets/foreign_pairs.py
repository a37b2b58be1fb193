"""Pairs that anyone made, as folders: ours, MVTec AD's arrangement, and what published generators write.

- Ours: manifest.jsonl names every image and mask, as `synthesize`, Save Pairs and plain exports write it.
- MVTec AD: <object>/test/<type>/<stem>.png and <object>/ground_truth/<type>/<stem>_mask.png; train/good may be missing.
- AnomalyDiffusion (generate_with_mask.py of github.com/sjtuplayer/anomalydiffusion): generated_dataset/<object>/<type>/
  with image/<n>.jpg and mask/<n>.jpg; the folders image-mask, ori and recon are not read.
- SeaS (models/seas_infer.py and scripts/infer_shs of github.com/Dan5N/SeaS): outputs/images/<object>/<type>/ with
  image/<nnn>.png and mask/<nnn>.png.
- AnomalyGen (docs/tutorial/texture of github.com/NVIDIA/paidf-anomalygen): its output has
  reconstructed_image/<object>+<type>_<index>.png and original_mask/ with the same names; its data sets have
  <object>/anomaly_image/<type>/<stem>.png and <object>/mask/<type>/<stem>_mask.png, or anomaly_mask for mask.

Pairs whose mask is empty are left out: both AnomalyDiffusion and SeaS can write some.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused
from ..files.progress import tracked
from ..images.mask_files import read_mask
from ..images.pictures import read_picture
from .layouts.files import UNNAMED, below, child, entries, folders, images, named
from .layouts.found import Found, relative
from .layouts.normal_words import means_normal
from .layouts.pairing import paired
from .pairs import MANIFEST, manifest_lines
from .sample import Sample, first_few, refusal
from .split import Split, content_mark

_log = logging.getLogger(__name__)
_ACCEPTED = (
    f"{MANIFEST}; <object>/test/<type> and ground_truth/<type>; <object>/<type>/image and mask; "
    "<object>/anomaly_image/<type> and anomaly_mask/<type> or mask/<type>; reconstructed_image and original_mask"
)
_GENERATED = re.compile(r"(?P<object>.+?)\+(?P<type>.+)_\d+")  # AnomalyGen: Phone+oil_00000
_SHOWN = 5

Place = tuple[str, str, Path, Path]  # object, type, folder of images, folder of masks


@dataclass(frozen=True)
class ForeignPairs:
    """A folder of pairs.

    samples: those that show a defect, sorted by name; sources: {image: names of the images that it was made from},
    where a manifest says so; marks: {path: content mark} of every image file below root, see `split.content_mark`;
    size: (height, width) of the first image.
    """

    root: Path
    samples: tuple[Sample, ...]
    sources: Mapping[str, tuple[str, ...]]
    marks: Mapping[str, str]
    size: tuple[int, int]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of names and content: the same in any location."""
        return hashlib.sha256(json.dumps(self.marks, sort_keys=True).encode()).hexdigest()


def read_pairs(root: str | Path, note: Callable[[str], None] = _log.warning) -> ForeignPairs:
    """Read a folder of pairs in one of the arrangements above, with every image and mask.

    note: takes the warning about empty masks.
    Raises Refused for a folder that is missing, empty or in no known arrangement, for an image without a mask, a mask
    without an image, a mask of another size, and a damaged file: the first few and how many more.
    """
    root = Path(root)
    if not root.is_dir():
        raise Refused(root, "not a folder" if root.exists() else "no such folder", "a folder of pairs")
    found, sources = Found(root), {}
    if (root / MANIFEST).is_file():
        sources = _listed(root, found)
    else:
        _joined(root, found)
    bare = [sample.name for sample in found.samples if sample.mask is None]
    problems = [*map(str, found.problems), *(f"{name}: an image without a mask" for name in sorted(bare))]
    if problems:
        raise Refused(root, f"images and masks do not match:{first_few(problems)}", "one mask for every image")
    if not found.samples:
        raise Refused(root, "no pair in it", _ACCEPTED)
    samples, size = _with_defect(root, sorted(found.samples), note)
    files = tracked("marking pairs", below(root, Found(root)))
    return ForeignPairs(root, samples, sources, {relative(path, root): content_mark(path) for path in files}, size)


def check_sources(
    pairs: ForeignPairs, split: Split, barred: Collection[str], note: Callable[[str], None] = _log.warning
) -> None:
    """Refuse pairs that were made from images which must not train.

    The names that a manifest gives are compared, and the content of every file in the folder. Images of equal names are
    worth a warning where no manifest says what they were made from.

    Args:
        barred: names of the split's images that must not train, such as those held back.
        note: takes the warning.

    Raises:
        Refused: naming the first.
    """
    remedy = "make the pairs from the images that train"
    for image, names in sorted(pairs.sources.items()):
        for name in names:
            if name in barred:
                raise Refused(pairs.root, f"{image} was made from {name}, which must not train", remedy=remedy)
    free = {mark for name, mark in split.marks.items() if name not in barred}
    marks = {mark: name for name, mark in split.marks.items() if name in barred and mark not in free}
    for file, mark in sorted(pairs.marks.items()):
        if mark in marks:
            raise Refused(pairs.root, f"{file} has the content of {marks[mark]}, which must not train", remedy=remedy)
    same = [] if pairs.sources else sorted({sample.name for sample in pairs.samples} & set(barred))
    if same:
        note(
            f"{pairs.root}: {len(same)} images have the names of images that must not train, such as {same[0]}; their "
            "content differs, but look at what they were made from"
        )


def _listed(root: Path, found: Found) -> dict[str, tuple[str, ...]]:
    """The pairs of a manifest, and what they were made from; those whose image and mask were deleted are left out."""
    sources = {}
    for number, line in enumerate(manifest_lines(root), 1):
        image, mask, object, type = (line.get(key) for key in ("image", "mask", "object", "type"))
        if not all(isinstance(one, str) for one in (image, mask, object, type)):
            got = f"line {number} does not name image, mask, object and type"
            raise Refused(root / MANIFEST, got, "a folder of pairs, or a plain export of one")
        there, masked = (root / image).is_file(), (root / mask).is_file()
        if there:
            found.add(object, type, "test", root / image, root / mask if masked else None)
        elif masked:
            found.problem(root / mask, "a mask for no image", "restore the image, or delete the mask")
        sources[image] = tuple(line[key] for key in ("normal_source", "mask_source") if isinstance(line.get(key), str))
    return sources


def _joined(root: Path, found: Found) -> None:
    """The pairs of every other arrangement, joined by their names."""
    places, generated = _places(root), _generated(root)
    if not places and generated is None:
        names = [entry.name + "/" * entry.is_dir() for entry in entries(root)]
        shown = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
        raise Refused(root, f"no known arrangement of pairs; it holds {shown or 'nothing'}", _ACCEPTED)
    for object, type, pictures, masks in places:
        for picture, mask in paired(images(pictures, found), images(masks, found), found):
            found.add(object, type, "test", picture, mask)
    for picture, mask in paired(*(images(folder, found) for folder in generated), found) if generated else ():
        name = _GENERATED.fullmatch(picture.stem)
        if name is None:
            found.problem(picture, "its name is not <object>+<type>_<index>", "give it its first name")
        else:
            found.add(name["object"], name["type"], "test", picture, mask)


def _generated(root: Path) -> tuple[Path, Path] | None:
    """AnomalyGen's output."""
    pictures, masks = root / "reconstructed_image", root / "original_mask"
    return (pictures, masks) if pictures.is_dir() else None


def _places(root: Path) -> list[Place]:
    """Where images and masks lie: root is one type, one object, or a folder of objects."""
    real = root.resolve()
    one = _image_and_mask(root)
    if one:
        return [(real.parent.name, real.name, *one)]
    return [*_of_object(root, real.name)] or [
        place for folder in folders(root) for place in _of_object(folder, folder.name)
    ]


def _of_object(folder: Path, object: str) -> Iterator[Place]:
    if (folder / "ground_truth").is_dir():
        for kind in folders(folder / "test"):
            if not means_normal(kind.name):
                yield object, kind.name, kind, child(folder / "ground_truth", kind.name)
    pictures = folder / "anomaly_image"
    if pictures.is_dir():
        masks = next((folder / name for name in ("anomaly_mask", "mask") if (folder / name).is_dir()), folder / "mask")
        if images(pictures):
            yield object, UNNAMED, pictures, masks
        for kind in folders(pictures):
            yield object, kind.name, kind, child(masks, kind.name)
    for kind in folders(folder):
        found = _image_and_mask(kind)
        if found:
            yield object, kind.name, *found


def _image_and_mask(folder: Path) -> tuple[Path, Path] | None:
    pictures, masks = named(folder, ("image", "images")), named(folder, ("mask", "masks"))
    return (pictures[0], masks[0]) if pictures and masks else None


def _with_defect(
    root: Path, samples: Sequence[Sample], note: Callable[[str], None]
) -> tuple[tuple[Sample, ...], tuple[int, int]]:
    """The samples whose mask holds any pixel, and the first image's size; reads them all."""
    kept, empty, problems, sizes = [], [], [], []
    for sample in tracked("checking pairs", samples):
        try:
            sizes.append(read_picture(sample.image).size)
            mask = read_mask(sample.mask, sizes[-1], of=sample.image)
            (kept if mask.any() else empty).append(sample)
        except (ValueError, OSError) as error:
            problems.append(refusal(error, sample.image).words)
    if problems:
        raise Refused(root, f"{len(problems)} of {len(samples)} pairs cannot be used:{first_few(problems)}")
    if not kept:
        raise Refused(root, f"the masks of all {len(samples)} pairs are empty", "defects in white")
    if empty:
        note(
            f"{root}: {len(empty)} of {len(samples)} pairs have an empty mask and are left out, such as {empty[0].name}"
        )
    return tuple(kept), sizes[0]
