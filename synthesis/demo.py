"""The demo: pairs on procedural surfaces that the bundled base never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ..datasets.pairs import PairWriter, read_manifest
from ..datasets.procedural import MATERIALS, defect_mask, surface
from ..images.pictures import Picture
from ..modules.base_file import SURFACES, file_digest, load_base
from ..seeds import anomaly_seed, derived_seed
from .pair import Job, Settings
from .plan import Planned
from .run import run
from .sheets import save_sheet

COUNT, NEGATIVES = 16, 16
SIZE = 256
# The bundled base was trained on surfaces of seed 0.
SEED = 1


class SurfaceItems:
    """Materials and types in turn, each on a surface of its own; the mask is one that this type has on this surface."""

    types = [(material, type) for material, types in MATERIALS.items() for type in types]

    def item(self, index: int, redraw: int = 0) -> Planned:
        material, type = self.types[index % len(self.types)]
        seed = derived_seed(SEED, index, "surface")
        normal = Picture(surface(material, SIZE, seed))
        mask = torch.from_numpy(defect_mask(material, type, SIZE, seed))
        job = Job(normal, mask, material, type, self.item_seed(index, redraw))
        return Planned(job, normal, f"surface {seed}", f"defect {seed}")

    def item_seed(self, index: int, redraw: int = 0) -> int:
        return anomaly_seed(SEED, index, redraw)


def demo(out: str | Path, settings: Settings, report: Callable | None = None) -> list[dict]:
    """Write 16 pairs over all materials and types, and `sheet.png`, into `out`; an unfinished demo is continued.

    Returns:
        the manifest's records.

    Raises:
        ValueError: `out` holds something else.
    """
    base, _ = load_base(SURFACES)
    name = file_digest(SURFACES)
    with PairWriter(out, {"demo": SEED, "base": name, "settings": asdict(settings)}, resume=True) as writer:
        run(base, name, SurfaceItems(), COUNT, settings, writer, negatives=NEGATIVES, report=report)
        records = read_manifest(out)
        save_sheet(Path(out) / "sheet.png", out, records)
    return records
