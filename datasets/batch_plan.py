"""What item i of a long run is: its kind, its round and its seeds, decided by (seed, i) alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TypeVar

from ..errors import Refused
from ..seeds import derived_seed

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class PlanItem:
    """One item of a plan.

    index: from 0; round: how many items of the same kind came before it; kind: names and values, such as
    {"object": "bottle", "type": "crack"}; plan_seed: of the whole plan.
    """

    index: int
    round: int
    kind: Mapping[str, str]
    plan_seed: int

    def seed(self, purpose: str = "anomaly 0") -> int:
        """A seed in 0 .. 2^63 - 1 for one purpose; "anomaly 0" is the command line's seed of item `index`."""
        return derived_seed(self.plan_seed, self.index, purpose)

    def choose(self, values: Sequence[_Value], purpose: str) -> _Value:
        """One of the values, at random but the same each time. Raises Refused where there are none."""
        if not values:
            raise Refused(f"item {self.index}", f"nothing to choose {purpose} from")
        return values[self.seed(purpose) % len(values)]  # of 2^63 the remainder's bias is nothing

    def turn(self, values: Sequence[_Value]) -> _Value:
        """The values in turn, so that every kind meets all of them. Raises Refused where there are none."""
        if not values:
            raise Refused(f"item {self.index}", "nothing to take in turn")
        return values[self.round % len(values)]


@dataclass(frozen=True)
class BatchPlan:
    """`count` items of every kind, the kinds in turn: item i is of kind i modulo their number.

    So a run that is stopped early has nearly the same number of each, and a larger count adds items and changes none.
    Raises Refused without kinds, for a kind that is there twice, and for a count below 1.
    """

    kinds: Sequence[Mapping[str, str]] = field(default_factory=lambda: ({},))
    count: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.kinds:
            raise Refused("kinds", "none", remedy="give at least one, such as bottle / crack")
        if self.count < 1:
            raise Refused("count", self.count, "1 or more, the items of every kind")
        seen = Counter(tuple(sorted(kind.items())) for kind in self.kinds)
        twice = sorted(kind for kind, times in seen.items() if times > 1)
        if twice:
            shown = " / ".join(value for _, value in twice[0])
            raise Refused("kinds", f"{shown} is there twice", remedy="name it once")

    def __len__(self) -> int:
        return len(self.kinds) * self.count

    def item(self, index: int) -> PlanItem:
        """Item `index`. Raises Refused for one that the plan does not have."""
        if not 0 <= index < len(self):
            got = f"{index} of a plan of {len(self)} ({len(self.kinds)} kinds, {self.count} of each)"
            raise Refused("item", got, f"0 to {len(self) - 1}")
        return PlanItem(index, index // len(self.kinds), self.kinds[index % len(self.kinds)], self.seed)


def kinds_of(rows: Sequence[Mapping[str, str | Sequence[str]]]) -> list[dict[str, str]]:
    """Every kind of rows in which a value may be a list: {"object": "cable", "type": ["cut", "bent"]} are two."""
    kinds = []
    for row in rows:
        lists = [[value] if isinstance(value, str) else list(value) for value in row.values()]
        kinds += [dict(zip(row, values, strict=True)) for values in product(*lists)]
    return kinds


def kinds_from_text(text: str) -> list[dict[str, str]]:
    """One kind a line, as "object / type"; empty lines do not count. Raises Refused for any other line."""
    kinds = []
    for number, line in enumerate(text.splitlines(), 1):
        parts = [part.strip() for part in line.split("/")]
        if parts == [""]:
            continue
        if len(parts) != 2 or not all(parts):
            raise Refused("kinds", f"line {number} is {line.strip()!r}", "'object / type': 'bottle / crack'")
        kinds.append({"object": parts[0], "type": parts[1]})
    return kinds
