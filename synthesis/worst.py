"""The worst pairs of a folder by one of their scores: what to look at before training on them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datasets.pairs import MANIFEST, manifest_lines
from ..errors import Refused
from ..files.progress import tracked
from ..files.relative_path import is_file_below
from ..files.untrusted_json import JsonValue
from ..settings import check_values
from .settings import WorstSettings

# Keys of the manifest; whether a high score is the bad one.
SCORES = {
    "visibility": False,
    "strength": False,
    "excess": False,
    "completeness": False,
    "precision": False,
    "boundary": False,
    "seam": True,
    "nearest_real": True,
}
_NEEDED = ("index", "image", "mask", "normal", "object", "type")


@dataclass(frozen=True)
class Worst:
    """The worst pairs of a folder.

    by: the score; pairs: their manifest lines, the worst first; scored: pairs of the folder that have this score;
    unscored: those that have none; gone: lines whose image, mask or normal image was deleted; scores: those that any
    pair has.
    """

    root: Path
    by: str
    pairs: list[dict[str, Any]]
    scored: int
    unscored: int
    gone: int
    scores: tuple[str, ...]


def worst_pairs(root: str | Path, by: str = WorstSettings.by, count: int = WorstSettings.count) -> Worst:
    """The `count` pairs of a folder with the worst score `by`, one of SCORES; equal ones in the manifest's order.

    The manifest is read line by line and only the worst are kept, whatever the folder's size.

    Raises:
        Refused: another score, a count below 1, a folder without manifest or pairs, a damaged line, or no pair that
            has this score; the message names the scores that there are.
    """
    check_values(WorstSettings, by=by, count=count)
    seen = _Seen(Path(root), by)
    sign = -1 if SCORES[by] else 1
    pairs = heapq.nsmallest(count, seen.lines(), key=lambda line: sign * line[by])
    if not seen.total:
        raise Refused(root, "it holds no pairs", remedy="make some first")
    if not pairs:
        raise Refused(root, seen.why())
    scores = tuple(score for score in SCORES if score in seen.has)
    return Worst(Path(root), by, pairs, seen.scored, seen.unscored, seen.gone, scores)


def summary(worst: Worst) -> list[str]:
    """Sentences on what was chosen from what, and which types the worst are of."""
    which = "highest" if SCORES[worst.by] else "lowest"
    lines = [f"The {len(worst.pairs)} of {worst.scored} pairs with the {which} {words(worst.by)}."]
    if worst.unscored:
        lines.append(f"{worst.unscored} more have no {words(worst.by)} and were passed over.")
    if worst.gone:
        lines.append(f"{worst.gone} lines of the manifest are of pairs whose files were deleted.")
    kinds = Counter(f"{line['object']} / {line['type']}" for line in worst.pairs)
    return [*lines, "By type: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) + "."]


def words(score: str) -> str:
    """A score's key as people read it."""
    return score.replace("_", " ")


def value(line: dict[str, Any], score: str) -> str:
    """A score of a manifest line in two digits after the point; "-" where it has none."""
    found = line.get(score)
    return "-" if found is None else f"{found:.2f}"


@dataclass
class _Seen:
    """One pass over a manifest: what it has, counted as it comes by."""

    root: Path
    by: str
    total: int = 0
    scored: int = 0
    unscored: int = 0
    gone: int = 0
    has: set[str] = field(default_factory=set)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Of the pairs that are there and have the score: what is shown of them."""
        for line in tracked("reading pairs", manifest_lines(self.root), of=_length(self.root / MANIFEST)):
            self.total += 1
            kept = self._kept(line)
            where = f"{self.root / MANIFEST}, line {self.total}"
            if not all(is_file_below(self.root, line[key], f"{where}: {key}") for key in ("image", "mask", "normal")):
                self.gone += 1
                continue
            self.has |= kept.keys() & SCORES.keys()
            if self.by in kept:
                self.scored += 1
                yield kept
            else:
                self.unscored += 1

    def why(self) -> str:
        """Why no pair is left to choose from."""
        if self.gone == self.total:
            return f"the files of all {self.total} pairs of its manifest were deleted; make some again"
        known = ", ".join(score for score in SCORES if score in self.has)
        return (
            f"none of its {self.unscored} pairs has the score {self.by!r}; they have {known or 'no score at all'}; "
            f"{'choose one of these' if known else 'connect scores to Save Pairs, or name them in the batch job'}, or "
            "make the pairs again"
        )

    def _kept(self, line: dict[str, Any]) -> dict[str, Any]:
        missing = [key for key in _NEEDED if key not in line]
        wrong = [score for score in SCORES if isinstance(line.get(score, 0.0), (str, bool, list, dict))]
        if missing or wrong:
            what = f"no {', '.join(missing)}" if missing else f"{wrong[0]} {line[wrong[0]]!r:.40}, which is no number"
            raise Refused(self.root, f"line {self.total} of its manifest has {what}", remedy="give a folder of pairs")
        of = JsonValue(line, f"{self.root}: line {self.total} of its manifest")
        of.at("index").of(int)
        for key in ("image", "mask", "normal", "object", "type"):
            of.at(key).text()
        scores = {score: of.at(score).of(float) for score in SCORES if line.get(score) is not None}
        return {key: line.get(key) for key in (*_NEEDED, "visible", "seed")} | scores


def _length(manifest: Path) -> int:
    """Lines of a file; 0 where there is none."""
    if not manifest.is_file():
        return 0
    with manifest.open("rb") as file:
        return sum(1 for _ in file)
