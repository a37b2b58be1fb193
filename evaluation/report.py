"""The study's table in words: Markdown, with intervals, and what the table cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .methods import REAL_ONLY
from .metrics import NAMES, spread

DRAWS = 2000
_HEADS = {"iou": "IoU", "recall": "recall", "f1": "best F1", "ap": "AP", "auroc": "AUROC", "aupro": "AU-PRO"}


def report(cells: Sequence[dict]) -> str:
    """Markdown of all cells: per network an overall table with comparison, and IoU and recall per type; then errors."""
    parts = ["# Does it train better segmentation?\n", _HOW]
    good = [cell for cell in cells if "error" not in cell]
    for network in dict.fromkeys(cell["network"] for cell in good):
        own = [cell for cell in good if cell["network"] == network]
        parts += [f"## {network}\n", _overall(own), _per_type(own)]
    parts.append(_statistics(good))
    failed = [cell for cell in cells if "error" in cell]
    if failed:
        lines = [f"- {c['method']}, {c['network']}, seed {c['seed']}: {c['error']}" for c in failed]
        parts += ["## Cells that failed\n", "\n".join(lines) + "\n"]
    return "\n".join(parts)


_HOW = """Values in percent. IoU, recall: anomaly class, probability 0.5. After +-: half the 95 % interval of the mean
over seeds (Student's t). In brackets: 95 % interval over seeds and groups of pictures together (bootstrap), for a
difference the same groups on both sides: one that holds 0 means nothing. `-`: not defined.
"""


def difference(cells: Sequence[dict], method: str, other: str, draws: int = DRAWS) -> tuple[float, float, float] | None:
    """IoU of `method` minus that of `other`: (mean, low, high) in 0 .. 1, over seeds and groups drawn together; None
    where they share no seed or fewer than two groups."""
    pairs = _shared(cells, method, other)
    if not pairs:
        return None
    names = sorted(pairs[0][0]["groups"])
    if len(names) < 2:
        return None
    counts = np.array([[[cell["groups"][name] for name in names] for cell in pair] for pair in pairs])
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(draws):
        seeds = generator.integers(len(pairs), size=len(pairs))
        groups = generator.integers(len(names), size=len(names))
        sums = counts[seeds][:, :, groups].sum(2)  # [seeds, 2, (hits, false, anomalous)]
        iou = sums[..., 0] / np.maximum(sums[..., 2] + sums[..., 1], 1)
        drawn.append((iou[:, 0] - iou[:, 1]).mean())
    sums = counts.sum(2)
    iou = sums[..., 0] / (sums[..., 2] + sums[..., 1])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float((iou[:, 0] - iou[:, 1]).mean()), float(low), float(high)


def best_baseline(cells: Sequence[dict]) -> str:
    """The method with the highest mean IoU among those that are not AIAS."""
    methods = dict.fromkeys(c["method"] for c in cells if not c["method"].startswith("aias"))
    return max(methods, key=lambda method: _mean(cells, method, "iou") or 0, default=REAL_ONLY)


def _overall(cells: Sequence[dict]) -> str:
    best = best_baseline(cells)
    head = ["method", "seeds", *_HEADS.values(), f"IoU against {best}", "s per pair", "training s"]
    rows = []
    for method in dict.fromkeys(cell["method"] for cell in cells):
        own = [cell for cell in cells if cell["method"] == method]
        values = [_cell([cell["overall"][name] for cell in own]) for name in NAMES]
        against = "" if method == best else _signed(difference(cells, method, best))
        making = np.mean([cell["seconds_per_pair"] for cell in own])
        training = np.mean([cell["training"]["seconds"] for cell in own])
        rows.append([method, str(len(own)), *values, against, f"{making:.2f}", f"{training:.0f}"])
    return _table(head, rows)


def _per_type(cells: Sequence[dict]) -> str:
    types = sorted({type for cell in cells for type in cell["types"]})
    rows = []
    for method in dict.fromkeys(cell["method"] for cell in cells):
        own = [cell for cell in cells if cell["method"] == method]
        row = [method]
        for type in types:
            found = [cell["types"].get(type, {}) for cell in own]
            row.append(" / ".join(_cell([one.get(name) for one in found]) for name in ("iou", "recall")))
        rows.append(row)
    return "IoU / recall per type\n\n" + _table(["method", *types], rows)


def _statistics(cells: Sequence[dict]) -> str:
    """The pairs themselves, mean over seeds; contrast as 10 %, median, 90 %."""
    rows = []
    for method in dict.fromkeys(cell["method"] for cell in cells):
        by_seed = {c["seed"]: c["statistics"] for c in cells if c["method"] == method}
        for type in sorted({type for found in by_seed.values() for type in found}):
            own = [found[type] for found in by_seed.values()]
            contrast = " ".join(_plain(own, "train", f"contrast{part}") for part in ("_low", "", "_high"))
            rest = [_plain(own, side, name) for name in ("diversity", "nearest") for side in ("train", "held_back")]
            rows.append([method, type, _plain(own, "train", "visible"), contrast, _plain(own, "train", "seam"), *rest])
    if not rows:
        return ""
    head = ["method", "type", "visible", "contrast", "seam", "diversity (train)", "(held back)", "nearest (train)",
            "(held back)"]  # fmt: skip
    return "## The pairs themselves\n\n" + _STATISTICS + "\n" + _table(head, rows)


_STATISTICS = """Visible: share with a signed contrast over 0.5 or under -0.5; contrast: 10 %, median, 90 %. Seam: the
gradient across the mask's edge over the surface's. Diversity: 1 is as varied as real defects. Nearest: distance to the
nearest real defect, 1 is theirs to each other.
"""


def _plain(found: Sequence[dict], side: str, name: str) -> str:
    known = [one[side][name] for one in found if one[side][name] is not None]
    return f"{np.mean(known):.2f}" if known else "-"


def _shared(cells: Sequence[dict], method: str, other: str) -> list[tuple[dict, dict]]:
    by_seed = [{c["seed"]: c for c in cells if c["method"] == name} for name in (method, other)]
    return [(by_seed[0][seed], by_seed[1][seed]) for seed in sorted(by_seed[0].keys() & by_seed[1].keys())]


def _mean(cells: Sequence[dict], method: str, name: str) -> float | None:
    values = [c["overall"][name] for c in cells if c["method"] == method and c["overall"][name] is not None]
    return float(np.mean(values)) if values else None


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, half = spread(known)
    return f"{100 * mean:.1f}" + ("" if half is None else f" +- {100 * half:.1f}")


def _signed(found: tuple[float, float, float] | None) -> str:
    return "-" if found is None else "{:+.1f} [{:+.1f} {:+.1f}]".format(*(100 * value for value in found))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
