"""What can be set where datasets are drawn, split and exported. Needs no torch: help and menus are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from ..choices import FORMATS, LABELS, SEGMENTATIONS
from ..settings import setting


@dataclass(frozen=True)
class SurfaceSettings:
    """Settings of `procedural.write_surfaces`."""

    normals: int = setting(60, "Normal images per material.", low=1)
    defects: int = setting(20, "Defect images per material and type.", low=1)
    size: int = setting(256, "Side of the images in pixels.", low=32)
    seed: int = setting(0, "Decides every random choice.", low=0)


@dataclass(frozen=True)
class SplitSettings:
    """Settings of `split.make_split`."""

    share: float = setting(1 / 3, "Share of each type's defect images that trains.", above=0, below=1)
    seed: int = setting(0, "Decides which groups train.")


@dataclass(frozen=True)
class ExportSettings:
    """Settings of `exports.export.export_pairs`."""

    format: str = setting(
        help="Files to write: annotations/instances.json (coco), labels/ and data.yaml (yolo), or images/ and masks/ "
        "with the same names (plain).",
        choices=FORMATS,
    )
    segmentation: str | None = setting(
        None,
        "With coco: store masks as run lengths (the default) or as polygons; both are exact to the pixel.",
        choices=SEGMENTATIONS,
    )
    visible_only: bool = setting(
        False, "Leave out pairs that are not known to show their defect; they are label noise."
    )
    normals: bool = setting(True, "Write the normal images, too.", off="Leave out the normal images.")
    link: bool = setting(
        False,
        "Make hard links of images and masks instead of copies: less disk space, but a tool that changes an exported "
        "file in place also changes the pair.",
    )
    labels: str = setting(
        "requested",
        "Masks to export: as requested, or refined, which are the pixels that the defect fills. A pair without a "
        "refined mask keeps the requested one.",
        choices=LABELS,
    )
