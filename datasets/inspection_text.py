"""An inspection as words for the screen, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ..files.untrusted_text import one_line
from .inspection import QUANTILES, SMALL, TINY, Inspected, Inspection, Masks
from .layouts.found import Problem

_SHOWN = 20  # problems of a kind
_COLUMNS = (
    "type",
    "images",
    "least px",
    "10 %",
    "median",
    "90 %",
    "most px",
    "% of image",
    "pieces",
    f"< {SMALL} px",
    f"< {TINY} px",
)


def as_json(inspection: Inspection) -> str:
    """All of it; areas and shares by the quantiles that "quantiles" names."""
    return json.dumps({**asdict(inspection), "quantiles": QUANTILES}, indent=2) + "\n"


def as_text(inspection: Inspection, most: int | None = _SHOWN) -> str:
    """What it holds, object by object, then what must be fixed and what is worth a look: `most` of each, None all."""
    defective = sum(one.defective for one in inspection.objects.values())
    lines = [
        f"{inspection.root}: {inspection.layout} layout ({inspection.why})",
        f"{inspection.images} images, {defective} with a defect; objects: {len(inspection.objects)}; "
        f"groups: {inspection.groups}",
        *inspection.notes,
    ]
    for name, one in inspection.objects.items():
        lines += ["", *_object(name, one)]
    fix, look = ([p for p in inspection.problems if p.unusable == unusable] for unusable in (True, False))
    lines += _problems("to fix before it can be used", fix, most) + _problems("worth a look", look, most)
    return "\n".join(map(one_line, lines if fix or look else [*lines, "", "no problems"]))


def _object(name: str, one: Inspected) -> list[str]:
    normal = f"{sum(one.normal.values())} normal" + (f" ({_counts(one.normal)})" if set(one.normal) - {""} else "")
    head = f"{name}: {normal}, {one.defective} with a defect"
    if one.smallest and one.largest:
        sizes = dict.fromkeys(_size(size) for size in (one.smallest, one.largest))
        head += f"; {' to '.join(sizes)} px; {_counts(one.formats)}"
    rows = [_row(type, masks) for type, masks in one.types.items()]
    return [head, *_table([_COLUMNS, *rows])] if rows else [head]


def _row(type: str, masks: Masks) -> tuple[str, ...]:
    if not masks.area:
        return (type, str(masks.images), *"-" * (len(_COLUMNS) - 2))
    middle, most = (f"{count:g}" for count in masks.pieces)
    pieces = middle if middle == most else f"{middle} to {most}"
    share = f"{100 * masks.share[QUANTILES.index(0.5)]:.2g}"
    areas = (f"{area:.0f}" for area in masks.area)
    return type, str(masks.images), *areas, share, pieces, str(masks.small), str(masks.tiny)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [
        "  ".join(["", row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))])
        for row in rows
    ]


def _problems(title: str, problems: Sequence[Problem], most: int | None) -> list[str]:
    if not problems:
        return []
    shown = problems[:most]
    more = [f"  and {len(problems) - len(shown)} more; --json lists all"] if len(problems) > len(shown) else []
    return ["", f"{len(problems)} {title}:", *(f"  {problem}" for problem in shown), *more]


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name or 'of no part'}" for name, count in found.items())


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
