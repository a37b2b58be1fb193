"""Groups of images that show the same part: from a manifest, from file names, or from near-duplicates."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import Refused
from ..files.csv_table import Table, read_table
from ..files.progress import tracked
from ..images.pictures import read_picture
from ..images.thumbnails import Thumbnails
from .layouts.files import child, same
from .sample import Sample, refusal

_log = logging.getLogger(__name__)
_COLUMNS = ("file", "group")
_WRITE_PATHS = "write <object>/ and its path there"
_NO_MANIFEST = "no manifest.csv with a column 'group' found"


def groups_from_manifest(samples: Sequence[Sample], csv_path: str | Path, column: str = "group") -> dict[str, str]:
    """Groups from a CSV file with one row per image: {sample name: value of `column`}.

    The CSV's `file` column is the image's path in the data's folder, or ends in it with the object's folder before it
    (<object>/<part>/<type>/<file name> in MVTec layout). `read_table` says which files are read.
    Raises Refused if the file is no CSV in Unicode, a column is missing, an image has no row or an empty group, or
    two rows disagree.
    """
    groups = _from_table(samples, read_table(csv_path, ("file", column)), column)
    bare = [sample.name for sample in samples if not groups.get(sample.name)]
    if bare:
        got = f"{len(bare)} of {len(samples)} images have no row with a {column!r}: {_few(bare)}"
        accepted = "a 'file' that ends in <object>/ and the image's path in it: <object>/<part>/<type>/<file name>"
        raise Refused(csv_path, got, accepted, "add the rows")
    return groups


def conditions_of(samples: Sequence[Sample], root: str | Path, column: str) -> dict[str, str]:
    """What a column of the manifest.csv in `root`, else in its parent, says of every image: {sample name: value}.

    Raises Refused where there is no manifest, and as `groups_from_manifest`.
    """
    for folder in (Path(root), Path(root).resolve().parent):
        path = child(folder, "manifest.csv")
        if path.is_file():
            return groups_from_manifest(samples, path, column)
    raise Refused(root, "no manifest.csv in it or beside it", f"one with the columns 'file' and {column!r}")


def groups_from_pattern(samples: Sequence[Sample], regex: str) -> dict[str, str]:
    """Groups from file names: {sample name: first capture group, or whole match, of `regex`}.

    It is searched in the file's name without suffix, and where it is not found there, in the path below the data
    folder: the folders of some layouts are parts.

    Raises Refused if the pattern is no regular expression or does not match a file.
    """
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise Refused(f"pattern {regex!r}", f"not a regular expression ({error})", remedy="correct it") from error
    found = {sample.name: pattern.search(sample.image.stem) or pattern.search(sample.name) for sample in samples}
    groups = {name: match[1 if pattern.groups else 0] for name, match in found.items() if match}
    bare = [name for name in found if not groups.get(name)]
    if bare:
        got = f"{len(bare)} of {len(found)} files do not match: {_few(bare)}"
        remedy = "widen it; it is searched in the file's name without suffix, then in its path"
        raise Refused(f"pattern {regex!r}", got, remedy=remedy)
    return groups


def groups_from_near_duplicates(
    samples: Sequence[Sample],
    distance: float = 0.03,
    thumbnails: Thumbnails | None = None,
    note: Callable[[str], None] = _log.warning,
) -> dict[str, str]:
    """Groups of images that look alike: {sample name: name of the group's first image}.

    Two images of one object are near-duplicates if 1 - the correlation of their grey 16 x 16 thumbnails is at most
    `distance` (0 identical, 1 unrelated; blind to brightness and contrast, not to turns or shifts); groups are the
    connected components. On magnetic_tile (true groups known) the default finds about half of the pairs of one group:
    what it finds are repeated exposures, not other views of the same part. Give groups where they are known.
    thumbnails: of all the images, where they were made in an earlier pass; None reads the images, one at a time; note:
    takes the warnings.
    Raises Refused for a distance outside 0..1 or a damaged image.
    """
    if not 0 <= distance <= 1:
        raise Refused("distance", distance, "0 (identical) to 1 (unrelated)")
    thumbnails = thumbnails or _thumbnails(samples)
    members: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        members[sample.object].add(sample.name)
    groups: dict[str, str] = {}
    for name, images in sorted(members.items()):
        found = thumbnails.near_duplicates(sorted(images), 1 - distance)
        _note_lumped(name, found, note)
        groups.update(found)
    return groups


def find_groups(
    samples: Sequence[Sample],
    root: str | Path,
    thumbnails: Thumbnails | None = None,
    may_read: Callable[[Path], bool] = lambda path: True,
    note: Callable[[str], None] = _log.warning,
) -> tuple[dict[str, str], str]:
    """Groups from the best source at hand, and a sentence that names it.

    A manifest.csv with the columns file and group, in `root` or its parent, that knows any of the images; else
    near-duplicates, by `thumbnails` where the images were read before. A manifest.csv that cannot be used is refused
    where it names images of `samples`, since its groups guard the split: in `root` by their file names, in the parent
    by their paths with the object's folder. One of other things is passed over with a warning. may_read: whether a
    manifest may be opened; note: takes the warnings.
    Raises the errors of groups_from_manifest and groups_from_near_duplicates.
    """
    passed_over, closed = [], ""
    for folder in (Path(root), Path(root).resolve().parent):
        if not may_read(folder / "manifest.csv"):
            closed = "; the one beside the folder may not be read, list the folder above"
            continue
        path = child(folder, "manifest.csv")
        if not path.is_file():
            continue
        try:
            found = _from_table(samples, read_table(path, _COLUMNS), "group")
            problem = Refused(path, "no row's 'file' is the path of an image here", remedy=_WRITE_PATHS)
        except ValueError as error:
            found, problem = {}, refusal(error, path)
        if found:
            return groups_from_manifest(samples, path), f"column 'group' of {path}"
        if _names_any(samples, path, by_path=folder != Path(root)):
            remedy = f"{problem.remedy}, or rename the file if it holds no groups of these images"
            raise Refused(path, problem.got, problem.accepted, remedy) from problem
        note(f"{path} is not used: it names no image here ({problem.what}; {problem.remedy})")
        passed_over.append(str(path))
    why = f"{', '.join(passed_over)} names none of these images" if passed_over else _NO_MANIFEST
    groups = groups_from_near_duplicates(samples, thumbnails=thumbnails, note=note)
    return groups, f"near-duplicates ({why}{closed})"


def _names_any(samples: Sequence[Sample], path: Path, by_path: bool) -> bool:
    """Whether a cell of a file, read as well as it can be, is an image's path or, not by_path, its name or stem."""
    data = path.read_bytes().replace(b"\0", b"")
    texts = (data.decode("latin-1"), data.decode(errors="replace"))
    ways = (r"[,;\t|\r\n\"]+", r"[,;\t|\r\n\":\s]+")  # a name may hold a space, and a space may part cells
    cells = {cell.strip() for text in texts for way in ways for cell in re.split(way, text)}
    if by_path:
        known = _Names(samples)
        return any(known.sample(cell) for cell in cells)
    last = {same(cell).replace("\\", "/").rpartition("/")[2].casefold() for cell in cells}
    names = {same(name).casefold() for one in samples for name in (one.image.name, one.image.stem)}
    return any(len(name) > 2 for name in last & names)


def _from_table(samples: Sequence[Sample], table: Table, column: str) -> dict[str, str]:
    """{sample name: value} of the samples that have a row."""
    columns = {name: table.column(name) for name in ("file", column)}
    missing = [name for name, there in columns.items() if there is None]
    if missing:
        got = f"no column {' or '.join(map(repr, missing))}; it has {', '.join(table.columns) or 'none'}"
        raise Refused(table.path, got, remedy="name the columns so")
    known = _Names(samples)
    groups: dict[str, str] = {}
    for line, row in table.rows:
        name, group = known.sample(row[columns["file"]]), row[columns[column]]
        if name is not None and groups.setdefault(name, group) != group:
            got = f"line {line}: {row[columns['file']]} stands in two rows, with {groups[name]!r} and {group!r}"
            raise Refused(table.path, got, remedy="keep one")
    return groups


class _Names:
    """Which image a row names: by its path here, or by a path that ends in its object's folder and its path there.

    Letters compare in any Unicode form; in any case too, where that leaves one image only.
    """

    def __init__(self, samples: Sequence[Sample]):
        names = {sample.name: _with_object(sample) for sample in samples}
        self._whole, self._tails = _by_case(zip(names, names, strict=True)), _by_case((t, n) for n, t in names.items())
        self._depths = sorted({tail.count("/") + 1 for tail in names.values()})

    def sample(self, file: str) -> str | None:
        file = same(file).replace("\\", "/").removeprefix("./")
        tails = ["/".join(file.split("/")[-depth:]) for depth in self._depths]
        for form in (str, str.casefold):
            if form(file) in self._whole:
                return self._whole[form(file)]
            for tail in map(form, tails):
                if tail in self._tails:
                    return self._tails[tail]
        return None


def _by_case(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{text: name}, and by the text in lower case where that names one only."""
    exact = {same(text): name for text, name in pairs}
    counts = Counter(text.casefold() for text in exact)
    return {text.casefold(): name for text, name in exact.items() if counts[text.casefold()] == 1} | exact


def _with_object(sample: Sample) -> str:
    """The image's path with its object's folder before it; names in a folder of objects begin with that already."""
    return sample.name if sample.name.startswith(f"{sample.object}/") else f"{sample.object}/{sample.name}"


def _thumbnails(samples: Sequence[Sample]) -> Thumbnails:
    files = {sample.name: sample.image for sample in samples}  # types of one image share its name
    thumbnails = Thumbnails(len(files))
    for name in tracked("looking for near-duplicates", sorted(files)):
        thumbnails.add(name, read_picture(files[name]))
    return thumbnails


def _note_lumped(object_name: str, groups: dict[str, str], note: Callable[[str], None]) -> None:
    largest = max(Counter(groups.values()).values())
    if largest > max(10, len(groups) / 3):
        note(
            f"{object_name}: {largest} of {len(groups)} images look alike and form one group, which cannot be split; "
            "if they show different parts, give the groups by a manifest or a file name pattern"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
