"""VisA: a CSV file that lists images and masks, or one object's folder as it is downloaded."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from ..csv_table import read_table
from ..regions import MaskFiles
from ..sample import NORMAL
from .files import PARTS, below, means_normal, named_path
from .found import Found, Layout
from .mask_names import joined

_COLUMNS = ("object", "split", "label", "image", "mask")


def _table(folder: Path) -> Path | None:
    """1cls.csv (normal images train, defects test) where it is there, else the first of split_csv."""
    tables = sorted((folder / "split_csv").glob("*.csv"))
    return next((path for path in tables if path.name == "1cls.csv"), tables[0] if tables else None)


def _matches(folder: Path) -> str | None:
    table = _table(folder)
    if table:
        return f"it holds split_csv/{table.name}"
    return "it holds Data/Images/Anomaly" if (folder / "Data" / "Images" / "Anomaly").is_dir() else None


def _read(folder: Path, name: str, found: Found) -> None:
    table = _table(folder)
    if table:
        _read_table(table, folder, found)
    else:
        _read_folder(folder / "Data", name, found)


def _read_table(path: Path, folder: Path, found: Found) -> None:
    try:
        table = read_table(path, _COLUMNS)
    except ValueError as error:
        what, _, remedy = str(error).removeprefix(f"{path}: ").rpartition("; ")
        found.problem(path, what, remedy)
        return
    columns = {name: table.column(name) for name in _COLUMNS}
    missing = [name for name, there in columns.items() if there is None]
    if missing:
        found.problem(path, f"no column {', '.join(missing)}", f"give it the columns {', '.join(_COLUMNS)}")
        return
    seen: set[Path] = set()
    for number, row in table.rows:
        _read_row({name: row[there] for name, there in columns.items()}, f"line {number}", path, folder, found, seen)


def _read_row(row: dict[str, str], line: str, table: Path, folder: Path, found: Found, seen: set[Path]) -> None:
    object, split, label = (row[column] for column in _COLUMNS[:3])
    image = named_path(row["image"], folder, found.root)
    there = image and found.file(image)
    if not there:
        _bad_path(found, table, line, "image", row["image"], image)
        return
    if not object or not label:
        found.problem(table, f"{line} names no object or no label", "fill it in")
        return
    if there in seen:
        found.problem(table, f"{line}: {row['image']} is listed twice", "keep one line", False)
        return
    seen.add(there)
    type, mask = NORMAL if means_normal(label) else label, None
    if type != NORMAL and row["mask"]:
        path = named_path(row["mask"], folder, found.root)
        mask = path and found.file(path)
        if not mask:
            _bad_path(found, table, line, "mask", row["mask"], path)
            return
    found.add(object, type, PARTS.get(split.lower(), ""), there, mask and MaskFiles((mask,)))


def _bad_path(found: Found, table: Path, line: str, what: str, text: str | None, path: Path | None) -> None:
    why = "is not there" if path else "is no path inside the dataset"
    found.problem(table, f"{line}: the {what} {text!r} {why}", "correct the line, or add the file")


def _read_folder(data: Path, name: str, found: Found) -> None:
    for path in below(data / "Images" / "Normal", found):
        found.add(name, NORMAL, "", path)
    listed, truth = data / "Images" / "Anomaly", data / "Masks" / "Anomaly"
    images, masks = (_by_place(place, found) for place in (listed, truth))
    for place in sorted(images.keys() | masks.keys()):
        for path, files in joined(images.get(place, []), masks.get(place, []), found):
            found.add(name, "anomaly", "", path, MaskFiles(files) if files else None)


def _by_place(folder: Path, found: Found) -> dict[Path, list[Path]]:
    places: dict[Path, list[Path]] = defaultdict(list)
    for path in below(folder, found):
        places[path.parent.relative_to(folder)].append(path)
    return places


VISA = Layout(
    "visa", "VisA",
    "split_csv/1cls.csv  (object,split,label,image,mask)\n<object>/Data/Images/Normal/0000.JPG\n"
    "<object>/Data/Images/Anomaly/000.JPG\n<object>/Data/Masks/Anomaly/000.png",
    "<object>/Data/Masks/Anomaly/<stem>.png", _matches, _read,
)  # fmt: skip
