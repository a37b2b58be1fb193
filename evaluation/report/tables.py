"""The report's tables and sentences, in Markdown. What comes from data is escaped; undefined is "-", never 0."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

import numpy as np

from ..metrics import spread
from ..shift import Shift
from . import compare
from .measures import MEASURES, defect_images

POINTS = 3  # the difference in percentage points that the report reckons with
_HEADS = {"recall": "recall", "f1": "best F1", "ap": "AP", "auroc": "AUROC", "aupro": "AU-PRO"}
_SPECIAL = re.compile(r"([\\`*\[\]|])")
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside a word it is only an underscore

HOW = """All values are in percent; `-` is not defined.

- IoU is the mean over types of the type's pooled IoU over its own images; recall to AU-PRO are such means, too. "Pooled
  IoU" is over every pixel of every test image, the good ones included. IoU and recall are of the anomaly class at
  probability 0.5.
- "IoU at the chosen threshold" is at the probability that was best on training groups that a network did not see; every
  arm chooses its own by this rule. Where too few groups have defects it is 0.5.
- In brackets: the 95 % interval over seeds and groups of pictures drawn together (bootstrap); for a difference the same
  ones on both sides. With one seed only the groups are drawn, and nothing is known of the scatter of trainings; with
  two or three the brackets are rather too narrow.
- After ±: half the 95 % interval of the mean over seeds alone (Student's t).
"""


def escape(text: object) -> str:
    """Text from data as Markdown that shows just it, on one line: neither markup nor a table's bar."""
    plain = html.escape(" ".join(str(text).split()), quote=False).replace("~", "&#126;")
    return _UNDERSCORE.sub(r"\\_", _SPECIAL.sub(r"\\\1", plain))


def setup(cells: Sequence[dict]) -> str:
    """What was trained and tested in these cells of one network."""
    images = {(image["object"], image["type"], image["name"]) for cell in cells for image in cell["images"]}
    defects = defect_images(cells)
    types, groups = {(image["object"], image["type"]) for image in defects}, {image["group"] for image in defects}
    parameters = max(cell["training"]["parameters"] for cell in cells)
    steps = _span(cell["training"]["steps"] for cell in cells)
    pairs = _span(cell["pairs"] for cell in cells if cell["pairs"])
    shift = next((Shift.read(cell["shift"]) for cell in cells if cell.get("shift")), None)
    transfer = f" Transfer test: {escape(shift.words)}." if shift else ""
    return (
        f"{parameters / 1e6:.2f} million parameters, {steps} steps a training, {pairs} synthetic pairs in an arm that "
        f"has any. Tested on {_many(len(defects), 'picture')} with defects ({_many(len(types), 'type')}, "
        f"{_many(len(groups), 'group')}) and {len(images) - len(defects)} without.{transfer}\n"
    )


def headline(cells: Sequence[dict], references: Sequence[str]) -> str:
    """One line per method: every metric, and the IoU against each of the references."""
    head = [
        "method",
        "seeds",
        "IoU",
        "pooled IoU",
        *_HEADS.values(),
        *(f"IoU against {escape(reference)}" for reference in references),
        "s per pair",
        "training s",
    ]
    rows = []
    for method in compare.methods(cells):
        own = compare.of(cells, method)
        against = ["" if method == other else _signed(compare.difference(cells, method, other)) for other in references]
        making = [cell["seconds_per_pair"] for cell in own if cell["pairs"] and cell["seconds_per_pair"] is not None]
        rows.append(
            [
                escape(method),
                str(len(own)),
                _score(cells, method),
                mean([cell["overall"]["iou"] for cell in own]),
                *(mean([cell["mean"][name] for cell in own]) for name in _HEADS),
                *against,
                f"{np.mean(making):.2f}" if making else "-",
                f"{np.mean([cell['training']['seconds'] for cell in own]):.0f}",
            ]
        )
    return table(head, rows)


def intervals(cells: Sequence[dict], references: Sequence[str]) -> str:
    """Every measure with its interval, and the differences to the references by those that need no fixed threshold; ""
    where the cells hold no histograms."""
    if not any("tallies" in cell for cell in cells):
        return ""
    names = ["iou_chosen", "f1", "ap", "aupro"]
    rows = [[escape(method), *(_between(cells, method, name) for name in names)] for method in compare.methods(cells)]
    parts = [
        _INTERVALS,
        table(
            [
                "method",
                *(_HEAD_OF[name] for name in names),
            ],
            rows,
        ),
    ]
    for reference in references:
        others = [method for method in compare.methods(cells) if method != reference]
        rows = [
            [escape(method), *(_signed(compare.difference(cells, method, reference, measure=name)) for name in names)]
            for method in others
        ]
        if rows:
            head = [f"minus {escape(reference)}", *(_HEAD_OF[name] for name in names)]
            parts.append(table(head, rows))
    return "\n".join(parts)


def _between(cells: Sequence[dict], method: str, measure: str) -> str:
    found = compare.score(cells, method, measure=measure)
    return "-" if found is None else f"{100 * found.mean:.1f} [{100 * found.low:.1f} {100 * found.high:.1f}]"


_HEAD_OF = {name: measure.head for name, measure in MEASURES.items()}
_INTERVALS = """### With intervals over seeds and groups
"""


def findings(cells: Sequence[dict], references: Sequence[str]) -> str:
    """What the table shows: every difference in words, its noise, what would narrow it, and the trainings' state."""
    known = compare.methods(cells)
    compared = [(other, [m for m in known if m != other]) for other in references if other in known and len(known) > 1]
    parts = ["### What this table shows\n"]
    if not compared:
        parts.append("There is nothing to compare: it takes a baseline and another method.\n")
    for reference, others in compared:
        parts.append("\n".join(f"- {_verdict(cells, method, reference)}" for method in others) + "\n")
        parts += [_noises(cells, others, reference), _other_metrics(cells, others, reference)]
    return "\n".join([*parts, _CHOSEN if compared else "", _halves(cells), _plateau(cells)])


_CHOSEN = """The best baseline is the one that did best on these very images, which favours it; and of many comparisons
some leave 0 by chance.
"""


def per_type(cells: Sequence[dict]) -> str:
    """IoU and recall of every type; a type that defines none, or was trained but not tested, is named in words."""
    types = sorted({type for cell in cells for type in (*cell["types"], *cell["contrasts"]["train"])})
    known = [type for type in types if any(value is not None for value in _of_type(cells, type, "iou"))]
    parts = [
        f"{escape(type)}: no anomalous pixel in the test part, so its metrics are not defined and no mean holds it.\n"
        for type in types
        if type not in known
    ]
    for words, name in (("IoU", "iou"), ("Recall", "recall")) if known else ():
        parts.append(f"{words}\n\n{_types_table(cells, known, name)}")
    return "\n".join(["### Per type\n", *parts])


def by_size(cells: Sequence[dict]) -> str:
    """IoU by the area of the defect's mask."""
    areas = compare.by_area(cells)
    if areas is None:
        return ""
    rows = _size_rows(areas)
    smallest = compare.tiny(cells)
    if smallest is not None:
        rows += [[f"under {compare.TINY}", *rest] for _, *rest in _size_rows(smallest)]
    return _SIZE + table(["mask area, px", "images", *map(escape, areas.iou)], rows)


def _size_rows(areas: compare.Areas) -> list[list[str]]:
    return [
        [f"{low} to {high}", str(areas.images[index]), *(mean(list(iou[:, index])) for iou in areas.iou.values())]
        for index, (low, high) in enumerate(areas.bounds)
    ]


_SIZE = """### IoU by defect size

Images in bins of a quarter each by the area of their mask, and the smallest by themselves; all types together, pooled
within a bin.

"""


def statistics(cells: Sequence[dict]) -> str:
    """The pairs themselves, mean over seeds; the networks do not matter. "" without pairs."""
    rows = []
    for method in compare.methods(cells):
        by_seed = {cell["seed"]: cell["statistics"] for cell in compare.of(cells, method)}
        for type in sorted({type for found in by_seed.values() for type in found}):
            own = [found[type] for found in by_seed.values() if type in found]
            contrast = " ".join(_plain(own, "train", f"contrast{part}") for part in ("_low", "", "_high"))
            rest = [_plain(own, side, name) for name in ("diversity", "nearest") for side in ("train", "held_back")]
            rows.append(
                [
                    escape(method),
                    escape(type),
                    _plain(own, "train", "visible"),
                    contrast,
                    _plain(own, "train", "seam"),
                    *rest,
                ]
            )
    if not rows:
        return ""
    head = [
        "method",
        "type",
        "visible",
        "contrast",
        "seam",
        "diversity (train)",
        "(held back)",
        "nearest (train)",
        "(held back)",
    ]
    return "## The pairs themselves\n\n" + _STATISTICS + "\n" + table(head, rows, words=2)


_STATISTICS = """Visible: share with a signed contrast over 0.5 or under -0.5; contrast: 10 %, median, 90 %. Seam: the
gradient across the mask's edge over the surface's. Diversity: 1 is as varied as real defects. Nearest: distance to the
nearest real defect, 1 is theirs to each other. Diversity and nearest are against the real defects of the training part
and against the held-back ones.
"""


def failed(cells: Sequence[dict]) -> str:
    """The cells with an error; "" where there are none."""
    lines = [
        f"- {escape(cell['method'])}, {escape(cell['network'])}, seed {cell['seed']}: {escape(cell['error'])}"
        for cell in cells
        if "error" in cell
    ]
    return "## Cells that failed\n\n" + "\n".join(lines) + "\n" if lines else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A Markdown table, the first `words` columns to the left, the others to the right."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def mean(values: Sequence[float | None], sign: str = "") -> str:
    """Percent, with half the interval over seeds where there are two; None and NaN are undefined. sign: "+" or none."""
    known = [value for value in values if value is not None and value == value]
    if not known:
        return "-"
    middle, half = spread(known)
    return f"{100 * middle:{sign}.1f}" + ("" if half is None else f" ± {100 * half:.1f}")


def _score(cells: Sequence[dict], method: str) -> str:
    """The IoU with its interval; without one, its mean over seeds."""
    found = compare.score(cells, method)
    if found is None:
        return mean(compare.ious(compare.of(cells, method)))
    return f"{100 * found.mean:.1f} [{100 * found.low:.1f} {100 * found.high:.1f}]"


def _signed(found: compare.Interval | None) -> str:
    if found is None:
        return "-"
    return "{:+.1f} [{:+.1f} {:+.1f}]".format(*(100 * value for value in (found.mean, found.low, found.high)))


def _verdict(cells: Sequence[dict], method: str, best: str) -> str:
    found = compare.difference(cells, method, best)
    if found is None:
        return f"{escape(method)} and {escape(best)} share no seed, or there are fewer than two groups: no comparison."
    over = f"over {_many(found.seeds, 'seed')} and {found.groups} groups"
    if found.seeds == 1:
        return f"{escape(method)} - {escape(best)}: {_signed(found)} points {over}; one training each says little."
    if found.low > 0 or found.high < 0:
        side = "above" if found.low > 0 else "below"
        return f"{escape(method)} is {side} {escape(best)}: {_signed(found)} points {over}."
    return f"{escape(method)} and {escape(best)} cannot be distinguished: {_signed(found)} points {over}."


def _noises(cells: Sequence[dict], others: Sequence[str], best: str) -> str:
    """The noise of every difference, and how much more data would make it POINTS wide."""
    rows = []
    for method in others:
        found = compare.noise(cells, method, best)
        if found is not None:
            seeds, groups = compare.needed(POINTS / 100, found.seed, found.group, found.seeds, found.groups)
            none = "-" if found.seed is None else "none"
            scatter = "-" if found.seed is None else f"{100 * found.seed:.1f}"
            rows.append([escape(method), scatter, f"{100 * found.group:.1f}", str(seeds or none), str(groups or none)])
    if not rows:
        return ""
    head = ["method", "SD over seeds", "SD over groups", f"seeds for ±{POINTS}", f"groups for ±{POINTS}"]
    return _NOISE.format(best=escape(best)) + "\n" + table(head, rows)


_NOISE = f"""The noise of the difference to {{best}} in points, and what would make its interval ±{POINTS}: so many
seeds with these groups, or so many test groups with these seeds. "none": the other noise alone is too wide; `-`: one
seed does not show it. The SD of a few seeds is itself rough, and with such an interval a true difference of {POINTS}
points is still overlooked every second time.
"""


def _other_metrics(cells: Sequence[dict], others: Sequence[str], best: str) -> str:
    """The differences by the metrics that do not hang on one threshold."""
    heads = {name: head for name, head in _HEADS.items() if name != "recall"}
    rows = [
        [escape(method), *(mean(compare.gains(cells, method, best, name), sign="+") for name in heads)]
        for method in others
    ]
    return _OTHERS.format(best=escape(best)) + table(["method", *heads.values()], rows)


_OTHERS = """The same differences to {best} by metrics that hang on no single threshold, and so scatter less than IoU;
± over seeds alone:

"""


def _halves(cells: Sequence[dict]) -> str:
    """Every arm against itself, where there are the seeds for it."""
    network = cells[0]["network"]
    found = {method: compare.halves(cells, method, network) for method in compare.methods(cells)}
    known = {escape(method): one for method, one in found.items() if one}
    if not known:
        return "No arm has the four seeds it takes to compare it with itself.\n"
    words = "; ".join(f"{name} {100 * one.mean:+.1f} ({one.seeds} and {one.seeds})" for name, one in known.items())
    size = np.sqrt(np.mean([one.mean**2 for one in known.values()]))
    return (
        f"The same arm twice, its first seeds minus its last, where the truth is 0: {words}. Their typical size (root "
        f"mean square), {100 * size:.1f} points, is what so few seeds show where there is nothing, without pairing.\n"
    )


def _plateau(cells: Sequence[dict]) -> str:
    """Whether the steps suffice, by the trainings that held groups out."""
    curves = {method: compare.validation(cells, method) for method in compare.methods(cells)}
    known = {method: compare.progress(compare.mean_curve(own)) for method, own in curves.items() if own}
    if not known:
        return "Whether the trainings had reached a plateau is not known; `--validate` measures it.\n"
    words = "; ".join(
        f"{state}: {', '.join(escape(method) for method, own in known.items() if own == found)}"
        for state, found in _STATES.items()
        if found in known.values()
    )
    return f"In further trainings with a fifth of the groups held out the mean IoU on these is, at the end, {words}.\n"


_STATES = {
    "level, so the steps suffice": "level",
    "still rising, so more steps may help": "rising",
    "falling, so fewer steps may do better": "falling",
    "validated too seldom to say": None,
}


def _types_table(cells: Sequence[dict], types: Sequence[str], name: str) -> str:
    images = defect_images(cells)
    rows = []
    for type in types:
        own = [image for image in images if f"{image['object']}/{image['type']}" == type]
        values = [mean(_of_type(compare.of(cells, method), type, name)) for method in compare.methods(cells)]
        rows.append([escape(type), str(len(own)), str(len({image["group"] for image in own})), *values])
    return table(["type", "images", "groups", *map(escape, compare.methods(cells))], rows)


def _of_type(cells: Sequence[dict], type: str, name: str) -> list[float | None]:
    return [cell["types"].get(type, {}).get(name) for cell in cells]


def _plain(found: Sequence[dict], side: str, name: str) -> str:
    known = [one[side][name] for one in found if one[side][name] is not None]
    return f"{np.mean(known):.2f}" if known else "-"


def _span(values: Iterable[int]) -> str:
    """The values' range; "no" without any."""
    known = sorted(set(values))
    return "no" if not known else f"{known[0]}" + f" to {known[-1]}" * (len(known) > 1)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)
