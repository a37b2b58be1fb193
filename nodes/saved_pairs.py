"""The folder of Save Pairs, read again: the pairs, and whether they belong to a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..datasets.mvtec import Sample, read_mvtec
from ..errors import Refused
from .defects import fingerprint
from .errors import named
from .folders import check_links, read_roots
from .pairs import pairs_folder
from .split_dataset import Dataset


def saved_pairs(node: str, names: Sequence[str], dataset: Dataset) -> list[Sample]:
    """The pairs of the one folder that `names` tell of, perhaps many times; none where they are empty.

    Raises:
        ValueError: several folders, no such folder, no pairs in it, objects or types that the dataset does not have.
    """
    root = _read_root(node, names)
    if root is None:
        return []
    with named(node):
        pairs = [sample for sample in read_mvtec(root) if sample.type != "good"] if any(root.iterdir()) else []
    if not pairs:
        raise Refused(root, "it holds no pairs", remedy="save some with Save Pairs first", door=node)
    known = {(sample.object, sample.type) for sample in (*dataset.train, *dataset.held_back)}
    strange = {(sample.object, sample.type) for sample in pairs} - known
    if strange:
        raise Refused(
            root,
            f"it holds pairs of {_listed(strange)}, of which the dataset has none",
            f"one of {_listed(kind for kind in known if kind[1] != 'good')}",
            "give Save Pairs the dataset's names for object and type",
            node,
        )
    return pairs


def pairs_root(node: str, names: Sequence[str]) -> Path | None:
    """The one folder below the host's output; None where all names are empty. Raises ValueError as `saved_pairs`."""
    with named(node):
        roots = sorted({pairs_folder(name.strip()) for name in names if name.strip()})
    if len(roots) > 1:
        raise Refused(
            "pairs",
            f"{len(roots)} folders ({roots[0].name}, {roots[1].name}, ...), but this node runs once",
            remedy="connect one Save Pairs, and give it one folder",
            door=node,
        )
    if roots and not roots[0].is_dir():
        raise Refused(
            roots[0], "no such folder", remedy="connect Save Pairs' folder, so that the pairs are made first", door=node
        )
    return roots[0] if roots else None


def needed_root(node: str, names: Sequence[str]) -> Path:
    """As `pairs_root`, for a node that has nothing to do without. Raises ValueError where all names are empty, too."""
    root = _read_root(node, names)
    if root is None:
        raise Refused("pairs", "empty", remedy="connect Save Pairs' folder, or give its name", door=node)
    return root


def _read_root(node: str, names: Sequence[str]) -> Path | None:
    """As `pairs_root`, to read all that lies in it. Raises ValueError for a link that leads elsewhere, too."""
    root = pairs_root(node, names)
    if root is not None:
        check_links(node, root, read_roots())
    return root


def pairs_told(node: str, names: Sequence[str | None] | None) -> bool | str:
    """True, or why there is no one folder of pairs; None among `names`: another node will tell it."""
    try:
        pairs_root(node, [name for name in names or [] if name is not None])
    except ValueError as error:
        return str(error)
    return True


def pairs_state(node: str, names: Sequence[str | None] | None) -> str | None:
    """Changes where a pair of the folder changes; None where there is none, or another node will tell it."""
    root = pairs_root(node, [name for name in names or [] if name is not None])
    return fingerprint(str(root), "") if root else None


def _listed(kinds: Iterable[tuple[str, str]]) -> str:
    names = [" / ".join(kind) for kind in sorted(kinds)]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
