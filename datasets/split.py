"""The split into training and held-back images, by whole groups, and its file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..choices import PARTS
from ..errors import Refused
from ..files.durable import write_atomic
from ..files.progress import tracked
from ..settings import check_values
from .sample import Sample
from .settings import SplitSettings

_log = logging.getLogger(__name__)
_FORMAT = {"format": "anomaly_synthesis.split", "version": 1}
_NO_TRAINING, _NO_HELD_BACK = 100.0, 10.0  # a type left without a side outweighs every deviation from the share
_ORDERS = 16
_NORMALS = {"train": 1.0, "test": 0.0, "": 0.75}  # share of a part's normal images that trains; "": there are no parts
_AGAIN, _OTHER_DATA = "make the split again", "give the folder it was made from, or make a new split"
_MARKED = 1 << 16  # bytes at a file's beginning and at its end

Kind = tuple[str, str]  # (object, defect type)


@dataclass(frozen=True)
class Split:
    """Which images train, which are held back, and which serve neither because their group's other images do.

    train, held_back, dropped: sorted image names (posix paths relative to the data's root); groups: {name: group} of
    all of them; share: the part of every type's defect images meant for training, 0..1; marks: {name: content mark of
    the image file} of all of them; digest: SHA-256 (hex) of train, held_back, dropped, groups and marks, the same
    in any location.
    """

    seed: int
    share: float
    train: tuple[str, ...]
    held_back: tuple[str, ...]
    dropped: tuple[str, ...]
    groups: dict[str, str]
    marks: dict[str, str]
    digest: str


def make_split(
    samples: Sequence[Sample],
    groups: Mapping[str, str],
    seed: int = SplitSettings.seed,
    share: float = SplitSettings.share,
    note: Callable[[str], None] = _log.warning,
) -> Split:
    """Split whole groups so that about `share` of the defect images of every type train and the rest is held back.

    Every type with two groups or more gets a training and a held-back group; a type with one group trains, with a
    warning. Images of test/good are held back. Normal images whose group stands on the other side are dropped. Groups
    of normals alone that hold both train/good and test/good go to one side each, in the proportion of the two; normal
    images of a layout without parts go where their group goes, three quarters of them to training.
    The sides depend on names, groups, seed and share only; the image files are read for their marks.
    note: takes the warnings.
    Raises Refused for a share outside 0..1, no samples, or an image without a group; OSError for a missing file.
    """
    _check_input(samples, groups, share)
    ordered = sorted(samples, key=lambda sample: sample.name)
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in ordered:
        members[groups[sample.name]].append(sample)
    draw = random.Random(seed)
    training = _assign_defects(members, share, draw, note) | _assign_normals(members, draw)
    sides: dict[str, list[str]] = {"train": [], "held_back": [], "dropped": []}
    for group, images in members.items():
        for sample in images:
            sides[_side(sample, images, group in training)].append(sample.name)
    parts = {side: tuple(sorted(set(found))) for side, found in sides.items()}  # types of one image share its name
    parts |= {"groups": {sample.name: groups[sample.name] for sample in ordered}}
    parts |= {"marks": {sample.name: content_mark(sample.image) for sample in tracked("marking images", ordered)}}
    return Split(seed=seed, share=share, **parts, digest=_digest(parts))


def save_split(split: Split, path: str | Path) -> None:
    """Write split.json, under a temporary name first.

    Raises Refused if the path holds anything but this very split, OSError naming the path if it cannot be written.
    """
    path, data = Path(path), (json.dumps({**_FORMAT, **asdict(split)}, indent=2) + "\n").encode()
    if path.exists() and path.read_bytes() != data:  # bases and pairs may have been made with what is there
        raise Refused(path, "it exists and holds another split", remedy="choose another file or delete it")
    write_atomic(path, data)


def load_split(path: str | Path) -> Split:
    """Read split.json.

    Raises Refused if it is no split of this version or if what the digest covers was altered, OSError if it cannot
    be opened.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refused(path, f"not a JSON file ({error})", remedy=_AGAIN) from error
    found = {key: stored.get(key) for key in _FORMAT} if isinstance(stored, dict) else None
    if found != _FORMAT:
        raise Refused(path, found, str(_FORMAT), _AGAIN)
    missing = [field.name for field in fields(Split) if field.name not in stored]
    if missing:
        raise Refused(path, f"no {', '.join(missing)}", remedy=_AGAIN)
    values = {field.name: stored[field.name] for field in fields(Split)}
    split = Split(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    if split.digest != _digest(values):
        raise Refused(path, "its content does not fit its digest, it was altered", remedy=_AGAIN)
    return split


def check_leak(split: Split) -> None:
    """Raise Refused if a group stands on both sides, or an image has no group."""
    bare = sorted(_names(split) - set(split.groups))
    if bare:
        raise Refused("split", f"{len(bare)} images have no group: {_few(bare)}", remedy=_AGAIN)
    train, held_back = ({split.groups[name] for name in side} for side in (split.train, split.held_back))
    leaks = sorted(train & held_back)
    if leaks:
        got = f"{len(leaks)} groups stand in train and in held_back: {_few(leaks)}"
        why = "the held-back images would be known from training"
        raise Refused("split", f"{got}; {why}", remedy=f"{_AGAIN} with these groups")


def part_of(split: Split, samples: Sequence[Sample], part: str) -> list[Sample]:
    """The samples on one side ("train" or "held_back") in their order; `samples` may be a part of the split's data.

    Raises Refused if an image is not in the split or has other content than the one of that name, if the split
    leaks (check_leak), or for another part; OSError for a missing file.
    """
    if part not in PARTS:
        raise Refused("part", repr(part), " or ".join(PARTS))
    known = _names(split)
    given = {sample.name for sample in samples}
    if given - known:
        extra, missing = sorted(given - known), sorted(known - given)
        got = (
            f"it belongs to other data; {len(extra)} of {len(given)} images here are not in it: {_few(extra)}; "
            f"{len(missing)} of its {len(known)} are not here: {_few(missing) or 'none'}"
        )
        raise Refused("split", got, remedy=_OTHER_DATA)
    _check_marks(split, samples)
    check_leak(split)
    wanted = set(getattr(split, part))
    return [sample for sample in samples if sample.name in wanted]


def _check_marks(split: Split, samples: Sequence[Sample]) -> None:
    """Names alone do not identify data: train/good/000.png is in every folder."""
    tracked_samples = tracked("comparing images with the split", samples)
    other = sorted(
        sample.name for sample in tracked_samples if content_mark(sample.image) != split.marks.get(sample.name)
    )
    if other:
        got = f"{len(other)} of {len(samples)} images here have its names but other content: {_few(other)}"
        raise Refused("split", f"it belongs to other data; {got}", remedy=_OTHER_DATA)


def _check_input(samples: Sequence[Sample], groups: Mapping[str, str], share: float) -> None:
    check_values(SplitSettings, share=share)
    if not samples:
        raise Refused("split", "no images", remedy="read a folder that holds some")
    bare = sorted(sample.name for sample in samples if sample.name not in groups)
    if bare:
        raise Refused(
            "groups", f"{len(bare)} of {len(samples)} images have no group: {_few(bare)}", remedy="name one for each"
        )


def _assign_defects(
    members: Mapping[str, list[Sample]], share: float, draw: random.Random, note: Callable[[str], None]
) -> set[str]:
    """The groups with defects that train: the best of a few drawn orders."""
    counts = {group: _kinds(images) for group, images in sorted(members.items())}
    counts = {group: kinds for group, kinds in counts.items() if kinds}
    spread = Counter(kind for kinds in counts.values() for kind in kinds)
    single = {kind for kind in spread if spread[kind] == 1}
    for object, type in sorted(single):
        note(f"all {type} images of {object} are in one group; they train and none is held back")
    fixed = [group for group, kinds in counts.items() if single & set(kinds)]
    free = [group for group in counts if group not in fixed]
    orders = (_Assignment(counts, share, fixed, draw.sample(free, len(free))) for _ in range(_ORDERS))
    return min(orders, key=_Assignment.total_cost).training


class _Assignment:
    """One assignment of groups to training: single groups are flipped, in the order given, while that lowers the cost.

    The cost is the sum over types of |training images / images - share|, plus the penalties.
    """

    def __init__(self, counts: Mapping[str, Counter[Kind]], share: float, fixed: Sequence[str], order: Sequence[str]):
        self._counts, self._share = counts, share
        self._total = sum(counts.values(), Counter())
        self._spread = Counter(kind for kinds in counts.values() for kind in kinds)
        self._images: Counter[Kind] = Counter()
        self._groups: Counter[Kind] = Counter()
        self.training: set[str] = set()
        for group in fixed:
            self._flip(group)
        while any([self._improve(group) for group in order]):  # a list: every group gets its turn
            pass

    def total_cost(self) -> float:
        return sum(self._cost(kind) for kind in sorted(self._total))

    def _improve(self, group: str) -> bool:
        before = sum(self._cost(kind) for kind in self._counts[group])
        self._flip(group)
        better = sum(self._cost(kind) for kind in self._counts[group]) < before - 1e-9
        if not better:
            self._flip(group)
        return better

    def _flip(self, group: str) -> None:
        sign = -1 if group in self.training else 1
        self.training ^= {group}
        for kind, number in self._counts[group].items():
            self._images[kind] += sign * number
            self._groups[kind] += sign

    def _cost(self, kind: Kind) -> float:
        groups, spread = self._groups[kind], self._spread[kind]
        penalty = _NO_TRAINING * (groups == 0) + _NO_HELD_BACK * (groups == spread > 1)
        return penalty + abs(self._images[kind] / self._total[kind] - self._share)


def _assign_normals(members: Mapping[str, list[Sample]], draw: random.Random) -> set[str]:
    """The groups without defects that train; mixed ones are assigned per object by the proportion of their images."""
    training, mixed = set(), defaultdict(list)
    for group, images in sorted(members.items()):
        parts = {sample.part for sample in images}
        if any(sample.type != "good" for sample in images) or parts == {"test"}:
            continue
        if parts == {"train"}:
            training.add(group)
        else:
            mixed[images[0].object].append(group)
    for _, names in sorted(mixed.items()):
        draw.shuffle(names)
        parts = Counter(sample.part for group in names for sample in members[group])
        goal = sum(_NORMALS[part] * count for part, count in parts.items()) / sum(parts.values())
        assigned = seen = 0
        for group in names:
            size = len(members[group])
            seen += size
            if assigned + size / 2 <= goal * seen:
                assigned += size
                training.add(group)
    return training


def _side(sample: Sample, group: Sequence[Sample], trains: bool) -> str:
    if sample.type != "good" or all(other.type == "good" for other in group):
        return "train" if trains else "held_back"
    if not sample.part or (sample.part == "train") == trains:
        return "train" if trains else "held_back"
    return "dropped"


def _kinds(images: Iterable[Sample]) -> Counter[Kind]:
    return Counter((sample.object, sample.type) for sample in images if sample.type != "good")


def _names(split: Split) -> set[str]:
    return {*split.train, *split.held_back, *split.dropped}


def _digest(values: Mapping[str, object]) -> str:
    """Of the result, not of how it was drawn: two seeds with equal parts make the same split."""
    covered = {key: values[key] for key in ("train", "held_back", "dropped", "groups", "marks")}
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()


def content_mark(path: Path) -> str:
    """The file's size and the CRC-32 of its first and last 64 kB: cheap, and enough to distinguish images."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        crc = zlib.crc32(file.read(_MARKED))
        file.seek(max(size - _MARKED, 0))
        return f"{size}-{zlib.crc32(file.read(_MARKED), crc):08x}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
