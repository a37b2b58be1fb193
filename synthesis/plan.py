"""Which normal image, type and mask item i of a run gets: decided by (seed, i) alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..choices import DEFECTS
from ..datasets.mvtec import Sample, read_sample
from ..datasets.surfaces.crops import draw_crop
from ..errors import Refused
from ..images.masks import place_mask
from ..images.pictures import Picture, read_picture
from ..modules.compact_ldm import NORMAL
from ..seeds import anomaly_seed, derived_seed
from .pair import Job


@dataclass(frozen=True)
class Planned:
    """A job and where it comes from: the normal's file, or the picture itself, and names for the manifest."""

    job: Job
    normal: Path | Picture
    normal_name: str
    mask_name: str


class Plan:
    """Types in turn; normals and mask shapes at random, shapes moved and changed a little (`place_mask`)."""

    def __init__(self, normals: Sequence[Sample], shapes: Sequence[Sample], seed: int):
        """
        Args:
            normals: normal images to put anomalies on.
            shapes: defect images of the training part; their masks are the shapes.
            seed: of the run.

        Raises:
            Refused: no normals, or no object with both normals and shapes.
        """
        self.seed = seed
        self.normals = _by_object([sample for sample in normals if sample.type == NORMAL])
        shapes = sorted(s for s in shapes if s.type != NORMAL and s.object in self.normals)
        self.types = sorted({(sample.object, sample.type) for sample in shapes})
        if not self.types:
            raise Refused(
                "data",
                f"{sum(map(len, self.normals.values()))} normal images and {len(shapes)} masks for their objects",
                "at least one of each",
                "check the split and the types",
            )
        self.shapes = {key: [s for s in shapes if (s.object, s.type) == key] for key in self.types}

    @property
    def samples(self) -> list[Sample]:
        """Every image that the plan may read."""
        objects = {object for object, _ in self.types}
        lists = [self.normals[object] for object in objects] + list(self.shapes.values())
        return sorted(sample for samples in lists for sample in samples)

    def item(self, index: int, redraw: int = 0) -> Planned:
        """Item `index`; `redraw` 1, 2, ... keeps normal and mask and changes the seed of the anomaly."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, index, "place"))
        object, type = self.types[index % len(self.types)]
        normal = _pick(self.normals[object], generator)
        shape = _pick(self.shapes[object, type], generator)
        picture = read_picture(normal.image)
        mask = place_mask(read_sample(shape)[1], picture.size, generator)
        job = Job(picture, mask, object, type, self.item_seed(index, redraw))
        return Planned(job, normal.image, normal.name, shape.name)

    def item_seed(self, index: int, redraw: int = 0) -> int:
        """The seed of the anomaly of item `index`."""
        return anomaly_seed(self.seed, index, redraw)


class DrawnPlan:
    """A plan without any real defect: drawn types in turn, in drawn masks anywhere on the normals."""

    def __init__(self, normals: Sequence[Sample], seed: int, types: Sequence[str] = DEFECTS):
        """normals: normal images to put anomalies on; types: drawn ones. Raises Refused without a normal image."""
        self.seed, self.drawn = seed, tuple(types)
        self.normals = sorted(sample for sample in normals if sample.type == NORMAL)
        if not self.normals:
            raise Refused("data", "no normal image", "at least one")

    def item(self, index: int, redraw: int = 0) -> Planned:
        """As `Plan.item`."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, index, "place"))
        type, normal = self.drawn[index % len(self.drawn)], _pick(self.normals, generator)
        picture = read_picture(normal.image)
        shape = torch.from_numpy(draw_crop(derived_seed(self.seed, 0, "shape"), index, types=(type,)).exact)
        mask = place_mask(shape, picture.size, generator, turn=180.0, shift=0.5)
        job = Job(picture, mask, normal.object, type, self.item_seed(index, redraw))
        return Planned(job, normal.image, normal.name, f"drawn {type}")

    def item_seed(self, index: int, redraw: int = 0) -> int:
        """As `Plan.item_seed`."""
        return anomaly_seed(self.seed, index, redraw)


def _by_object(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    objects = {sample.object for sample in samples}
    return {object: sorted(sample for sample in samples if sample.object == object) for object in objects}


def _pick(items: Sequence[Sample], generator: torch.Generator) -> Sample:
    return items[int(torch.rand((), generator=generator).item() * len(items))]
