"""Images and their mask files, joined by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .files import same, stem
from .found import Found


def paired(
    pictures: Sequence[Path], masks: Sequence[Path], found: Found, ends: Sequence[str] = ("_mask", "")
) -> Iterator[tuple[Path, Path | None]]:
    """Every picture with its mask, whose stem is the picture's and one of `ends` (the first that exists), or None.

    Masks for no picture, and two files of one stem, become problems of `found` that are worth a look.
    """
    own = keyed(masks, None, found, "mask")
    used = set()
    for name, picture in keyed(pictures, None, found, "image").items():
        key = next((name + end for end in ends if name + end in own), None)
        used.add(key)
        yield picture, own.get(key)
    report_unused([mask for name, mask in own.items() if name not in used], pictures, found)


def keyed(files: Sequence[Path], base: Path | None, found: Found, what: str) -> dict[str, Path]:
    """{key: file}, the key being the stem, with the folders below `base` before it where one is given.

    Of two files of one key the second is left out, and becomes a problem that is worth a look.
    """
    by_key: dict[str, Path] = {}
    for path in files:
        key = stem(path) if base is None else same(path.relative_to(base).with_suffix("").as_posix())
        first = by_key.setdefault(key, path)
        if first != path:
            found.problem(path, f"a second {what} of one name, beside {first.name}; left out", "keep one", False)
    return by_key


def report_unused(
    unused: Sequence[Path], pictures: Sequence[Path] | Mapping[str, Path], found: Found, what: str = "mask"
) -> None:
    """One problem for the masks (or other files) that match no image, with an example of both names."""
    found.leave_out(*unused)
    if unused:
        count = f"a {what}" if len(unused) == 1 else f"this one and {len(unused) - 1} more are {what}s"
        names = [path.name for path in (pictures.values() if isinstance(pictures, Mapping) else pictures)]
        where = f"the images are called {names[0]}, ..." if names else "there are no images"
        found.problem(unused[0], f"{count} for no image; {where}", f"add the image, or rename the {what}", False)
