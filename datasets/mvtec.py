"""Read folders in MVTec layout, as synthetic pairs are written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .reading import read_dataset
from .sample import Sample, check_samples, read_sample

# Sample, check_samples and read_sample live in `datasets.sample`; scripts of users import them from here, their former
# place.
__all__ = ["Sample", "check_samples", "read_mvtec", "read_sample"]


def read_mvtec(root: str | Path, types: Iterable[str] | None = None) -> list[Sample]:
    """`read_dataset` where the layout is MVTec AD's and nothing else: one object's folder, or a folder of such objects.

    Raises Refused if root is missing or not in MVTec layout, if an object has no image in train/good, if a defect
    image has no ground truth, or if a type does not exist.
    """
    return read_dataset(root, types, "mvtec")
