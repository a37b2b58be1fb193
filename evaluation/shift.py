"""A transfer test: train under some conditions (exposure, part, camera), test under another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..datasets.sample import Sample
from ..errors import Refused


@dataclass(frozen=True)
class Shift:
    """column: of the data's manifest.csv; value: what it says of the images that test alone."""

    column: str
    value: str

    @classmethod
    def read(cls, text: str) -> Shift:
        """Of COLUMN=VALUE. Raises Refused for any other text."""
        column, _, value = (part.strip() for part in text.partition("="))
        if not column or not value:
            raise Refused("shift", repr(text), "COLUMN=VALUE, such as exposure=dim")
        return cls(column, value)

    def __str__(self) -> str:
        return f"{self.column}={self.value}"

    @property
    def words(self) -> str:
        return f"trained on images whose {self.column} is not {self.value}, tested on those where it is"

    def parts(
        self, train: Sequence[Sample], held_back: Sequence[Sample], values: Mapping[str, str]
    ) -> tuple[list[Sample], list[Sample]]:
        """The training samples of other values, and the held-back ones of this value.

        values: {sample name: the column's value}.
        Raises Refused, with the values that there are, where either has no defect.
        """
        trains = [sample for sample in train if values[sample.name] != self.value]
        tests = [sample for sample in held_back if values[sample.name] == self.value]
        for side, found in (("training", trains), ("test", tests)):
            if not any(sample.mask is not None for sample in found):
                raise Refused(
                    "shift",
                    f"{self} leaves {len(found)} {side} images, none with a defect",
                    f"a value on both sides of the split: {_counted(train, held_back, values)}",
                    "choose another value, or make a split with another share",
                )
        return trains, tests


def _counted(train: Sequence[Sample], held_back: Sequence[Sample], values: Mapping[str, str]) -> str:
    """The values, each with its numbers of defects."""
    sides = [Counter(values[s.name] for s in side if s.mask is not None) for side in (train, held_back)]
    names = sorted({values[sample.name] for sample in (*train, *held_back)})
    return ", ".join(f"{name} ({sides[0][name]} training, {sides[1][name]} held-back defects)" for name in names)
