"""Roboflow's export "semantic segmentation masks": x.jpg, x_mask.png and _classes.csv in train/, valid/, test/."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...images.mask_files import read_labels
from ..regions import MaskFiles
from ..sample import NORMAL
from .files import PARTS, images, named, stem
from .found import Found, Layout, relative
from .normal_words import no_defect
from .pairing import paired
from .tables import table_rows

_TABLE, _END = "_classes.csv", "_mask"
_VALUE, _CLASS = "Pixel Value", "Class"


def _places(folder: Path) -> list[tuple[str, Path]]:
    """(part, folder) of those that hold masks."""
    places = [("", folder), *((PARTS[path.name.lower()], path) for path in named(folder, PARTS))]
    return [(part, place) for part, place in places if any(stem(path).endswith(_END) for path in images(place))]


def _table(folder: Path, place: Path) -> Path | None:
    return next((path / _TABLE for path in (place, folder) if (path / _TABLE).is_file()), None)


def _matches(folder: Path) -> str | None:
    table = next(filter(None, (_table(folder, place) for _, place in _places(folder))), None)
    return table and f"it holds {relative(table, folder)} and images called <stem>{_END}.png"


def _read(folder: Path, name: str, found: Found) -> None:
    for part, place in _places(folder):
        table = _table(folder, place)
        if table is None:
            found.problem(place, f"it has no {_TABLE}, which names the classes", "copy one from another part's folder")
            continue
        names = _names(table, found)
        files = images(place, found)
        masks = [path for path in files if stem(path).endswith(_END)]
        found.leave_out(*masks)  # black ones are of no sample
        for path, mask in paired([path for path in files if path not in set(masks)], masks, found, (_END,)):
            if mask is None:
                what = f"no {stem(path)}{_END}.png; the image is left out"
                found.problem(path, what, "add it: a normal image has a black one", False)
            else:
                _add(path, mask, names, table, name, part, found)


def _names(table: Path, found: Found) -> dict[int, str]:
    names: dict[int, str] = {}
    for line, row in table_rows(table, (_VALUE, _CLASS), found):
        if not row[_VALUE].isdigit() or int(row[_VALUE][:6]) > 65535 or not row[_CLASS]:
            what = f"{line} is {row[_VALUE]!r}, {row[_CLASS]!r}; accepted is a whole number and a name"
            found.problem(table, what, "correct it", False)
        elif names.setdefault(int(row[_VALUE]), row[_CLASS]) != row[_CLASS]:
            found.problem(table, f"{line}: value {row[_VALUE]} has two names", "keep one", False)
    if not no_defect(names.get(0, "background")):
        what = f"value 0 is named {names[0]!r}, but it is the background's and counts as normal"
        found.problem(table, what, "number the classes from 1 on, as Roboflow does", False)
    return names


def _add(path: Path, mask: Path, names: dict[int, str], table: Path, name: str, part: str, found: Found) -> None:
    try:
        values = {int(value) for value in np.unique(read_labels(mask, exact=True))} - {0}
    except (ValueError, OSError) as error:
        found.unreadable(path, [mask], error)
        return
    unknown = sorted(values - set(names))
    if unknown:
        found.leave_out(path)
        what = f"{relative(table, found.root)} has no name for value {unknown[0]}; the image is left out"
        found.problem(mask, what, "add the name, or export the mask again", False)
        return
    types: dict[str, Path | MaskFiles] = {}
    for value in sorted(value for value in values if not no_defect(names[value])):
        types[names[value]] = MaskFiles((mask,), value)
    for type, region in types.items():
        found.add(name, type, part, path, region)
    if not types:
        found.add(name, NORMAL, part, path)


ROBOFLOW = Layout(
    "roboflow",
    "Roboflow masks",
    "<object>/train/0001.jpg\n<object>/train/0001_mask.png\n<object>/train/_classes.csv  (Pixel Value, Class)",
    "<object>/<part>/<stem>_mask.png",
    _matches,
    _read,
    over=("stems", "index"),
)
