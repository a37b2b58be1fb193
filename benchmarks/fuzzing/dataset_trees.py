"""Datasets of every layout, drawn from the layout's own example, so that every listed layout is fuzzed."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from anomaly_synthesis.datasets.layouts import LAYOUTS

from .mutations import damage, picture

_TEXTS = (".json", ".csv", ".txt", ".xml", ".yaml", ".yml")
_MASKS = re.compile(r"mask|ground_truth|label|_gt|/gt/|segmentationclass|anomaly/.*\.png", re.IGNORECASE)


class Datasets:
    """`inspect` and `split` of a damaged dataset."""

    def prepare(self) -> None:
        """Nothing."""

    def meet(self, rng: random.Random, folder: Path, met) -> None:
        layout = LAYOUTS[rng.randrange(len(LAYOUTS))]
        root = folder / "data"
        draw_tree(rng, layout.name, layout.example, root)
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
            damage(rng, root)
        named = ("--layout", layout.name) if rng.random() < 0.5 else ()
        met.command("inspect", root, "--json", folder / "i.json", *named)
        how = rng.choice((["--ungrouped"], ["--near-duplicates"], ["--pattern", r"(\d+)"], []))
        met.command("split", "--data", root, "--out", folder / "split.json", *how, *named)


def draw_tree(rng: random.Random, name: str, example: str, root: Path) -> None:
    """Write some images, and their annotations, for every line of a layout's example."""
    words = {"object": "part", "defect type": "crack", "type": "crack", "part": "train", "split": "train"}
    texts, drawn = [], []
    for line in example.split("\n"):
        path, _, notes = line.partition("  ")
        for one in re.split(r",\s+| and ", path):
            one = re.sub(r"<([^>]*)>", lambda match: words.get(match[1], "x"), one.strip())
            if not one or one == "...":
                continue
            if "/" not in one and drawn:  # "0001.jpg and 0001.png": in the same folder
                one = f"{Path(drawn[-1]).parent.as_posix()}/{one}"
            if Path(one).suffix.lower() in _TEXTS:
                texts.append((one, notes))
                continue
            drawn += [_numbered(one, add) for add in range(3)]
    for path in drawn:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(rng, _MASKS.search(path) is not None, suffix=file.suffix))
    for path, notes in texts:
        for add in range(3) if re.search(r"\d", Path(path).stem) else (0,):
            file = root / (_numbered(path, add) if add else path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_text(rng, name, file, notes, drawn))


def _numbered(path: str, add: int) -> str:
    """The path with `add` added to the last number of its file name."""
    folder, _, file = path.rpartition("/")
    digits = list(re.finditer(r"\d+", file))
    if not digits:
        return path if not add else f"{folder}/{Path(file).stem}{add}{Path(file).suffix}"
    last = digits[-1]
    raised = f"{int(last[0]) + add:0{len(last[0])}d}"
    return f"{folder}/{file[: last.start()]}{raised}{file[last.end() :]}"


def _text(rng: random.Random, layout: str, file: Path, notes: str, drawn: list[str]) -> str:
    images = [path for path in drawn if not _MASKS.search(path)] or drawn or ["a.png"]
    masks = [path for path in drawn if _MASKS.search(path)] or images
    suffix = file.suffix.lower()
    if suffix == ".json":
        form = layout if layout in ("coco", "labelme", "real_iad") else rng.choice(("coco", "labelme", "real_iad"))
        return json.dumps({"coco": _coco, "labelme": _labelme, "real_iad": _real_iad}[form](images, masks))
    if suffix == ".csv":
        columns = (re.search(r"\(([^)]*)\)", notes) or ["", "file,group"])[1].split(",")
        return (
            "\n".join(
                [
                    ",".join(columns),
                    *(_row(columns, image, masks[at % len(masks)], at) for at, image in enumerate(images)),
                ]
            )
            + "\n"
        )
    if suffix == ".xml":
        return (
            "<annotation><filename>0001.jpg</filename><size><width>24</width><height>24</height></size><object>"
            "<name>crack</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
            "</annotation>"
        )
    if suffix in (".yaml", ".yml"):
        return "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: crack\n  1: dent\n"
    if "class" in file.stem.lower():
        return "background\ncrack\ndent\n"
    if "labelmap" in file.stem.lower():
        return "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncrack:255,255,255::\n"
    if re.search(r"labels\.txt$", file.name, re.IGNORECASE):
        return "1\n1\t1\t0001.PNG\t0\t0001_label.PNG\n1\t8.5\t4.2\t0.3\t10\t12\n"
    if re.search(r"\d", file.stem):
        return "0 0.1 0.1 0.6 0.1 0.6 0.7\n1 0.2 0.2 0.3 0.2 0.3 0.5\n"
    return "".join(f"{Path(image).stem}\n" for image in images)


def _row(columns: list[str], image: str, mask: str, at: int) -> str:
    words = {
        "split": "train",
        "label": "anomaly" if at % 2 else "normal",
        "object": "part",
        "class": "crack",
        "group": "g",
    }
    return ",".join(
        image
        if "image" in name
        else mask
        if "mask" in name
        else "1 3 30 4"
        if "pixels" in name
        else words.get(name, str(at))
        for name in (column.strip().lower() for column in columns)
    )


def _coco(images: list[str], masks: list[str]) -> dict:
    return {
        "images": [
            {"id": at, "file_name": Path(path).name, "width": 24, "height": 24} for at, path in enumerate(images)
        ],
        "categories": [{"id": 1, "name": "crack"}, {"id": 2, "name": "dent"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "iscrowd": 0, "segmentation": [[1, 1, 9, 1, 9, 9]]},
            {
                "id": 2,
                "image_id": 0,
                "category_id": 2,
                "iscrowd": 1,
                "segmentation": {"size": [24, 24], "counts": [30, 5, 541]},
            },
            {
                "id": 3,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": {"size": [24, 24], "counts": "n0e1k1"},
            },
        ],
    }


def _labelme(images: list[str], masks: list[str]) -> dict:
    shape = {
        "label": "crack",
        "shape_type": "polygon",
        "points": [[1, 1], [9, 1], [9, 9]],
        "group_id": None,
        "flags": {},
    }
    return {
        "version": "5.0",
        "flags": {},
        "imagePath": Path(images[0]).name,
        "imageData": None,
        "imageHeight": 24,
        "imageWidth": 24,
        "shapes": [shape, {**shape, "shape_type": "circle", "points": [[5, 5], [9, 9]]}],
    }


def _real_iad(images: list[str], masks: list[str]) -> dict:
    lines = [
        {
            "image_path": "/".join(path.split("/")[2:]),
            "mask_path": "/".join(masks[at % len(masks)].split("/")[2:]) if at % 2 else None,
            "anomaly_class": "crack" if at % 2 else "OK",
            "category": "part",
        }
        for at, path in enumerate(images)
    ]
    return {"meta": {"pre_transform": {}}, "train": lines[:1], "test": lines}
