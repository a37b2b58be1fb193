"""VisA: a CSV file that lists images and masks, or one object's folder as it is downloaded."""

from __future__ import annotations

import csv
from pathlib import Path

from ..regions import MaskFiles
from ..sample import NORMAL
from .files import NORMAL_FOLDERS, PARTS, images, named_path
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


def _read_table(table: Path, folder: Path, found: Found) -> None:
    seen: set[Path] = set()
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            missing = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                found.problem(table, f"no column {', '.join(missing)}", f"give it the columns {', '.join(_COLUMNS)}")
                return
            for row in rows:
                _read_row(row, f"line {rows.line_num}", table, folder, found, seen)
    except (UnicodeDecodeError, csv.Error) as error:
        found.problem(table, f"it cannot be read as CSV ({error})", "save it as UTF-8 text")


def _read_row(row: dict, line: str, table: Path, folder: Path, found: Found, seen: set[Path]) -> None:
    object, split, label = ((row[column] or "").strip() for column in _COLUMNS[:3])
    image = named_path(row["image"], folder, found.root)
    if image is None or not image.is_file():
        _bad_path(found, table, line, "image", row["image"], image)
        return
    if not object or not label:
        found.problem(table, f"{line} names no object or no label", "fill it in")
        return
    if image in seen:
        found.problem(table, f"{line}: {row['image']} is listed twice", "keep one line", False)
        return
    seen.add(image)
    type, mask = NORMAL if label.lower() in NORMAL_FOLDERS else label, None
    if type != NORMAL and (row["mask"] or "").strip():
        mask = named_path(row["mask"], folder, found.root)
        if mask is None or not mask.is_file():
            _bad_path(found, table, line, "mask", row["mask"], mask)
            return
    found.add(object, type, PARTS.get(split.lower(), ""), image, mask and MaskFiles((mask,)))


def _bad_path(found: Found, table: Path, line: str, what: str, text: str | None, path: Path | None) -> None:
    why = "is not there" if path else "is no path inside the dataset"
    found.problem(table, f"{line}: the {what} {text!r} {why}", "correct the line, or add the file")


def _read_folder(data: Path, name: str, found: Found) -> None:
    for path in images(data / "Images" / "Normal", found):
        found.add(name, NORMAL, "", path)
    masks = images(data / "Masks" / "Anomaly", found)
    for path, files in joined(images(data / "Images" / "Anomaly", found), masks, found):
        found.add(name, "anomaly", "", path, MaskFiles(files) if files else None)


VISA = Layout(
    "visa", "VisA",
    "split_csv/1cls.csv  (object,split,label,image,mask)\n<object>/Data/Images/Normal/0000.JPG\n"
    "<object>/Data/Images/Anomaly/000.JPG\n<object>/Data/Masks/Anomaly/000.png",
    "<object>/Data/Masks/Anomaly/<stem>.png", _matches, _read,
)  # fmt: skip
