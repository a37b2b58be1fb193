"""Settings as fields of dataclasses: default, range and help of each in one place.

A room declares its settings in its own settings.py, which imports no torch: the command line builds its options from
them, and the nodes their widgets. The dataclass checks its values by the same ranges.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from math import isfinite
from typing import Any

from .errors import Refused

_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """What a field may be and what it does.

    type: the field's annotation, which must be postponed (`from __future__ import annotations`), without "| None";
    help: what it does; low, high: the range of a number, both included; above, below: bounds that it may not reach;
    multiple: what divides it; choices: the names that it may have; off: of a bool that is on by default, what switching
    it off does. A tuple is in range if each of its values is.
    """

    name: str
    type: str
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    multiple: int = 1
    choices: tuple[str, ...] = ()
    off: str = ""

    @property
    def accepted(self) -> str:
        """The range in words: "1 to 1000", "0 or more", "above 0"; "" where there is none."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        parts = [f"a multiple of {self.multiple}"] if self.multiple > 1 else []
        if None not in (self.low, self.high):
            parts.append(f"{self.low:g} to {self.high:g}")
        elif self.low is not None:
            parts.append(f"{self.low:g} or more")
        if self.above is not None:
            parts.append(f"above {self.above:g}")
        if self.below is not None:
            parts.append(f"below {self.below:g}")
        return ", ".join(parts)

    def check(self, value: Any) -> None:
        """Raise Refused, with the field's name as subject, for a value out of range. None is its own default's."""
        if value is None and self.default is None:
            return
        values = value if isinstance(value, tuple) else (value,)
        wrong = [one for one in values if not self._fits(one)]
        if wrong or not values:
            raise Refused(self.name, "none" if not values else f"{wrong[0]!r}", self.accepted)

    def _fits(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if not self.accepted:
            return True
        return (
            isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.multiple == 1 or value % self.multiple == 0)
        )


def setting(default: Any = MISSING, help: str = "", **limits: Any) -> Any:
    """A field of a settings dataclass; `limits` are those of `Setting`. Without a default the field is required."""
    return field(default=default, metadata={_KEY: {"help": help, **limits}})


def settings_of(cls: Any) -> dict[str, Setting]:
    """The settings of a dataclass, or of an instance with other defaults, by name, in their order."""
    return {
        one.name: Setting(one.name, one.type.split(" | ")[0], getattr(cls, one.name, MISSING), **one.metadata[_KEY])
        for one in fields(cls)
        if _KEY in one.metadata
    }


def check_settings(instance: Any) -> None:
    """For a dataclass's `__post_init__`: raise Refused for its first value that is out of range."""
    for name, found in settings_of(type(instance)).items():
        found.check(getattr(instance, name))


def check_values(cls: Any, **values: Any) -> None:
    """The same for arguments of a function that are settings of `cls` by name."""
    known = settings_of(cls)
    for name, value in values.items():
        known[name].check(value)


def shown(value: Any) -> str:
    """A value in words, for help and tooltips."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(shown, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
