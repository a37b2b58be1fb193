"""Search for a better anomaly in the same place: new seeds, and settings one at a time, the best of all kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from typing import Any

from ..samplers.presets import preset
from .pair import Pair, Settings
from .scores import Scores

Make = Callable[[Sequence[Any], Any], list[Pair]]  # (jobs, settings or what varies of them) -> pairs
Visible = Callable[[Scores], bool]


@dataclass(frozen=True)
class Varied:
    """What a search may change where sampler and windows are given: as in `pair.Settings`; no context, since the
    windows are cut."""

    guidance: float
    farm: float
    context: None = None


@dataclass(frozen=True)
class Refined:
    """The best of a first pair and its proposals.

    round: of the kept one, 0 is the first; settings: it was made with; first: what the search began with; calls: of the
    denoiser, for one window each, over all rounds.
    """

    pair: Pair
    settings: Settings | Varied
    round: int
    rounds: int
    first: Pair
    calls: int

    def record(self, visible: Visible, settings: Settings | Varied) -> dict[str, Any]:
        """For the manifest: which round was kept, what it changed in the run's `settings`, and the first scores."""
        kept, run = asdict(self.settings), asdict(settings)
        return {
            "rounds": self.rounds,
            "round": self.round,
            "changed": {name: value for name, value in kept.items() if value != run[name]},
            "first": self.first.entries | {"visible": visible(self.first)},
            "calls": self.calls,
            "first_calls": self.first.calls,
        }


def proposal(settings: Settings | Varied, round: int, has_farm: bool) -> Settings | Varied:
    """Settings of round 1, 2, 3, ...; every round has a new seed, too, which the plan draws from (seed, index, round).

    Round 1 keeps the settings. Then one of them differs, in turn: guidance x 1.5, context x 2, FARM's share x 0.5,
    guidance / 1.5, context / 2, as they are; and again. What is switched off stays off (guidance 1, FARM 0 or absent):
    its rounds keep the settings. Where the windows are given (context None), there are no rounds of context.
    """
    guided, cropped = settings.guidance != 1, settings.context is not None
    changes = [
        {},
        {"guidance": settings.guidance * 1.5} if guided else {},
        *([{"context": settings.context * 2}] if cropped else []),
        {"farm": settings.farm / 2} if has_farm else {},
        {"guidance": settings.guidance / 1.5} if guided else {},
        *([{"context": settings.context / 2}] if cropped else []),
    ]
    return replace(settings, **changes[(round - 1) % len(changes)])


def farm_varies(settings: Settings) -> bool:
    """Whether an adapter's FARM can have half its share: `renoise`, of the preset paper, takes all of it or none."""
    mode = preset(settings.preset, settings.steps)[1].get("foreground_mode")
    return settings.farm > 0 and mode != "renoise"


def rank(scores: Scores, visible: bool) -> tuple:
    """Greater is better: visible first; then near to a real defect; then complete; then matching in outline.

    A pair that shows nothing teaches the network a wrong label, so nothing makes up for that. Below 1 the distance
    counts no more: that near real defects are to each other, and nearer ones would be preferred for being copies.
    """
    distance = 1.0 if scores.nearest_real is None else max(scores.nearest_real, 1.0)
    return visible, -distance, scores.completeness, scores.boundary


def gain(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float | None, float | None]]:
    """What refining bought, from lines of a manifest: (first draw, kept) of each number.

    visible: share; nearest_real: median over the pairs that have one; calls: of the denoiser, mean per pair.
    """
    first, kept = [line["refined"]["first"] for line in records], records
    nearest = [[one["nearest_real"] for one in lines if one["nearest_real"] is not None] for lines in (first, kept)]
    return {
        "visible": tuple(fmean(one["visible"] for one in lines) for lines in (first, kept)),
        "nearest_real": tuple(median(found) if found else None for found in nearest),
        "calls": tuple(fmean(line["refined"][key] for line in records) for key in ("first_calls", "calls")),
    }


def refine(
    make: Make,
    first: Sequence[Pair],
    again: Callable[[int], Sequence[Any]],
    settings: Settings | Varied,
    visible: Visible,
    rounds: int,
    has_farm: bool,
    pays: Callable[[Refined], bool] = lambda best: True,
) -> list[Refined]:
    """Make a batch of pairs `rounds` times more, by `proposal`, and keep the best of each by `rank`.

    Args:
        make: pairs of jobs and settings.
        first: the pairs as the run's settings make them.
        again: the same jobs with the seeds of a round.
        pays: whether a pair is worth another round, by the best so far.
    """
    best = [Refined(pair, settings, 0, rounds, pair, pair.calls) for pair in first]
    for number in range(1, rounds + 1):
        places = [place for place, one in enumerate(best) if pays(one)]
        if not places:
            break
        tried, jobs = proposal(settings, number, has_farm), again(number)
        for place, pair in zip(places, make([jobs[place] for place in places], tried), strict=True):
            best[place] = _better(best[place], pair, tried, number, visible)
    return best


def _better(best: Refined, pair: Pair, settings: Settings | Varied, number: int, visible: Visible) -> Refined:
    calls, seconds = best.calls + pair.calls, best.pair.seconds + pair.seconds
    if rank(pair, visible(pair)) > rank(best.pair, visible(best.pair)):
        best = replace(best, pair=pair, settings=settings, round=number)
    return replace(best, pair=replace(best.pair, seconds=seconds), calls=calls)
