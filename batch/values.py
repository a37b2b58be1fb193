"""What a node's input gets for one item: the forms that a job file may write."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datasets.batch_plan import PlanItem
from ..errors import Refused

_NAME = re.compile(r"\{(\w+)\}")
FORMS = (
    "a plain value (the same for all items), {kind: NAME}, {item: FIRST}, {seed: NAME}, {each: [..]}, {choose: [..]}, "
    "{text: '.. {NAME} ..'}, {files: PATTERN} or {files_in_turn: PATTERN}"
)


@dataclass(frozen=True)
class Fixed:
    """The same for all items."""

    value: Any

    def of(self, item: PlanItem) -> Any:
        return self.value


@dataclass(frozen=True)
class FromKind:
    """The value of that name of the item's kind."""

    name: str

    def of(self, item: PlanItem) -> str:
        return item.kind[self.name]


@dataclass(frozen=True)
class ItemNumber:
    """The item's number, counted from `first`."""

    first: int

    def of(self, item: PlanItem) -> int:
        return self.first + item.index


@dataclass(frozen=True)
class Seed:
    """A seed per item; inputs of one name get the same."""

    name: str

    def of(self, item: PlanItem) -> int:
        return item.seed(self.name)


@dataclass(frozen=True)
class Each:
    """The values in turn; every kind meets all of them."""

    values: list

    def of(self, item: PlanItem) -> Any:
        return item.turn(self.values)


@dataclass(frozen=True)
class Choose:
    """One of the values at random."""

    values: list
    purpose: str

    def of(self, item: PlanItem) -> Any:
        return item.choose(self.values, self.purpose)


@dataclass(frozen=True)
class Text:
    """A text with names of the kind in braces."""

    template: str

    def of(self, item: PlanItem) -> str:
        return filled(self.template, item.kind)


@dataclass(frozen=True)
class Files:
    """A file of this machine that is sent to the server: one of those that match, at random or in turn."""

    pattern: str
    folder: Path
    purpose: str
    in_turn: bool
    _listed: dict[str, list[Path]] = field(default_factory=dict, compare=False, repr=False)

    def of(self, item: PlanItem) -> Path:
        files = self.listed(item.kind)
        return item.turn(files) if self.in_turn else item.choose(files, self.purpose)

    def listed(self, kind: Mapping[str, str]) -> list[Path]:
        """The files of a kind, sorted."""
        pattern = filled(self.pattern, kind)
        if pattern not in self._listed:
            absolute = Path(pattern).is_absolute()
            root = Path(Path(pattern).anchor) if absolute else self.folder
            relative = str(Path(pattern).relative_to(root)) if absolute else pattern
            self._listed[pattern] = sorted(path for path in root.glob(relative) if path.is_file())
        return self._listed[pattern]

    def digest(self, kinds: list[Mapping[str, str]]) -> str:
        """16 hex digits of the names that match: another list would give other items."""
        names = "\n".join(path.name for kind in kinds for path in self.listed(kind))
        return hashlib.sha256(names.encode()).hexdigest()[:16]


Value = Fixed | FromKind | ItemNumber | Seed | Each | Choose | Text | Files


def read_value(raw: Any, names: set[str], folder: Path, purpose: str) -> Value:
    """A value as the job file writes it.

    names: of the kinds' values; folder: that patterns start from; purpose: the name of this input's random choices.
    Raises Refused for a form that is none of FORMS, and for a name that no kind has.
    """
    if not isinstance(raw, dict):
        if isinstance(raw, list) or raw is None:
            raise Refused("value", f"{raw!r:.60}", FORMS)
        return Fixed(raw)
    form, given = next(iter(raw.items()), ("", None))
    kinds = {
        "kind": str,
        "item": int,
        "seed": str,
        "each": list,
        "choose": list,
        "text": str,
        "files": str,
        "files_in_turn": str,
    }
    if len(raw) != 1 or form not in kinds or type(given) is not kinds[form]:
        raise Refused("value", f"{raw!r:.60}", FORMS)
    if form in ("kind", "text", "files", "files_in_turn"):
        _check_names({given} if form == "kind" else set(_NAME.findall(given)), names)
    if form in ("each", "choose"):
        _check_plain(given)
    if form in ("files", "files_in_turn"):
        return Files(given, folder, purpose, form == "files_in_turn")
    if form == "choose":
        return Choose(given, purpose)
    return {"kind": FromKind, "item": ItemNumber, "seed": Seed, "each": Each, "text": Text}[form](given)


def filled(template: str, kind: Mapping[str, str]) -> str:
    """The text with every {name} that the kind has replaced."""
    return _NAME.sub(lambda match: kind.get(match[1], match[0]), template)


def _check_names(wanted: set[str], names: set[str]) -> None:
    if wanted - names:
        listed = ", ".join(sorted(names)) or "no name, since the job has no kinds"
        raise Refused("names", f"no kind has {', '.join(sorted(wanted - names))}", listed)


def _check_plain(values: list) -> None:
    if not values or any(isinstance(value, dict | list) or value is None for value in values):
        raise Refused("values", f"{values!r:.60}", "a list of plain values, at least one")
