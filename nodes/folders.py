"""The folders that nodes may read and write: a workflow is untrusted, and it names paths."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import folder_paths

from ..errors import Refused
from ..files.relative_path import name_problem

VARIABLE = "ANOMALY_SYNTHESIS_FOLDERS"  # further folders that nodes may read, separated as in PATH
LIST = "anomaly_synthesis_folders.txt"  # the same, one per line, in ComfyUI's user folder, where no workflow can write
AS_TYPED = "as typed in folder"
BASES, ADAPTERS = "anomaly_bases", "anomaly_adapters"
BUNDLED = "surfaces (bundled)"
WEIGHTS = Path(__file__).parent.parent / "weights"
_log = logging.getLogger(__name__)

_HOW_TO_LIST = (
    f"put it into ComfyUI's input, or list its folder in the environment variable {VARIABLE} or in the file {LIST} in "
    "ComfyUI's user folder, one per line"
)

# Code and settings of other packs, not data.
_NO_DATA = ("custom_nodes", "configs")
_OFFERED = 200


def readable_folder(name: str, remedy: str) -> Path:
    """The folder that a widget names.

    Args:
        name: an absolute path, or a name below ComfyUI's input, else its output, else its `datasets` folders.
        remedy: what to give instead, for errors.

    Raises:
        Refused: the path is not below a folder that nodes may read, links resolved, whether it exists or not; or no
            such folder.
    """
    return _readable(name, remedy, "folder", Path.is_dir)


def readable_file(name: str, remedy: str) -> Path:
    """The file that a widget names; as `readable_folder`."""
    return _readable(name, remedy, "file", Path.is_file)


def readable_tree(name: str, remedy: str) -> Path:
    """As `readable_folder`, for a folder that is read with all that lies in it. Raises Refused for a link, too, that
    leads from there to a place that nodes may not read."""
    folder = readable_folder(name, remedy)
    check_links(folder, read_roots())
    return folder


def writable_folder(name: str) -> Path:
    """The folder of that name below ComfyUI's output, which need not exist, links resolved. Raises Refused for one
    outside it, for the output itself, and for a name that not every system can open, see `name_problem`."""
    output = Path(folder_paths.get_output_directory()).resolve()
    path = resolved(output, name)
    if path is None or path == output or not path.is_relative_to(output):
        raise Refused("folder", f"{_shown(name)} is not below {output}", remedy="give a name such as 'pairs'")
    problem = name_problem(path.relative_to(output).as_posix())
    if problem:
        raise Refused("folder", f"{_shown(name)} {problem}", remedy="give a name such as 'pairs'")
    return path


def check_written(folder: Path) -> None:
    """Raise Refused where a link in a folder to write into leads out of ComfyUI's output."""
    check_links(folder, [Path(folder_paths.get_output_directory()).resolve()])


def resolved(base: Path, name: str) -> Path | None:
    """Where a name below `base` leads, links resolved; None for what is no path."""
    path = _spelled(base, name)
    return None if path is None else _real(path)


def read_roots() -> list[Path]:
    """Every folder below which nodes may read, links resolved."""
    models = (
        path for name, entry in folder_paths.folder_names_and_paths.items() if name not in _NO_DATA for path in entry[0]
    )
    return [Path(path).resolve() for path in dict.fromkeys(map(str, (*_own(), *models)))]


def check_links(folder: Path, roots: Sequence[Path]) -> None:
    """Raise Refused where a link in `folder`, or in a folder that it links to, leads out of `roots` (resolved)."""
    seen, todo = set(), [folder]
    while todo:
        place = todo.pop()
        real = os.path.realpath(place)
        if real in seen:  # links may lead in circles
            continue
        seen.add(real)
        for entry in _entries(place):
            if entry.is_symlink() and not _below(Path(os.path.realpath(entry.path)), roots):
                inside = Path(entry.path).relative_to(folder)
                raise Refused(
                    f"{folder.name}/{inside.as_posix()}",
                    "a link that leads out of the folders that a node may use",
                    remedy="put the file itself there, or, to read through the link, list the folder that it leads to "
                    f"in the environment variable {VARIABLE} or in {LIST} in ComfyUI's user folder",
                )
            if os.path.isdir(entry.path):
                todo.append(Path(entry.path))


def may_read(path: Path) -> bool:
    """Whether a path lies below a folder that nodes may read, links resolved."""
    return _below(path.resolve(), read_roots())


def choices() -> list[str]:
    """What a menu of datasets offers: the folders in ComfyUI's input, output and `datasets`, by their names, and the
    folders that the user listed, with those in them, by their paths. At most 200; nothing that `readable_folder` would
    refuse."""
    roots, found = read_roots(), {}
    places = [(Path(place), False) for place in _searched()] + [(place, True) for place in _listed()]
    for place, listed in places:
        if listed and place.is_dir():
            found.setdefault(str(place), None)
        for entry in _entries(place):
            hidden = entry.name.startswith((".", "_"))
            if not hidden and os.path.isdir(entry.path) and _below(Path(os.path.realpath(entry.path)), roots):
                found.setdefault(entry.path if listed else entry.name, None)
    return sorted(found)[:_OFFERED]


def chosen(folder: str | None, choose: str | None) -> str | None:
    """The name of a dataset from a node's text and its menu, which goes first; None where another node gives it."""
    return folder if choose == AS_TYPED else choose


def _readable(name: str, remedy: str, kind: str, exists: Callable[[Path], bool]) -> Path:
    roots, bases = read_roots(), _searched()
    # An absolute name stays what it is below any of them.
    paths = [_spelled(Path(base), name) for base in bases]
    known = [path for path in paths if path is not None and _below(_real(path), roots)]
    for path in known:
        try:
            if exists(path):
                return path
        except OSError:  # a name that is too long for the file system
            continue
    if len(known) < len(paths):
        # The same whether there is something or not: a workflow must not learn that.
        raise Refused(
            kind,
            f"{_shown(name)} is not below a folder that nodes may read (ComfyUI's input, output, temp, datasets and "
            "model folders; links count as where they lead)",
            remedy=_HOW_TO_LIST,
        )
    elsewhere = "" if os.path.isabs(name.strip()) else ", and none below ComfyUI's output and datasets"
    raise Refused(_cut(str(paths[0])), f"no such {kind}{elsewhere}", remedy=remedy)


def _spelled(base: Path, name: str) -> Path | None:
    """The path of a name, `..` taken out before any link is followed; None for what is no path, or of another
    computer."""
    name = name.strip()
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return None
    path = Path(os.path.normpath(base / name)) if "\0" not in name else None
    # To look at a path of another computer is to log in there: its spelling alone decides.
    if os.path.splitdrive(name)[0].startswith(("\\\\", "//")) and not _below(path, map(Path, _own())):
        return None
    return path


def _real(path: Path) -> Path:
    """Links resolved; links in a circle stay, and are no folder then."""
    return Path(os.path.realpath(path))


def _below(path: Path, roots: Iterable[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _searched() -> list[str]:
    """Where a relative name is looked up, in this order."""
    # Hosts before 0.30 have no folders for data sets.
    datasets = folder_paths.folder_names_and_paths.get("datasets", ([],))[0]
    return [folder_paths.get_input_directory(), folder_paths.get_output_directory(), *datasets]


def _own() -> list[str | Path]:
    return [*_searched(), folder_paths.get_temp_directory(), folder_paths.models_dir, *_listed()]


def _listed() -> list[Path]:
    """The folders that the user listed; what is no absolute path is left out, with a notice."""
    lines = os.environ.get(VARIABLE, "").split(os.pathsep)
    try:
        text = Path(folder_paths.get_user_directory(), LIST).read_text(encoding="utf-8-sig", errors="replace")
        lines += [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("%s in ComfyUI's user folder cannot be read (%s).", LIST, error.strerror)
    found = []
    for line in filter(None, map(str.strip, lines)):
        path = Path(os.path.expanduser(line))
        if path.is_absolute():
            found.append(path)
        else:
            _log.warning("%s and %s: %r is no absolute path; left out.", VARIABLE, LIST, line)
    return found


def _entries(folder: Path) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:  # gone, or not ours to read: the reader says so
        return


def _shown(name: str) -> str:
    return repr(_cut(name))


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}..."


def model_files(kind: str, name: str) -> tuple[Path, Iterator[Path]]:
    """The folder that models of a kind are written to, and the files below it that a name may become, in this order:
    name.safetensors, name_00002.safetensors, ... Raises Refused for a name outside of that folder."""
    root = Path(folder_paths.get_folder_paths(kind)[0])
    wanted = name.strip().removesuffix(".safetensors")
    path = resolved(root, wanted)
    if not Path(wanted).name or path is None or path == root.resolve() or not path.is_relative_to(root.resolve()):
        raise Refused("name", f"{name!r} is not below {root}", "a file's name, with folders if you like")
    numbered = (wanted if number == 1 else f"{wanted}_{number:05d}" for number in count(1))
    return root, (root / f"{one}.safetensors" for one in numbered)


@contextmanager
def writing_models(kind: str, name: str) -> Iterator[None]:
    """Raise Refused in place of an OSError in the folder of models, to which this block writes one of that name."""
    root = folder_paths.get_folder_paths(kind)[0]
    try:
        yield
    except OSError as error:
        if not error.filename or not _below(_real(Path(error.filename)), [_real(Path(root))]):
            raise  # of something that is read
        raise Refused(
            "name",
            f"cannot write {name!r} to {root} ({error.strerror})",
            remedy=f"give ComfyUI the right to write there, or add another folder for {kind} in extra_model_paths.yaml",
        ) from error


def declare_folders() -> None:
    """Make models/anomaly_bases and models/anomaly_adapters known to the host, .safetensors only."""
    for name in (BASES, ADAPTERS):
        folder = os.path.join(folder_paths.models_dir, name)
        paths, suffixes = folder_paths.folder_names_and_paths.get(name, ([], set()))
        paths = paths if folder in paths else [*paths, folder]
        folder_paths.folder_names_and_paths[name] = (paths, set(suffixes) | {".safetensors"})
