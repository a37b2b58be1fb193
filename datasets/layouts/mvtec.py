"""MVTec AD, and its kin that differ in words: MVTec LOCO (a folder of masks per image), BTAD (ok and ko)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ...images.pictures import SUFFIXES
from ..pairs import MANIFEST, REFINED
from ..regions import MaskFiles, Union
from ..sample import NORMAL
from .files import UNNAMED, below, child, entries, folders, images, normal_folders, same, stem
from .found import Found, Layout, Mask, relative
from .mask_names import joined, report_orphans
from .normal_words import means_normal

_TYPES = {"ko": UNNAMED}  # BTAD


def _read(
    folder: Path,
    name: str,
    found: Found,
    *,
    good: str,
    normals: tuple[tuple[str, str], ...],
    types: Mapping[str, str] | None = None,
) -> None:
    """normals: (folder, part) of the normal images beside test; good: their folder there; types: new names."""
    for parent, part in normals:
        listed = [path for place in normal_folders(folder / parent) for path in below(place, found)]
        for path in listed:
            found.add(name, NORMAL, part, path)
        if not listed and parent == "train":
            found.problem(
                folder / "train" / good,
                f"no normal images (suffixes accepted: {' '.join(SUFFIXES)})",
                "put the images without defects there",
            )
    if (folder.parent / MANIFEST).is_file():
        found.leave_out(folder / REFINED)  # further masks of our own pairs
    truths = {path.name for path in folders(folder / "ground_truth")}
    for kind in folders(folder / "test"):
        truth = child(folder / "ground_truth", kind.name)
        truths.discard(truth.name)
        if means_normal(kind.name):
            for path in below(kind, found):
                found.add(name, NORMAL, "test", path)
        else:
            _Type(kind, truth, found).read(name, (types or {}).get(kind.name.lower(), kind.name))
    for truth in sorted(truths):
        if not means_normal(truth):
            place = folder / "ground_truth" / truth
            found.problem(place, f"masks for no image: there is no test/{truth}", "add the images", False)
            found.leave_out(place)


class _Type:
    """The images of one defect type and their masks; both may lie in sub-folders of the same names."""

    def __init__(self, kind: Path, truth: Path, found: Found):
        self.kind, self.found = kind, found
        self.images: dict[str, list[Path]] = defaultdict(list)  # by sub-folder
        self.masks: dict[str, list[Path]] = defaultdict(list)
        self.several: dict[Path, list[Path]] = defaultdict(list)  # LOCO: in a folder of the image's stem
        for path in below(kind, found):
            self.images[_place(path, kind)].append(path)
        folders_of = {(place, stem(path)): path for place, paths in self.images.items() for path in paths}
        for path in below(truth, found):
            place = _place(path, truth)
            above, _, last = place.rpartition("/")
            if (above, last) in folders_of:
                self.several[folders_of[above, last]].append(path)
            else:
                self.masks[place].append(path)

    def read(self, name: str, type: str) -> None:
        masks, orphans = self._joined()
        lots = {_place(path, self.kind) for path in masks} - {""}
        bare = lots - {_place(path, self.kind) for path, mask in masks.items() if mask is not None}
        for place in sorted(bare):
            paths = [path for path in self.images[place] if path in masks]
            what = f"{len(paths)} images without a mask, such as {paths[0].name}, left out"
            self.found.problem(self.kind / place, what, "add their masks in a folder of that name", False)
            self.found.leave_out(*paths)
        for path, mask in masks.items():
            if _place(path, self.kind) not in bare:
                self.found.add(name, type, "test", path, mask)
        report_orphans(orphans, [path for path, mask in masks.items() if mask is None] or [*masks], self.found)

    def _joined(self) -> tuple[dict[Path, Mask | None], list[Path]]:
        """Every image with its mask in the sub-folder of that name, else anywhere where stems are unique; and the
        masks that are left."""
        orphans: list[Path] = []
        masks: dict[Path, Mask | None] = {}
        for place, paths in self.images.items():
            for path, files in joined(paths, self.masks.pop(place, []), self.found, orphans):
                own = self.several.get(path, [])
                if own and files:
                    what = f"masks for {relative(path, self.found.root)} are in {files[0].parent.name}/ and in "
                    self.found.problem(files[0], f"{what}{own[0].parent.name}/", "keep one of the two")
                else:
                    masks[path] = MaskFiles(tuple(own)) if own else _one(files)
        orphans += [path for paths in self.masks.values() for path in paths]
        stems = Counter(stem(path) for paths in self.images.values() for path in paths)
        bare = [path for path, mask in masks.items() if mask is None and stems[stem(path)] == 1]
        left: list[Path] = []
        masks |= {path: _one(files) for path, files in joined(bare, orphans, self.found, left)}
        return masks, left


def _one(files: tuple[Path, ...]) -> Mask | None:
    return files[0] if len(files) == 1 else Union(files) if files else None


def _place(path: Path, folder: Path) -> str:
    place = same(relative(path.parent, folder))
    return "" if place == "." else place


def _mvtec(folder: Path) -> str | None:
    if _loco(folder):
        return None
    for part in ("train", "test"):
        if (folder / part / "good").is_dir():
            return f"it holds {part}/good"
    if _btad(folder):
        return None
    for part in ("train", "test") if (folder / "ground_truth").is_dir() else ():
        if normal_folders(folder / part):
            return f"it holds {part}/{normal_folders(folder / part)[0].name} and ground_truth"
    types = {path.name for path in folders(folder / "test")} & {path.name for path in folders(folder / "ground_truth")}
    return f"it holds test/{min(types)} and ground_truth/{min(types)}" if types - set(_TYPES) else None


def _loco(folder: Path) -> str | None:
    """A folder of masks has the name of an image; a folder that is among the images too is a lot of them."""
    for kind in folders(folder / "ground_truth"):
        listed = child(folder / "test", kind.name)
        stems: set[str] | None = None
        for entry in entries(kind):
            if entry.is_dir() and images(entry) and not (listed / entry.name).is_dir():
                stems = {stem(path) for path in images(listed)} if stems is None else stems
                if same(entry.name) in stems:
                    return f"ground_truth/{kind.name}/{entry.name} is a folder of masks"
    return None


def _btad(folder: Path) -> str | None:
    for part, word in (("train", "ok"), ("test", "ko")):
        for place in folders(folder / part):
            if place.name.lower() == word:
                return f"it holds {part}/{place.name}"
    return None


MVTEC = Layout(
    "mvtec",
    "MVTec",
    "<object>/train/good/0001.png\n<object>/test/good/0002.png\n<object>/test/<defect type>/0003.png\n"
    "<object>/ground_truth/<defect type>/0003_mask.png",
    "<object>/ground_truth/<type>/<stem>_mask.png",
    _mvtec,
    partial(_read, good="good", normals=(("train", "train"),)),
)
LOCO = Layout(
    "loco",
    "MVTec LOCO",
    "<object>/train/good/000.png\n<object>/test/<defect type>/000.png\n"
    "<object>/ground_truth/<defect type>/000/000.png, 001.png, ...",
    "<object>/ground_truth/<type>/<stem>/000.png",
    _loco,
    partial(_read, good="good", normals=(("train", "train"), ("validation", "train"))),
)
BTAD = Layout(
    "btad",
    "BTAD",
    "<object>/train/ok/0000.bmp\n<object>/test/ok/0000.bmp\n<object>/test/ko/0001.bmp\n"
    "<object>/ground_truth/ko/0001.png",
    "<object>/ground_truth/ko/<stem>.png or .bmp",
    _btad,
    partial(_read, good="ok", normals=(("train", "train"),), types=_TYPES),
)
