"""Read a dataset in any layout that is known here: detect it, list its images, report what is wrong."""

from __future__ import annotations

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..errors import Refused
from .layouts import LAYOUTS
from .layouts.annotations import damaged_json
from .layouts.files import IMAGE_FOLDERS, PARTS, entries, folders
from .layouts.found import Found, Layout, Problem
from .layouts.normal_words import means_normal
from .layouts.unread import holds_images, report_unread
from .pairs import check_names
from .sample import NORMAL, Sample, first_few

_log = logging.getLogger(__name__)
_SHOWN = 5
_DEEPEST, _TRIED = 4, 50  # levels below a folder that are searched for a dataset, and folders of each
_INNER = {*PARTS, *IMAGE_FOLDERS, "ground_truth", "mask", "masks", "labels", "annotations", "data"}  # of one object
_INSPECT = "list them all with `anomaly-synthesis inspect {}`"


@dataclass(frozen=True)
class Dataset:
    """A folder that was read, its problems included.

    layout: which it is in; why: its sign; samples: sorted by name, defect images that lack their mask with mask None;
    notes: how what the folder does not say was understood.
    """

    root: Path
    layout: Layout
    why: str
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def read_dataset(
    root: str | Path,
    types: Iterable[str] | None = None,
    layout: str | None = None,
    note: Callable[[str], None] = _log.warning,
) -> list[Sample]:
    """List the images of one object's folder, or of a folder of such objects, sorted by name and type.

    Args:
        root: the folder.
        types: keep the defect images of these types only; normal images always come along.
        layout: name of a layout of `layouts.LAYOUTS`; None detects it and logs which it is and why.
        note: takes the warnings.

    Returns:
        one sample per image and defect type on it. No pixel is read but where only a mask's pixels say what an image
        shows (layouts "stems" and "index"); `check_samples` reads all.

    Raises:
        Refused: root is missing, in no known layout or in several; a defect image without a mask, a file that cannot
            be understood, an unknown type; the first few and how many more.
    """
    dataset = find_dataset(root, layout)
    if layout is None:
        _log.info("%s: %s (%s)", root, dataset.layout.title, dataset.why)
    look = [str(problem) for problem in dataset.problems if not problem.unusable]
    if look:
        note(f"{root}: {len(look)} worth a look, such as {look[0]}; {_INSPECT.format(root)}")
    problems = [str(problem) for problem in dataset.problems if problem.unusable]
    if problems:
        got = f"{_count(problems)} in the dataset:{first_few(problems)}"
        raise Refused(root, got, remedy=_INSPECT.format(root))
    samples = _of_types(dataset.samples, types, root)
    bare = [sample.name for sample in samples if is_bare(sample)]
    if bare:
        shown = ", ".join(sorted(bare)[:3]) + ", ..." * (len(bare) > 3)
        remedy = f"add {dataset.layout.truth} (the image's size, 255 on the defect) or move these images away"
        raise Refused(root, f"{len(bare)} defect images have no ground truth: {shown}", remedy=remedy)
    return samples


def find_dataset(root: str | Path, layout: str | None = None) -> Dataset:
    """Read a folder as `read_dataset` does, and keep what is wrong with it instead of raising.

    Raises Refused only where nothing can be read: root is missing, or in no known layout, or in several.
    """
    root = Path(root)
    known = [one.named() if layout else one for one in LAYOUTS if layout in (None, one.name)]
    if not known:
        raise Refused("layout", repr(layout), ", ".join(one.name for one in LAYOUTS))
    if not root.is_dir():
        reason = "not a folder" if root.exists() else "no such folder"
        raise Refused(root, reason, _examples(known))
    layout_found, objects, why = _detect(root, known)
    found = Found(root)
    for folder in objects:
        layout_found.read(folder, _object_name(folder, root), found)
    if objects != [root]:
        _left_out([folder for folder in _children(root) if folder not in objects], layout_found, found)
    report_unread(found, layout_found)
    if not found.samples and not found.problems:
        found.problem(root, "no images", "add some")
    _check(found)
    samples = sorted(found.samples, key=lambda sample: (sample.name, sample.type))
    return Dataset(root, layout_found, why, tuple(samples), tuple(sorted(set(found.problems))), tuple(found.notes))


def is_bare(sample: Sample) -> bool:
    """Whether a defect image lacks its mask."""
    return sample.type != NORMAL and sample.mask is None


def _detect(root: Path, known: list[Layout]) -> tuple[Layout, list[Path], str]:
    """The layout, its objects' folders, and what shows it; root as one object goes before the folders in it."""
    for places in ([root], _children(root)):
        whys: dict[str, list[tuple[Path, str]]] = defaultdict(list)
        for place in places:
            for layout, why in _matching(place, known):
                whys[layout.name].append((place, why if place == root else f"{place.name}: {why}"))
        if len(whys) > 1:
            shown = "; ".join(f"{name} ({found[0][1]})" for name, found in whys.items())
            remedy = "give one of the folders in it, move what does not belong there away, or name the layout"
            raise Refused(root, f"it could be in {len(whys)} layouts: {shown}", remedy=remedy)
        for name, found in whys.items():
            layout = next(one for one in known if one.name == name)
            return layout, [place for place, _ in found], found[0][1]
    raise _unknown(root, known)


def _matching(place: Path, known: list[Layout]) -> list[tuple[Layout, str]]:
    """The layouts that a folder is in and what shows it, without those that yield to another one of them."""
    found = [(layout, why) for layout in known if (why := layout.matches(place))]
    return [(layout, why) for layout, why in found if not any(layout.yields_to(other) for other, _ in found)]


def _children(root: Path) -> list[Path]:
    return [folder for folder in folders(root) if not _leads_back(folder, root)]


def _left_out(others: list[Path], layout: Layout, found: Found) -> None:
    """Folders beside the objects that look as if they were meant to be some."""
    for folder in others:
        damaged = damaged_json(folder)
        if damaged:
            found.problem(damaged, "no readable JSON", "export it again", layout.name in ("coco", "labelme"))
            found.leave_out(folder)
        elif holds_images(folder, found):
            what = f"it holds images, but not in {layout.title} layout; left out"
            found.problem(folder, what, "arrange it like the others, or move it away", False)
            found.leave_out(folder)


def _leads_back(folder: Path, root: Path) -> bool:
    """Whether a link leads to root or a folder above it: a circle."""
    return folder.is_symlink() and (folder.resolve() == root.resolve() or folder.resolve() in root.resolve().parents)


def _unknown(root: Path, known: list[Layout]) -> Refused:
    names = [entry.name + "/" * entry.is_dir() for entry in entries(root)]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    damaged = next(filter(None, map(damaged_json, [root, *_children(root)])), None)
    title = known[0].title if len(known) == 1 else "any known"
    got = (
        f"not in {title} layout; it holds {shown or 'nothing'}"
        f"{f', and {damaged} is no readable JSON' if damaged else ''}{_hints(root, known)}{_nearby(root, known)}"
    )
    return Refused(root, got, _examples(known))


def _hints(root: Path, known: list[Layout]) -> str:
    """What keeps the folder, or one in it, from being in a layout that it comes close to."""
    hints = ((place, one.hint(place)) for place in [root, *_children(root)] for one in known if one.hint)
    return next((f"; in {place}, {hint}" for place, hint in hints if hint), "")


def _nearby(root: Path, known: list[Layout]) -> str:
    """Which folder to give where root is a level or two off."""
    real = root.resolve()
    for folder, inner, above in (
        (real.parent, real.name, "the folder above it"),
        (real.parent.parent, real.parent.name, "the folder two levels above it"),
    ):
        match = _first_match(folder, known) if inner.lower() in _INNER or means_normal(inner) else None
        if match:  # not by its name: whoever may read root need not know what it lies in
            return f"; it is a part of a folder in {match.title} layout: give {above}"
    for depth in range(2, _DEEPEST + 1):
        for folder in islice(_at_depth(root, depth), _TRIED):
            match = _first_match(folder, known)
            if match:
                shown = folder.relative_to(root).as_posix()
                return f"; its folder {shown} is in {match.title} layout: give {folder.parent}, or {folder} alone"
    return ""


def _first_match(folder: Path, known: list[Layout]) -> Layout | None:
    try:
        return next((layout for layout in known if layout.matches(folder)), None)
    except OSError:
        return None


def _at_depth(root: Path, depth: int) -> Iterator[Path]:
    for child in _children(root):
        if not child.is_symlink():
            yield from (child,) if depth == 1 else _at_depth(child, depth - 1)


def _examples(known: list[Layout]) -> str:
    if len(known) == 1:
        return "for each object:\n  " + known[0].example.replace("\n", "\n  ")
    lines = (f"  {one.name}: " + ", ".join(line.split("  ")[0] for line in one.example.split("\n")) for one in known)
    return "one of:\n" + "\n".join(lines)


def _object_name(folder: Path, root: Path) -> str:
    # A child keeps the name it has here: two links to one folder are two objects. Root may be given as '.'.
    return (folder.resolve().name if folder == root else folder.name) or "object"


def _of_types(samples: Iterable[Sample], types: Iterable[str] | None, root: str | Path) -> list[Sample]:
    if types is None:
        return list(samples)
    wanted, known = set(types), {sample.type for sample in samples}
    if wanted - known:
        got = f"no defect type {', '.join(map(repr, sorted(wanted - known)))}"
        raise Refused(root, f"{got}; there is {', '.join(sorted(known - {NORMAL})) or 'none'}")
    return [sample for sample in samples if sample.type == NORMAL or sample.type in wanted]


def _check(found: Found) -> None:
    """Report names that differ only in case or Unicode form, or cannot be folders, as pairs of them will need."""
    objects, types = defaultdict(set), defaultdict(set)
    for sample in found.samples:
        objects[_alike(sample.object)].add(sample.object)
        types[sample.object, _alike(sample.type)].add(sample.type)
    for names in objects.values():
        if len(names) > 1:
            found.problem(found.root, f"two objects of one name: {_listed(names)}", "rename one")
    for (object, _), names in types.items():
        if len(names) > 1:
            found.problem(found.root, f"{object}'s types differ in case alone: {_listed(names)}", "join them", False)
    kinds = {(sample.object, sample.type) for sample in found.samples}
    for object, type in sorted(kinds):
        try:
            check_names(object=object, **({} if type == NORMAL else {"type": type}))
        except Refused as error:
            found.problem(found.root, f"{error.subject} {error.what}", "rename it")


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))


def _count(problems: list[str]) -> str:
    return f"{len(problems)} problem{'s' * (len(problems) > 1)}"
