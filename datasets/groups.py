"""Groups of images that show the same part: from a manifest, from file names, or from near-duplicates."""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from .pictures import read_picture
from .progress import tracked
from .sample import Sample
from .thumbnails import Thumbnails

_log = logging.getLogger(__name__)


def groups_from_manifest(samples: Sequence[Sample], csv_path: str | Path, column: str = "group") -> dict[str, str]:
    """Groups from a CSV file with one row per image: {sample name: value of `column`}.

    The CSV's `file` column is the image's path in the data's folder, or ends in it with the object's folder before it
    (<object>/<part>/<type>/<file name> in MVTec layout).
    Raises ValueError if a column is missing, an image has no row or an empty group, or two rows disagree.
    """
    groups = _from_table(samples, Path(csv_path), column)
    bare = [sample.name for sample in samples if not groups.get(sample.name)]
    if bare:
        raise ValueError(
            f"{csv_path}: {len(bare)} of {len(samples)} images have no row with a {column!r}: {_few(bare)}; the column "
            "'file' must end in <object>/ and the image's path in it, such as <object>/<part>/<type>/<file name>; add "
            "the rows"
        )
    return groups


def groups_from_pattern(samples: Sequence[Sample], regex: str) -> dict[str, str]:
    """Groups from file names: {sample name: first capture group, or whole match, of `regex` searched in the stem}.

    Raises ValueError if the pattern is no regular expression or does not match a file.
    """
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ValueError(f"group pattern {regex!r}: not a regular expression ({error}); correct it") from error
    found = {sample.name: pattern.search(sample.image.stem) for sample in samples}
    groups = {name: match[1 if pattern.groups else 0] for name, match in found.items() if match}
    bare = [name for name in found if not groups.get(name)]
    if bare:
        raise ValueError(
            f"group pattern {regex!r}: {len(bare)} of {len(found)} files do not match: {_few(bare)}; "
            "the pattern is searched in the file's name without suffix; widen it"
        )
    return groups


def groups_from_near_duplicates(
    samples: Sequence[Sample], distance: float = 0.03, thumbnails: Thumbnails | None = None
) -> dict[str, str]:
    """Groups of images that look alike: {sample name: name of the group's first image}.

    Two images of one object are alike if 1 - the correlation of their grey 16 x 16 thumbnails is at most `distance`
    (0 identical, 1 unrelated; blind to brightness and contrast, not to turns or shifts); likeness is passed on from
    image to image. On magnetic_tile (true groups known) the default finds about half of the pairs of one group: what
    it finds are repeated exposures, not other views of the same part. Give groups where they are known.
    thumbnails: of all the images, where they were made in an earlier pass; None reads the images, one at a time.
    Raises ValueError for a distance outside 0..1 or a damaged image.
    """
    if not 0 <= distance <= 1:
        raise ValueError(f"near-duplicate distance {distance}: accepted is 0 (identical) to 1 (unrelated)")
    thumbnails = thumbnails or _thumbnails(samples)
    members: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        members[sample.object].add(sample.name)
    groups: dict[str, str] = {}
    for name, images in sorted(members.items()):
        found = thumbnails.alike(sorted(images), 1 - distance)
        _warn_if_lumped(name, found)
        groups.update(found)
    return groups


def find_groups(
    samples: Sequence[Sample], root: str | Path, thumbnails: Thumbnails | None = None
) -> tuple[dict[str, str], str]:
    """Groups from the best source at hand, and a sentence that names it.

    A manifest.csv with the columns file and group, in `root` or its parent, that knows any of the images; else
    near-duplicates, by `thumbnails` where the images were read before. Raises the errors of groups_from_manifest and
    groups_from_near_duplicates.
    """
    for folder in (Path(root), Path(root).resolve().parent):
        path = folder / "manifest.csv"
        if path.is_file() and {"file", "group"} <= set(_columns(path)) and _from_table(samples, path, "group"):
            return groups_from_manifest(samples, path), f"column 'group' of {path}"
    groups = groups_from_near_duplicates(samples, thumbnails=thumbnails)
    return groups, "near-duplicates (no manifest.csv with a column 'group' found)"


def _columns(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return next(csv.reader(stream), [])


def _from_table(samples: Sequence[Sample], path: Path, column: str) -> dict[str, str]:
    """{sample name: value} of the samples that have a row."""
    columns = _columns(path)
    missing = [name for name in ("file", column) if name not in columns]
    if missing:
        raise ValueError(f"{path}: no column {' or '.join(map(repr, missing))}; it has {', '.join(columns) or 'none'}")
    wanted = {_with_object(sample): sample.name for sample in samples}
    names, depths = set(wanted.values()), {tail.count("/") + 1 for tail in wanted}
    groups: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        for row in csv.DictReader(stream):
            file = (row["file"] or "").replace("\\", "/")
            tails = ("/".join(file.split("/")[-depth:]) for depth in sorted(depths))
            name = file if file in names else next((wanted[tail] for tail in tails if tail in wanted), None)
            group = (row[column] or "").strip()
            if name is not None and groups.setdefault(name, group) != group:
                raise ValueError(f"{path}: {file} stands in two rows, with {groups[name]!r} and {group!r}; keep one")
    return groups


def _with_object(sample: Sample) -> str:
    """The image's path with its object's folder before it; names in a folder of objects begin with that already."""
    return sample.name if sample.name.startswith(f"{sample.object}/") else f"{sample.object}/{sample.name}"


def _thumbnails(samples: Sequence[Sample]) -> Thumbnails:
    files = {sample.name: sample.image for sample in samples}  # types of one image share its name
    thumbnails = Thumbnails(len(files))
    for name in tracked("looking for near-duplicates", sorted(files)):
        thumbnails.add(name, read_picture(files[name]))
    return thumbnails


def _warn_if_lumped(object_name: str, groups: dict[str, str]) -> None:
    largest = max(Counter(groups.values()).values())
    if largest > max(10, len(groups) / 3):
        _log.warning(
            "%s: %d of %d images look alike and form one group, which cannot be split; if they show different parts, "
            "give the groups by a manifest or a file name pattern",
            object_name, largest, len(groups),
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
