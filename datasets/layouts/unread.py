"""Images below a dataset's folder that no reader took: each folder of them is reported, so that none goes unseen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from ...images.pictures import SUFFIXES
from .files import UNREAD, tree
from .found import Found, Layout, relative

_MOST_FOLDERS = 20  # that are named; of the others only how many
_MOST_FILES = 100_000  # beside those that were read; a folder of other things may be huge
_OWN = {"manifest.jsonl": "sheet.png"}  # what a folder of pairs holds beside its pairs


def report_unread(found: Found, layout: Layout) -> None:
    """Report, folder by folder, every image file that is neither a sample's image or mask nor reported or left out
    knowingly already. Only names are looked at."""
    known = {problem.file for problem in found.problems} | found.passed
    for sample in found.samples:
        known.update((sample.name, *(relative(file, found.root) for file in sample.files)))
    left: dict[Path, list[str]] = {}
    looked_at = 0
    for place, names in tree(found.root, found):
        inside = "" if place == found.root else f"{relative(place, found.root)}/"
        if _covered(inside, found.passed):
            continue
        own = {file for mark, file in _OWN.items() if mark in names}
        rest = [name for name in names if f"{inside}{name}" not in known and name not in own]
        looked_at += len(rest)
        unread = [name for name in rest if _is_image(name)]
        if unread:
            left[place] = unread
        if looked_at > _MOST_FILES:
            what = f"after {looked_at} files of other kinds the search for images that were not read stopped"
            found.problem(place, what, "move what is no part of the dataset away", False)
            break
    _report(left, found, layout)


def holds_images(folder: Path, found: Found) -> bool:
    """Whether an image file lies anywhere below a folder."""
    return any(_is_image(name) for _, names in tree(folder, found) for name in names)


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in (*SUFFIXES, *UNREAD)


def _covered(inside: str, passed: set[str]) -> bool:
    path = PurePosixPath(inside)
    return any(str(one) in passed for one in (path, *path.parents))


def _report(left: dict[Path, list[str]], found: Found, layout: Layout) -> None:
    for place, names in list(left.items())[:_MOST_FOLDERS]:
        kinds = Counter(PurePosixPath(name).suffix.lower() for name in names)
        foreign = sorted(set(kinds) & set(UNREAD))
        count = f"{len(names)} image{'s' * (len(names) > 1)} not read, such as {names[0]}"
        if len(foreign) == len(kinds):
            found.problem(place, f"{count}: {', '.join(foreign)} is not a supported format", "convert to PNG", False)
        else:
            remedy = f"arrange them in {layout.title} layout, or move them away"
            found.problem(place, f"{count}: {layout.title} layout has no such place or name", remedy, False)
    others = list(left.values())[_MOST_FOLDERS:]
    if others:
        what = f"{sum(map(len, others))} more images not read, in {len(others)} more folders"
        found.problem(found.root, what, f"arrange them in {layout.title} layout, or move them away", False)
