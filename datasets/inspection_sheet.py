"""An inspection as a picture: which examples of a dataset it shows, and in which words."""

from __future__ import annotations

import hashlib
from bisect import insort
from collections import defaultdict
from pathlib import Path

import numpy as np
from torch import Tensor

from ..images.drawing import close_up, outlined
from ..images.overview import EXAMPLES, TILE, Row, Section, overview
from ..images.pictures import Picture, write_picture
from .inspection import Inspected, Inspection
from .sample import NORMAL, Sample


class DatasetSheet:
    """Looks at every sample of an inspection as it passes, keeps few examples of each type, and draws the sheet.

    Which examples are kept depends on the files' names alone: the same folder gives the same picture, and memory does
    not grow with the number of images.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], list[tuple[bytes, np.ndarray]]] = defaultdict(list)

    def look(self, sample: Sample, picture: Picture, mask: Tensor | None) -> None:
        """For `inspect_dataset(look=...)`."""
        kept, name = self._kept[sample.object, sample.type], sample.name.encode("utf-8", "surrogatepass")
        rank = hashlib.blake2b(name).digest()
        if len(kept) < EXAMPLES or rank < kept[-1][0]:
            insort(kept, (rank, _tile(picture, mask)), key=lambda entry: entry[0])
            del kept[EXAMPLES:]

    def picture(self, inspection: Inspection) -> Tensor:
        """uint8 [H, W, 3]: a row per type with its count, its masks by area, and examples with the mask's outline."""
        sections = [Section(_heading(name, one), self._rows(name, one)) for name, one in inspection.objects.items()]
        defective = sum(one.defective for one in inspection.objects.values())
        head = [
            f"{Path(inspection.root).name}: {inspection.layout} layout, {inspection.images} images, {defective} with a "
            f"defect",
            f"groups: {inspection.groups}",
            *inspection.notes,
        ]
        problems = []
        for unusable, title in ((True, "to fix before it can be used"), (False, "worth a look")):
            lines = [f"{p.file}: {p.what}" for p in inspection.problems if p.unusable == unusable]
            problems.append((f"{len(lines)} {title}", lines))
        return overview(head, sections, problems)

    def save(self, path: str | Path, inspection: Inspection) -> None:
        """Write the picture as PNG, whole or not at all."""
        write_picture(path, Picture(self.picture(inspection).numpy()))

    def _rows(self, name: str, one: Inspected) -> list[Row]:
        rows = [Row("normal", sum(one.normal.values()), None, (), self._examples(name, NORMAL))]
        return rows + [
            Row(type, masks.images, masks.area, masks.doublings, self._examples(name, type))
            for type, masks in one.types.items()
        ]

    def _examples(self, name: str, type: str) -> list[np.ndarray]:
        return [tile for _, tile in self._kept.get((name, type), [])]


def _tile(picture: Picture, mask: Tensor | None) -> np.ndarray:
    if mask is None:
        step = max(1, min(picture.size) // (2 * TILE))  # what a tile cannot show need not become floats
        small = Picture(picture.pixels[::step, ::step])
        return outlined(small.image().permute(1, 2, 0), None, TILE)
    return outlined(*close_up(picture, mask, TILE), TILE)


def _heading(name: str, one: Inspected) -> str:
    sizes = dict.fromkeys(f"{size[1]} x {size[0]}" for size in (one.smallest, one.largest) if size)
    parts = [f"{sum(one.normal.values())} normal", f"{one.defective} with a defect"]
    parts += [" to ".join(sizes) + " px"] if sizes else []
    return f"{name}: " + ", ".join([*parts, *one.formats])
