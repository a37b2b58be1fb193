"""What Refine Pairs bought, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median

from .pairs import Score

MEDIANS = ("strength", "completeness", "boundary", "nearest_real")


def report(first: Sequence[Score], kept: Sequence[Score], calls: int) -> str:
    """Share visible and median scores of first draws and kept pairs, which rounds were kept, and calls of the model.

    first, kept: scores of the same pairs; kept with `refined`. A median is left out where a score is not known.
    """
    share = [100 * fmean(one.visible for one in scores) for scores in (first, kept)]
    lines = [f"{len(kept)} pairs, first draw -> kept", f"visible: {share[0]:.0f} % -> {share[1]:.0f} %"]
    for name in MEDIANS:
        values = [[getattr(one, name) for one in scores] for scores in (first, kept)]
        if None not in values[0] + values[1]:
            lines.append(f"{name}, median: {median(values[0]):.2f} -> {median(values[1]):.2f}")
    rounds = Counter(one.refined["round"] for one in kept)
    chosen = ", ".join(f"{f'round {n}' if n else 'first draw'} {rounds[n]}" for n in sorted(rounds))
    return "\n".join([*lines, f"kept: {chosen}", f"calls of the model: {calls} ({calls / len(kept):.1f} per pair)"])
