"""Class names that stand for a normal surface, in whatever annotation tool's words."""

from __future__ import annotations

from .files import NORMAL_FOLDERS

_NORMAL = (
    *NORMAL_FOLDERS, "background", "_background_", "bg", "ignore", "ignored", "__ignore__", "void", "unlabeled",
    "unlabelled", "no defect", "no_defect", "defect free", "defect-free", "defect_free",
)  # fmt: skip


def means_normal(name: str) -> bool:
    """Whether a class of this name is no defect: good, ok, normal, background, void, ..., in any case."""
    return name.strip().casefold() in _NORMAL
