"""Images and their mask files, joined by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .files import same, stem
from .found import Found


def paired(
    pictures: Sequence[Path], masks: Sequence[Path], found: Found, ends: Sequence[str] = ("_mask", "")
) -> Iterator[tuple[Path, Path | None]]:
    """Every picture with its mask, whose stem is the picture's and one of `ends`, in any case; or None.

    Two pictures of one stem, or two masks for a picture, are problems of `found`; masks for no picture are worth a
    look.
    """
    own = keyed(masks, None, found, "mask", True)
    lower = Counter(name.casefold() for name in own)
    in_any_case = {name.casefold(): name for name in own if lower[name.casefold()] == 1} | {name: name for name in own}
    used = set()
    for name, picture in keyed(pictures, None, found, "image", bool(own)).items():
        stems = [stem for end in ends for stem in (name + end, (name + end).casefold())]
        keys = list(dict.fromkeys(in_any_case[stem] for stem in stems if stem in in_any_case))
        used.update(keys)
        if len(keys) > 1:
            names = " and ".join(own[key].name for key in keys)
            found.problem(own[keys[1]], f"two masks for {picture.name}: {names}", "keep one")
        yield picture, own[keys[0]] if keys else None
    report_unused([mask for name, mask in own.items() if name not in used], pictures, found)


def keyed(files: Sequence[Path], base: Path | None, found: Found, what: str, unusable: bool = False) -> dict[str, Path]:
    """{key: file}, the key being the stem, with the folders below `base` before it where one is given.

    Of two files of one key the second is left out, and becomes a problem; unusable: see `Problem`.
    """
    by_key: dict[str, Path] = {}
    for path in files:
        key = stem(path) if base is None else same(path.relative_to(base).with_suffix("").as_posix())
        first = by_key.setdefault(key, path)
        if first != path:
            found.problem(path, f"a second {what} of one name, beside {first.name}; left out", "keep one", unusable)
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
