"""The job file: what is made, from which workflow, on which servers, into which folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..datasets.batch_plan import BatchPlan, PlanItem, kinds_of
from ..datasets.pairs import check_names
from ..errors import Refused
from ..settings import settings_of
from .client import address_of
from .problems import Problems, inside
from .settings import Limits
from .values import Files, Fixed, FromKind, Seed, Value, read_value
from .yaml_file import Keys, YamlFile

_KEYS = {"workflow", "out", "count", "seed", "kinds", "servers", "inputs", "results", "record", "limits", "cluster"}
_PICTURES, _NAMES = ("image", "mask", "normal"), ("object", "type")
_OWN = {
    "index",
    "image",
    "mask",
    "normal",
    "object",
    "type",
    "item",
    "seed",
    "seconds",
    "settings",
    "identity",
    "changed",
    "changed_outside",
    "unchanged_pieces",
}  # of the manifest
_MOST_KINDS, _MOST_ITEMS = 100_000, 10_000_000
_LIMITS = settings_of(Limits)
_CLUSTER = {"comfyui": str, "python": str, "arguments": list, "actors": int, "gpus": int}


@dataclass(frozen=True)
class Source:
    """Where a result comes from: an output of a node (None: what an output node shows), or a file given to an input.

    field: of an output that ComfyUI shows as JSON, the name of the value in it.
    """

    node: str
    output: str | int | None = None
    input: str | None = None
    field: str | None = None


@dataclass(frozen=True)
class Job:
    """A job as its file describes it, not yet checked against a server.

    inputs: (node's title or id, input) -> value; pictures: image, mask, normal; names: object and type;
    record: further entries of the manifest; tries: failures of an item until it is set aside; seconds: that an item
    may run; ahead: the most items in one server's queue; megabytes: of a file that a server hands over, four times as
    much decoded; cluster: how Ray's actors start ComfyUI, or None.
    """

    path: Path
    workflow: Path
    out: Path
    servers: tuple[str, ...]
    plan: BatchPlan
    inputs: Mapping[tuple[str, str], Value]
    pictures: Mapping[str, Source]
    names: Mapping[str, Source | Value]
    record: Mapping[str, Source | Value]
    tries: int
    seconds: float
    ahead: int
    megabytes: float
    cluster: Mapping[str, Any] | None

    @property
    def folder(self) -> Path:
        """Beside `out`, with the table of items, what waits to be written, and the report."""
        return self.out.with_name(f"{self.out.name}.batch")

    @property
    def most(self) -> int:
        """Bytes of a file that a server hands over."""
        return int(self.megabytes * 2**20)

    @property
    def sources(self) -> dict[str, Source]:
        """All that is read from a run, by name."""
        named = {**self.pictures, **self.names, **self.record}
        return {name: source for name, source in named.items() if isinstance(source, Source)}

    def values(self, item: PlanItem) -> dict[tuple[str, str], Any]:
        """What every input of the job gets for an item; a Path is a file to send."""
        return {place: value.of(item) for place, value in self.inputs.items()}

    def seed(self, item: PlanItem) -> int | None:
        """The item's first seed, for the manifest."""
        return next((value.of(item) for value in self.inputs.values() if isinstance(value, Seed)), None)

    def settings(self) -> dict[str, Any]:
        """What decides every pair, JSON-able: two runs with the same are one run. The count is not among it."""
        files = {
            f"{node}.{name}": value.digest(list(self.plan.kinds))
            for (node, name), value in self.inputs.items()
            if isinstance(value, Files)
        }
        return {
            "seed": self.plan.seed,
            "kinds": list(self.plan.kinds),
            "files": files,
            "inputs": {
                f"{node}.{name}": repr(value)
                for (node, name), value in self.inputs.items()
                if not isinstance(value, Files)
            },
            "results": {name: repr(value) for name, value in {**self.pictures, **self.names, **self.record}.items()},
        }


def read_job(path: str | Path) -> Job:
    """Read and check a job file. Raises Problems that lists every problem with its line and key, or OSError."""
    return _Reader(YamlFile(path)).job()


class _Reader:
    """Takes the file apart; problems are gathered with their lines, so that one error lists all."""

    def __init__(self, file: YamlFile) -> None:
        self.file, self.data = file, file.data
        self.problems: list[tuple[int, Refused]] = []
        self.folder = file.path.absolute().parent

    def job(self) -> Job:
        for key in self.data.keys() - _KEYS:
            self._problem((key,), "no such key", ", ".join(sorted(_KEYS)))
        kinds = self._kinds()
        names = set.intersection(*map(set, kinds)) if kinds else set()
        count, seed = self._number(("count",), None, 1), self._number(("seed",), 0, 0)
        limits = self._limits()
        job = Job(
            self.file.path,
            self._path("workflow"),
            self._path("out"),
            self._servers(),
            None,
            self._inputs(names),
            self._pictures(),
            self._result_names(names),
            self._record(names),
            limits["tries"],
            limits["seconds"],
            limits["ahead"],
            limits["megabytes"],
            self._cluster(),
        )
        if not self.problems:
            try:
                object.__setattr__(job, "plan", BatchPlan(tuple(kinds), count, seed))
                if len(kinds) * count > _MOST_ITEMS:
                    items = f"{count} of each of {len(kinds)} kinds"
                    self._problem(("count",), items, f"at most {_MOST_ITEMS} items", "make several jobs")
            except ValueError as error:
                self._add(("kinds",), inside(self.file.where(("kinds",)), error))
        if self.problems:
            found = [problem for _, problem in sorted(self.problems, key=lambda one: one[0])]
            raise Problems(self.file.path, "\n".join(map(str, found)))
        return job

    def _problem(self, keys: Keys, got: str = "", accepted: str = "", remedy: str = "") -> None:
        self._add(keys, Refused(self.file.where(keys), got, accepted, remedy))

    def _add(self, keys: Keys, problem: Refused) -> None:
        self.problems.append((self.file.line(keys), problem))

    def _get(self, keys: Keys) -> Any:
        value = self.data
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def _mapping(self, key: str) -> dict:
        value = self.data.get(key)
        if value is None or isinstance(value, dict):
            return value or {}
        self._problem((key,), f"{value!r:.40}", "a mapping")
        return {}

    def _path(self, key: str) -> Path:
        value = self.data.get(key)
        if not isinstance(value, str) or not value.strip():
            self._problem((key,), f"{value!r:.40}", "a path, from this file's folder on")
            return Path()
        return self.folder / value

    def _number(self, keys: Keys, default: float | None, least: float, whole: bool = True) -> Any:
        value = self._get(keys)
        value = default if value is None else value
        fits = type(value) is int or (not whole and isinstance(value, float) and math.isfinite(value))
        if not fits or not least <= value < 2**63:
            self._problem(keys, f"{value!r:.40}", f"a {'whole ' * whole}number from {least} on")
            return least
        return value

    def _limits(self) -> dict[str, Any]:
        for key in self._mapping("limits").keys() - _LIMITS.keys():
            self._problem(("limits", key), "no such limit", ", ".join(_LIMITS))
        return {
            name: self._number(("limits", name), one.default, one.low, whole=one.type == "int")
            for name, one in _LIMITS.items()
        }

    def _servers(self) -> tuple[str, ...]:
        given = self.data.get("servers")
        given = [given] if isinstance(given, str) else given
        if given is None and self.data.get("cluster") is not None:
            return ()
        if not isinstance(given, list) or not given:
            self._problem(("servers",), f"{given!r:.40}", "a list such as [http://127.0.0.1:8188]")
            return ()
        found = []
        for place, url in enumerate(given):
            try:
                parts = urlsplit(url) if isinstance(url, str) else None
                _ = parts and parts.port  # raises ValueError, too
            except ValueError:
                parts = None
            fits = parts is not None and parts.scheme in ("http", "https") and parts.hostname
            if not fits or parts.query or parts.fragment:
                self._problem(("servers", place), _shown(url), "an address such as http://127.0.0.1:8188")
            elif parts.username or parts.password:
                self._problem(
                    ("servers", place),
                    "no name or password in an address: they would be in the report",
                    remedy="see ANOMALY_SYNTHESIS_HEADERS in the help",
                )
            elif url.rstrip("/") in found:
                self._problem(("servers", place), f"{url} is there twice", remedy="name every server once")
            else:
                found.append(url.rstrip("/"))
        return tuple(found)

    def _kinds(self) -> list[dict[str, str]]:
        given = self.data.get("kinds", [{}])
        if not isinstance(given, list) or not given or not all(isinstance(row, dict) for row in given):
            accepted = "a list of mappings such as - {object: bottle, type: [crack, dirt]}"
            self._problem(("kinds",), accepted=accepted)
            return [{}]
        for place, row in enumerate(given):
            for name, value in row.items():
                values = value if isinstance(value, list) else [value]
                if not values or not all(isinstance(one, str) and one for one in values):
                    self._problem(("kinds", place, name), f"{value!r:.40}", "a text, or a list of texts")
                    return [{}]
        number = sum(math.prod(len(v) if isinstance(v, list) else 1 for v in row.values()) for row in given)
        if number > _MOST_KINDS:
            self._problem(("kinds",), f"{number} kinds", f"at most {_MOST_KINDS}", "name fewer values")
            return [{}]
        return kinds_of(given)

    def _inputs(self, names: set[str]) -> dict[tuple[str, str], Value]:
        found = {}
        for node, inputs in self._mapping("inputs").items():
            if not isinstance(inputs, dict):
                self._problem(("inputs", node), accepted="a mapping of the node's inputs to values")
                continue
            for name, raw in inputs.items():
                value = self._value(("inputs", node, name), raw, names)
                if value is not None:
                    found[node, name] = value
        return found

    def _value(self, keys: Keys, raw: Any, names: set[str]) -> Value | None:
        try:
            return read_value(raw, names, self.folder, ".".join(map(str, keys[1:])))
        except Refused as error:
            self._add(keys, error.of(self.file.where(keys)))
            return None

    def _pictures(self) -> dict[str, Source]:
        results = self._mapping("results")
        for key in results.keys() - {*_PICTURES, *_NAMES}:
            self._problem(("results", key), "no such result", ", ".join((*_PICTURES, *_NAMES)))
        found = {}
        for name in _PICTURES:
            source = self._source(("results", name), results.get(name), name != "image")
            if source:
                found[name] = source
        return found

    def _source(self, keys: Keys, raw: Any, file: bool, pictures: bool = True) -> Source | None:
        if type(raw) in (str, int) and raw != "":
            return Source(str(raw))
        if isinstance(raw, dict) and type(raw.get("node")) in (str, int):
            node, output, given, field = (raw.get(key) for key in ("node", "output", "input", "field"))
            node = str(node)  # an id
            keyed = raw.keys() == {"node", "output"} or (raw.keys() == {"node", "output", "field"} and not pictures)
            if keyed and type(output) in (str, int) and type(field) in (str, type(None)):
                return Source(node, output=output, field=field)
            if raw.keys() == {"node", "input"} and isinstance(given, str) and file:
                return Source(node, input=given)
        also = ", or {node: TITLE, input: NAME} for the file that this input gets" if file else ""
        self._problem(keys, f"{raw!r:.60}", f"the title of an output node, or {{node: TITLE, output: NAME}}{also}")
        return None

    def _text_or_source(self, keys: Keys, raw: Any, names: set[str]) -> Source | Value | None:
        if isinstance(raw, dict) and "node" in raw:
            return self._source(keys, raw, file=False, pictures=False)
        value = self._value(keys, raw, names)
        if value is not None and not isinstance(value, Fixed | FromKind):
            self._problem(keys, f"{raw!r:.60}", "a plain value, {kind: NAME} or {node: .., output: ..}")
            return None
        return value

    def _result_names(self, names: set[str]) -> dict[str, Source | Value]:
        found = {}
        for name in _NAMES:
            keys = ("results", name)
            value = self._text_or_source(keys, self._get(keys), names)
            if isinstance(value, Fixed):
                try:
                    check_names(**{name: str(value.value)})
                except ValueError as error:
                    self._add(keys, inside(self.file.where(keys), error))
            if value is not None:
                found[name] = value
        return found

    def _record(self, names: set[str]) -> dict[str, Source | Value]:
        found = {}
        for name, raw in self._mapping("record").items():
            if name in _OWN:
                self._problem(("record", name), "the batch writes this entry itself", remedy="choose another name")
            value = self._text_or_source(("record", name), raw, names)
            if value is not None:
                found[name] = value
        return found

    def _cluster(self) -> dict[str, Any] | None:
        given = self.data.get("cluster")
        if given is None:
            return None
        for key in self._mapping("cluster").keys() - _CLUSTER.keys():
            self._problem(("cluster", key), "no such key", ", ".join(_CLUSTER))
        for key, value in self._mapping("cluster").items():
            if key in _CLUSTER and type(value) is not _CLUSTER[key]:
                self._problem(("cluster", key), f"{value!r:.40}", f"a {_CLUSTER[key].__name__}")
        if not self._get(("cluster", "comfyui")):
            remedy = "give the folder of ComfyUI on the cluster's machines"
            self._problem(("cluster", "comfyui"), "missing", remedy=remedy)
        return self._mapping("cluster")


def _shown(url: Any) -> str:
    """An address that is refused, without what may be a secret in it."""
    return repr(address_of(url)) if isinstance(url, str) else f"{url!r:.60}"
