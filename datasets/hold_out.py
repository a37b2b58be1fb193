"""Groups of the training part that are looked at instead of trained on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from .sample import Sample
from .split import Kind

HELD_OUT = 5  # one group of so many of every type


def hold_out(samples: Sequence[Sample], groups: Mapping[str, str], seed: int) -> tuple[list[Sample], list[Sample]]:
    """(fitting, validation): whole groups, about one in HELD_OUT of every type, and at least one with a defect.

    A group stays in fitting where a type would lose its last one; so with one group per type nothing with a defect is
    held out.
    """
    members: dict[Kind, set[str]] = defaultdict(set)
    for sample in samples:
        members[sample.object, sample.type].add(groups[sample.name])
    defects = {kind: found for kind, found in members.items() if kind[1] != "good"}
    draw, held = random.Random(seed), set()
    # Defects first: where a group holds both, they decide, and its good images only follow.
    for found in [defects[kind] for kind in sorted(defects)] + [members[kind] for kind in sorted(members)]:
        _deal(draw.sample(sorted(found), len(found)), round(len(found) / HELD_OUT), members, held)
    if not any(held & found for found in defects.values()):
        every = sorted(set().union(*defects.values()))
        _deal(draw.sample(every, len(every)), 1, members, held)
    fitting = [sample for sample in samples if groups[sample.name] not in held]
    return fitting, [sample for sample in samples if groups[sample.name] in held]


def _deal(order: Sequence[str], wanted: int, members: Mapping[Kind, set[str]], held: set[str]) -> None:
    """Hold out groups in this order until `wanted` of them are."""
    for group in order:
        if len(held & set(order)) >= wanted:
            return
        if all(found - held - {group} for found in members.values() if group in found):
            held.add(group)
